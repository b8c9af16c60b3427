"""Views that are functions or objects: what their decorators make of them (301 to 304, 310, 311, 313)."""

import ast
import builtins
from collections.abc import Iterator
from functools import partial
from typing import Any

from django.conf import settings
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.deprecation import MiddlewareMixin
from django.utils.module_loading import import_string

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.routes import by_callback
from django_asgi_deploy.checks.wrapped import Inner, ViewOf, decorator_name, view_name
from django_asgi_deploy.handlers.private import iscoroutinefunction

HOOKS = ("process_request", "process_view", "process_response")


def check(inspected: Inspected) -> Iterator[Finding]:
    for callback, paths in by_callback(inspected.routes):
        yield from surviving([partial(_judge, paths=paths)], callback)
    yield from _atomic_functions(inspected)
    yield from _nothing_asynchronous(inspected)


def _judge(callback: Any, paths: str) -> Iterator[Finding]:
    if wrapped.is_class_view(callback):
        return  # classes.py looks at it
    if iscoroutinefunction(callback):
        yield from _marked_wrapper(callback, paths)
        yield from _around_sync_view(callback, paths)
        yield from middleware_around(callback, functions.unwrap(callback), paths)
        return
    chain = wrapped.coroutine_chain(callback)
    if chain:
        yield broken_chain(chain, paths)


def place_of(thing: Any) -> Place | None:
    """Where the user wrote a view."""
    if isinstance(thing, ViewOf):
        return functions.class_place(thing.cls)
    cls = thing if isinstance(thing, type) else getattr(thing, "view_class", None)
    if cls is not None:
        return functions.class_place(cls)
    return functions.place(thing) or functions.place(wrapped.call_of(thing)) or functions.place(functions.unwrap(thing))


def broken_chain(chain: tuple[Inner, ...], paths: str) -> Finding:
    """``chain`` comes from wrapped.coroutine_chain(): Django gets a coroutine where it wants a response."""
    view = chain[-1].thing
    name = view_name(view)
    around = chain[-2].thing if len(chain) > 1 else None
    steps = tuple(str(place) for inner in chain if (place := functions.place(inner.thing) or place_of(inner.thing)))
    steps = tuple(dict.fromkeys(steps))
    atomic = next((inner.thing for inner in chain if wrapped.is_atomic(inner.thing)), None)
    if atomic is not None:
        return atomic_finding(view, name, f"{paths} is answered with 500", steps)
    if wrapped.is_unmarked(view):
        return found(
            302,
            f"{name} is a view object with an asynchronous __call__() that isn't marked as one: Django calls it as "
            f"synchronous code, and every request of {paths} is answered with 500 (TypeError).",
            f"In {name}.__init__(): asgiref.sync.markcoroutinefunction(self).",
            object=name,
            place=place_of(view),
            chain=steps,
        )
    if around is not None and chain[-1].is_wrapped:
        decorator = decorator_name(around)
        how = "uses its coroutine as a response" if "used" in chain[-1].roles else "returns its coroutine"
        return found(
            301,
            f"{decorator} is a synchronous wrapper around the asynchronous view {name}, and {how}: every request "
            f"of {paths} that gets there is answered with 500.",
            f"In {decorator}: if iscoroutinefunction(view), return an async def wrapper that awaits it; or make the "
            "view synchronous.",
            object=name,
            place=place_of(view),
            chain=steps,
        )
    return found(
        303,
        f"{view_name(around)} returns what {name} returns, which is a coroutine that nobody awaits: every request of "
        f"{paths} that gets there is answered with 500.",
        f"Make it asynchronous and await {name}(), or put {name} into the URLconf itself.",
        object=view_name(around),
        place=_return_place(around, view),
        chain=steps,
    )


def _return_place(around: Any, view: Any) -> Place | None:
    """The line at which the coroutine is returned."""
    place, node = functions.place(around), functions.node_of(around)
    if place is None or node is None or isinstance(node, ast.Lambda):
        return place
    request = functions.first_parameter(node)
    for call in functions.calls(node, lambda each: functions.passes(each, request)):
        if functions.value(around, call.func) in (view, functions.MISSING):
            return place._replace(line=call.lineno)
    return place


