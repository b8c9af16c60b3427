"""Views of Django REST framework, which is synchronous (312)."""

from collections.abc import Iterator
from typing import Any

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.routes import ViewClass, is_rest_framework, owner_of, view_classes
from django_asgi_deploy.checks.wrapped import view_name
from django_asgi_deploy.handlers.private import iscoroutinefunction


def check(inspected: Inspected) -> Iterator[Finding]:
    for view in view_classes(inspected):
        if is_rest_framework(view.cls):
            yield from surviving([_rest_framework], view)


def _rest_framework(view: ViewClass) -> Iterator[Finding]:
    owner = owner_of(view.cls, "dispatch")
    if not owner.__module__.startswith("rest_framework.") or iscoroutinefunction(vars(owner)["dispatch"]):
        return  # adrf, or the project's own
    for name, function in _rest_handlers(view.cls):
        yield found(
            312,
            f"{name}() is a coroutine function, and Django REST framework calls it as a synchronous one: it gets a "
            f"coroutine in the place of a response, and {view.paths} is answered with 500 (AssertionError).",
            "Make it synchronous, or take the view's base class (or api_view) from adrf: python -m pip install adrf",
            object=name,
            place=functions.place(function),
        )


def _rest_handlers(cls: Any) -> Iterator[tuple[str, Any]]:
    actions = ("list", "create", "retrieve", "update", "partial_update", "destroy")
    extra = [name for name in dir(cls) if hasattr(getattr(cls, name, None), "mapping")]
    for name in dict.fromkeys([*cls.http_method_names, *actions, *extra]):
        handler = getattr(cls, name, None)
        if handler is None:
            continue
        if iscoroutinefunction(handler):
            yield f"{cls.__module__}.{cls.__qualname__}.{name}", handler
            continue
        inside = wrapped.closure_of(handler).get("func")  # what @api_view made a class of
        if inside is not None and iscoroutinefunction(inside):
            yield view_name(inside), inside
            return
