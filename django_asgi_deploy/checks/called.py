"""What Django calls by name, and always as synchronous code: error pages, context processors, tags (315, 316)."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.template import engines
from django.template.backends.django import DjangoTemplates
from django.urls import get_callable, get_resolver

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.views import place_of
from django_asgi_deploy.handlers.private import iscoroutinefunction

STATUSES = (400, 403, 404, 500)


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((_error_pages, _templates), inspected)


def _error_pages(inspected: Inspected) -> Iterator[Finding]:
    resolver = get_resolver()
    for status in STATUSES:
        handler = resolver.resolve_error_handler(status)
        if gives_coroutine(handler):
            yield _error_page(handler, f"handler{status}", f"instead of a page for {status}")
    failure_view = get_callable(settings.CSRF_FAILURE_VIEW)
    if gives_coroutine(failure_view):
        yield _error_page(failure_view, "CSRF_FAILURE_VIEW", "instead of the page about a missing CSRF token")


def gives_coroutine(thing: Any) -> bool:
    return iscoroutinefunction(thing) or bool(wrapped.coroutine_chain(thing))


def _error_page(handler: Any, role: str, instead: str) -> Finding:
    name = wrapped.view_name(handler)
    return found(
        315,
        f"{role} is {name}, a coroutine function, and Django calls error pages as synchronous code: {instead} "
        "visitors get nothing but a broken connection (AttributeError: 'coroutine' object ...).",
        "Make it a synchronous function.",
        object=f"{role} = {name}",
        place=_handler_of(handler) or place_of(handler),
    )


def _handler_of(view: Any) -> Any:
    """The asynchronous get() of a class."""
    cls = getattr(view, "view_class", None)
    names = getattr(cls, "http_method_names", ())
    return next((functions.place(getattr(cls, name)) for name in names if hasattr(cls, name)), None)


# ------------------------------------------------------------------ templates


def _templates(inspected: Inspected) -> Iterator[Finding]:
    seen: set[int] = set()
    for function, what, consequence in [each for engine in _engines() for each in _of_engine(engine)]:
        if gives_coroutine(function) and id(function) not in seen:
            seen.add(id(function))
            name = wrapped.view_name(function)
            yield found(
                316,
                f"The {what} {name} is a coroutine function, and templates are rendered as synchronous code: "
                f"{consequence}.",
                "Make it a synchronous function; in asynchronous views, render with TemplateResponse, whose "
                "rendering runs in a thread.",
                object=name,
                place=place_of(function),
            )


def _engines() -> Iterator[Any]:
    for alias in engines.templates:
        try:
            engine = engines[alias]
        except (ImproperlyConfigured, ImportError):
            continue  # Jinja2 isn't installed, say: Django itself says it
        if isinstance(engine, DjangoTemplates):
            yield engine.engine


def _of_engine(engine: Any) -> Iterator[tuple[Any, str, str]]:
    for processor in engine.template_context_processors:
        yield processor, "context processor", "every page with a RequestContext is answered with 500 (TypeError)"
    for library in [*engine.template_libraries.values(), *engine.template_builtins]:
        for tag in library.tags.values():
            function = functions.unwrap(wrapped.closure_of(tag).get("func", tag))
            yield function, "template tag", "it fails, or shows a coroutine in its place"
        for filtered in library.filters.values():
            yield functions.unwrap(filtered), "template filter", "it shows a coroutine in the place of its value"