def _nothing_asynchronous(inspected: Inspected) -> Iterator[Finding]:
    """With our handler it costs nothing."""
    middleware = inspected.replay.used
    if (
        inspected.handler == "django"
        and not any(iscoroutinefunction(route.callback) for route in inspected.routes)
        and not any(entry.can_async and not entry.can_sync for entry in middleware)
        and inspected.settings.websocket is None
    ):
        yield found(
            317,
            "No view and no middleware of this project is asynchronous: Django's own handler starts a thread for each "
            "request and changes to it a dozen times, and nothing is gained.",
            'ASGI_DEPLOY = {"HANDLER": "pooled"}, which runs such a request in one go as WSGI does; or stay with WSGI.',
            object="ROOT_URLCONF",
        )


# ------------------------------------------------------------------ transactions


def atomic_finding(function: Any, name: str, consequence: str, steps: tuple[str, ...] = ()) -> Finding:
    return found(
        304,
        f"transaction.atomic around the coroutine function {name} ends before anything in it has run: nothing is "
        f"rolled back, and {consequence}.",
        "Put what belongs to one transaction into a synchronous function with transaction.atomic, and call it with "
        "await sync_to_async(function)().",
        object=name,
        place=place_of(function),
        chain=steps,
    )


def atomic_around(thing: Any) -> Any:
    """The coroutine function that transaction.atomic was put around, somewhere below ``thing``; else None."""
    seen_atomic = False
    for layer in wrapped.layers(thing):
        seen_atomic |= wrapped.is_atomic(layer)
        if seen_atomic and iscoroutinefunction(layer):
            return layer
    return None


def _atomic_functions(inspected: Inspected) -> Iterator[Finding]:
    """Also where it isn't a view: then there is no error, and no transaction either."""
    views = {id(layer) for route in inspected.routes for layer in wrapped.layers(route.callback)}
    for module in inspected.modules:
        for owner in (module, *_classes_of(module)):
            for each in [*vars(owner).values()]:
                function = functions.function_of(each)
                if function is None or not wrapped.is_atomic(function) or id(function) in views:
                    continue
                inside = atomic_around(function)
                if inside is not None and inside.__module__ == module.__name__ and not _is_handler(owner, inside):
                    name = view_name(inside)
                    yield atomic_finding(inside, name, "what it writes is committed statement by statement")


def _classes_of(module: Any) -> list[type]:
    return [each for each in [*vars(module).values()] if isinstance(each, type) and each.__module__ == module.__name__]


def _is_handler(owner: Any, function: Any) -> bool:
    """Whether it is an HTTP handler of a view class, which classes.py looks at."""
    return function.__name__ in getattr(owner, "http_method_names", ()) and hasattr(owner, "view_is_async")


# ------------------------------------------------------------------ asynchronous callbacks


def _marked_wrapper(callback: Any, paths: str) -> Iterator[Finding]:
    """A synchronous wrapper that bears the mark of a coroutine function; functools.wraps() copies it."""
    for layer in wrapped.layers(callback):
        for inner in wrapped.called_by(layer):
            if (
                isinstance(functions.node_of(layer), ast.FunctionDef)
                and inner.is_wrapped
                and "used" in inner.roles
                and not inner.roles & {"awaited", "tested"}
                and iscoroutinefunction(inner.thing)
            ):
                yield broken_chain((Inner(layer, inner.roles, is_wrapped=True), inner), paths)
                return


def _around_sync_view(callback: Any, paths: str) -> Iterator[Finding]:
    for layer in wrapped.layers(callback):
        if not isinstance(functions.node_of(layer), ast.AsyncFunctionDef):
            continue
        for inner in wrapped.called_by(layer):
            view = inner.thing
            if (
                inner.is_wrapped
                and not wrapped.is_part_of(layer, view)
                and not inner.roles & {"awaited", "passed"}
                and not iscoroutinefunction(view)
                and not wrapped.is_unmarked(view)
                and not wrapped.coroutine_chain(view)
            ):
                decorator, name = decorator_name(layer), view_name(functions.unwrap(view))
                yield found(
                    313,
                    f"{decorator} is an asynchronous wrapper around the synchronous view {name} and calls it on the "
                    f"event loop: while it works, nobody else is served, and its first query is answered with 500 "
                    f"(SynchronousOnlyOperation) at {paths}.",
                    f"In {decorator}: await sync_to_async(view)(request, ...) if not iscoroutinefunction(view).",
                    object=name,
                    place=place_of(functions.unwrap(view)),
                    chain=tuple(str(place) for each in (layer, view) if (place := functions.place(each))),
                )


