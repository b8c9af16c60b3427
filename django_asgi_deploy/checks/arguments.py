"""Paths for routes with arguments: values that are in the database, else ones that the converters take.

Only for the project's own views, and for none whose name says that it changes something: a GET should be safe, and the
rows are the developer's.
"""

import re
from collections.abc import Iterator
from inspect import unwrap
from itertools import islice, product
from types import FunctionType
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models.base import ModelBase
from django.urls import get_resolver
from django.urls.resolvers import RegexPattern, URLPattern, URLResolver
from django.utils.regex_helper import normalize

from django_asgi_deploy.checks.frames import place_in
from django_asgi_deploy.checks.inspected import Route

CHANGES = re.compile(
    r"delete|remove|destroy|cancel|logout|log_out|sign_?out|unsubscribe|subscribe|confirm|activate|approve|reject|send|"
    r"pay|purge|reset|clear|accept|decline|vote|toggle|mark|finish|close|archive_|publish|import|sync_",
    re.IGNORECASE,
)
PARAMETER = re.compile(r"<(?:[^>:\s]+:)?([^>\s]+)>")
TEXTS = ("1", "2024", "a", "00000000-0000-4000-8000-000000000000", "en", "abc", "01")
MOST_TRIES = 60


def path_for(route: Route) -> str | None:
    """A path that leads to the route's view with arguments that are likely to be right. Asks the database."""
    view = getattr(route.callback, "view_class", None) or unwrap(route.callback)
    name = f"{route.path} {route.pattern.name or ''} {getattr(view, '__qualname__', '')}"
    if place_in(view) is None or CHANGES.search(name):
        return None
    template, names = _template((*route.resolvers[1:], route.pattern))
    if template is None:
        return None
    models = [*_models_of(view)]
    choices = [[*dict.fromkeys((*_in_database(name, models, view), *TEXTS))] for name in names]
    for values in islice(product(*choices), MOST_TRIES):
        path = "/" + template % dict(zip(names, values, strict=True))
        if _leads_to(path, route):
            return path
    return None


def _template(parts: tuple[URLResolver | URLPattern, ...]) -> tuple[str | None, list[str]]:
    """``shop/%(pk)s/`` and the names in it."""
    written = ""
    names: list[str] = []
    for part in parts:
        pattern: Any = part.pattern
        if isinstance(pattern, RegexPattern):
            text, found = normalize(pattern.regex.pattern)[0]
            if any(name.startswith("_") for name in found):  # without a name
                return None, []
            written, names = written + text, [*names, *found]
        else:
            text = str(pattern).replace("%", "%%")
            names += PARAMETER.findall(text)
            written += PARAMETER.sub(r"%(\1)s", text)
    return written, names


def _leads_to(path: str, route: Route) -> bool:
    try:
        return get_resolver().resolve(path).func is route.callback
    except Exception:  # Resolver404, or a converter that fails
        return False


# ------------------------------------------------------------------ values


def _models_of(view: Any) -> Iterator[Any]:
    """The models that a view is about: a class's own, then those that its functions name."""
    queryset = getattr(view, "queryset", None)
    for model in (getattr(view, "model", None), getattr(queryset, "model", None)):
        if isinstance(model, ModelBase):
            yield model
    functions = [view] if isinstance(view, FunctionType) else [*vars(view).values()]
    for function in functions:
        if isinstance(function, FunctionType):
            for name in function.__code__.co_names:
                if isinstance(model := function.__globals__.get(name), ModelBase):
                    yield model


def _in_database(name: str, models: list[Any], view: Any) -> Iterator[str]:
    """The value of the first row, for ``pk``, ``slug``, the name of a field, or ``book_id`` and ``book_slug``."""
    fields = {getattr(view, "slug_url_kwarg", "slug"): getattr(view, "slug_field", "slug")}
    fields |= {getattr(view, "pk_url_kwarg", "pk"): "pk", "pk": "pk", "id": "pk"}
    for model in models:
        yield from _first(model, fields.get(name, name))
    prefix, _, field = name.rpartition("_")
    for model in apps.get_models():
        if (model._meta.model_name or "") == prefix.replace("_", ""):
            yield from _first(model, fields.get(field, field))
        elif (model._meta.model_name or "") == name:  # <slug:book>, <int:book>
            yield from (*_first(model, "slug"), *_first(model, "pk"))


def _first(model: Any, field: str) -> Iterator[str]:
    known = {each.name for each in model._meta.get_fields() if not each.is_relation} | {"pk"}
    if model._meta.abstract or field not in known:
        return
    try:
        value = model._default_manager.order_by("pk").values_list(field, flat=True).first()
    except Exception:  # not migrated, not reachable: guessed values will do
        return
    finally:
        connections.close_all()
    if value not in (None, ""):
        yield str(value)
