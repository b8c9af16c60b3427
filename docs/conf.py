"""Sphinx: ``sphinx-build -W -n docs docs/_build``."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django_asgi_deploy import __version__

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


def setup(app: Sphinx) -> None:
    # ".. setting:: BIND" above a heading is what :setting:`BIND` leads to, as in Django's own documentation.
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