def middleware_in(thing: Any) -> Iterator[MiddlewareMixin]:
    """The middleware that decorator_from_middleware() has made decorators of, around ``thing``."""
    for layer in wrapped.layers(thing):
        for each in wrapped.closure_of(layer).values():
            if isinstance(each, MiddlewareMixin):
                yield each


def middleware_around(callback: Any, view: Any, paths: str) -> Iterator[Finding]:
    """``callback`` is what decorators made of the asynchronous ``view``."""
    seen: set[type] = set()
    for middleware in middleware_in(callback):
        if type(middleware) in seen:
            continue
        seen.add(type(middleware))
        if isinstance(middleware, UpdateCacheMiddleware | FetchFromCacheMiddleware):
            yield _cache_page(middleware, view, paths)
        elif isinstance(middleware, CsrfViewMiddleware):
            if settings.CSRF_USE_SESSIONS and not _has_csrf_middleware():
                yield _csrf(middleware, view, paths)
        elif not type(middleware).__module__.startswith("django.") and not _only_sets_headers(middleware):
            yield _other(middleware, view, paths)


def _cache_page(middleware: Any, view: Any, paths: str) -> Finding:
    alias = middleware.cache_alias
    level, consequence = cache_level(alias)
    name = view_name(view)
    return found(
        310,
        f"cache_page around the asynchronous view {name} reads and writes the cache {alias!r} on the event loop: "
        f"{consequence} ({paths}).",
        "Cache inside the view, with await cache.aget() and await cache.aset(); or make the view synchronous.",
        level=level,
        object=name,
        place=place_of(view),
    )


def cache_level(alias: str) -> tuple[Level, str]:
    """How bad it is to use this cache on the event loop, and why."""
    path = settings.CACHES.get(alias, {}).get("BACKEND", "")
    try:
        backend = import_string(path)
    except ImportError:
        backend = object
    if issubclass(backend, DatabaseCache):
        return "error", "with the cache in the database each GET is answered with 500 (SynchronousOnlyOperation)"
    if issubclass(backend, LocMemCache | DummyCache):
        return "info", "harmless as long as it is in memory, but with any other cache nobody is served meanwhile"
    return "warning", "while it waits for the cache, nobody else is served"


def _has_csrf_middleware() -> bool:
    return any(_is_csrf(path) for path in settings.MIDDLEWARE)


def _is_csrf(path: str) -> bool:
    middleware = import_string(path)
    return isinstance(middleware, type) and issubclass(middleware, CsrfViewMiddleware)


def _csrf(middleware: Any, view: Any, paths: str) -> Finding:
    name = view_name(view)
    return found(
        311,
        f"The CSRF decorator of the asynchronous view {name} reads the session on the event loop, because of "
        f"CSRF_USE_SESSIONS: who has a session gets 500 (SynchronousOnlyOperation) at {paths}.",
        'Put "django.middleware.csrf.CsrfViewMiddleware" into MIDDLEWARE: it reads the session in a thread.',
        level="error",
        object=name,
        place=place_of(view),
    )


def _only_sets_headers(middleware: Any) -> bool:
    """Whether all that its hooks call are methods of the request and the response, or Python's own functions."""
    hooks = [hook for name in HOOKS if (hook := getattr(type(middleware), name, None))]
    return all(_is_trivial(hook) for hook in hooks)


def _is_trivial(hook: Any) -> bool:
    node = functions.node_of(hook)
    if node is None:
        return False
    arguments = {argument.arg for argument in node.args.args[1:]}
    for call in functions.calls(node, lambda each: True):
        root: ast.expr = call.func
        while isinstance(root, ast.Attribute):
            if root.attr in ("user", "session"):
                return False
            root = root.value
        name = root.id if isinstance(root, ast.Name) else ""
        if name not in arguments and not (isinstance(call.func, ast.Name) and hasattr(builtins, name)):
            return False
    return True


def _other(middleware: Any, view: Any, paths: str) -> Finding:
    name = view_name(view)
    kind = type(middleware)
    hooks = [hook for hook in HOOKS if hasattr(middleware, hook)]
    return found(
        311,
        f"{kind.__module__}.{kind.__qualname__} is the decorator of the asynchronous view {name}: Django runs its "
        f"{' and '.join(hooks) or 'hooks'}() on the event loop, where a query is answered with 500 and anything slow "
        f"keeps everybody waiting ({paths}).",
        "Put it into MIDDLEWARE, where its hooks run in a thread; or write the decorator as an async def wrapper.",
        object=name,
        place=place_of(view),
    )
