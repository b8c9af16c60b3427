"""Paths for routes with arguments: values that are in the database, else ones that the converters take.

Only for the project's own views, and for those alone that do nothing but show something, as far as can be seen
(``harmless``): the rows are the developer's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from inspect import unwrap
from itertools import islice, product
from types import FunctionType
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models.base import ModelBase
from django.urls import get_resolver
from django.urls.resolvers import RegexPattern
from django.utils.regex_helper import normalize

from django_asgi_deploy.checks import harmless
from django_asgi_deploy.checks.frames import place_in
from django_asgi_deploy.checks.inspected import Route

PARAMETER = re.compile(r"<(?:[^>:\s]+:)?([^>\s]+)>")
TEXTS = ("1", "2024", "a", "00000000-0000-4000-8000-000000000000", "en", "abc", "01")
MOST_TRIES = 60


def path_for(route: Route) -> str | None:
    """A path that leads to the route's view with arguments that are likely to be right. Asks the database."""
    view = _view(route)
    if place_in(view) is None or does_something(route):
        return None
    return filled((*route.resolvers[1:], route.pattern), view, lambda path: _leads_to(path, route))


def does_something(route: Route) -> bool:
    """Whether its words or its code say so."""
    return not harmless.only_shows(f"{route.path} {route.pattern.name or ''}", _view(route))


def _view(route: Route) -> Any:
    return getattr(route.callback, "view_class", None) or unwrap(route.callback)


def filled(parts: Sequence[Any], view: Any, is_right: Callable[[str], bool]) -> str | None:
    """The path of these URL patterns, with the first values for their arguments that are right."""
    template, names = _template(parts)
    if template is None:
        return None
    models = [*_models_of(view)]
    choices = [[*dict.fromkeys((*_in_database(name, models, view), *TEXTS))] for name in names]
    for values in islice(product(*choices), MOST_TRIES):
        path = "/" + template % dict(zip(names, values, strict=True))
        if is_right(path):
            return path
    return None


def _template(parts: Sequence[Any]) -> tuple[str | None, list[str]]:
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
    """The value of the first row, for ``pk``, ``slug``, the name of a field, or ``book_id`` and ``book_slug``.

    Never one that proves something, such as the token in a mail.
    """
    if harmless.is_secret(name):
        return
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
