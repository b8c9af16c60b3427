"""Sphinx: ``sphinx-build -W -n docs docs/_build``."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django_asgi_deploy import __version__
from django_asgi_deploy.checks import pages

project = "django-asgi-deploy"
project_copyright = "the django-asgi-deploy authors"
release = version = __version__

exclude_patterns = ["_build"]
nitpicky = True
default_role = "literal"
smartquotes = False  # commands and messages are quoted as they are
highlight_language = "python"

html_theme = "furo"
html_title = f"django-asgi-deploy {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]


def write_check_pages(app: Sphinx) -> None:
    """The pages that ``checkasgi --explain`` prints, and a table of them."""
    folder = Path(__file__).parent / "checks"
    folder.mkdir(exist_ok=True)
    for check in pages.index():
        write(folder / f"{check.number:03}.rst", pages.page(check.number))
    row = "   * - ``{0.id}``\n     - :doc:`{0.slug} <{0.number:03}>`\n     - {0.level}\n     - {0.title}\n"
    rows = "".join(row.format(check) for check in pages.index())
    names = "".join(f"   {check.number:03}\n" for check in pages.index())
    write(folder / "index.rst", INDEX.format(rows=rows, names=names))


def write(file: Path, text: str) -> None:
    if not file.exists() or file.read_text(encoding="utf-8") != text:  # Sphinx reads again what is newer
        file.write_text(text, encoding="utf-8")


INDEX = """Checks
======

What :doc:`../checkasgi` can find. The level is the usual one: a finding's own follows the handler, the workers and
the backends that are really used.

.. list-table::
   :header-rows: 1
   :widths: 12 28 12 48

   * - Id
     - Slug
     - Level
     - What is wrong
{rows}
.. toctree::
   :hidden:

{names}"""


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_check_pages)
    # ".. setting:: BIND" above a heading is what :setting:`BIND` leads to, as in Django's own documentation.
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
