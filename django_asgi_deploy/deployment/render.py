"""Files for a deployment, from the templates beside this module."""

from pathlib import Path

from django.template import Context, Engine

TEMPLATES = Path(__file__).parent / "templates"
PROJECT_TEMPLATE = TEMPLATES / "project_template"  # for django-admin startproject --template


def render(target: str, **values: str) -> str:
    """The text of ``target`` (``"asgi.py"``) with ``values`` in it."""
    template = Engine().from_string((TEMPLATES / f"{target}-tpl").read_text(encoding="utf-8"))
    return template.render(Context(values, autoescape=False))
