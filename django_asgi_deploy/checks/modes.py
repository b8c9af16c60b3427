"""Middleware that says of itself what it isn't (201 to 206)."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings
from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.middleware import Entry, alone, declared, is_link, plan
from django_asgi_deploy.exceptions import is_users
from django_asgi_deploy.handlers.private import iscoroutinefunction

HOOKS = ("process_request", "process_response")  # that the mixin calls; Django itself adapts the others
CO_COROUTINE = 0x80
LEGACY_MARK = "_is_coroutine"
MARKS_MATTER_FROM = (3, 12)  # before, asyncio's own mark and asgiref's were the same
UNLIKE_DECLARED = (201, 202, 203, 206)


def check(inspected: Inspected) -> Iterator[Finding]:
    """Every entry that is used, from the inside out: what one is wrong about, the next one out believes."""
    entries = inspected.replay.used
    is_deceived = inspected.replay.error is not None
    for entry in reversed(entries):
        if entry.made is None or is_deceived:
            entry.made = alone(entry)
        for finding in surviving([partial(_judge, inspected=inspected, entries=entries)], entry):
            is_deceived |= finding.number in UNLIKE_DECLARED
            yield finding


def check_plainly(inspected: Inspected) -> Iterator[Finding]:
    """Only of the project's own middleware, and without making what looks as it should.

    Django runs it with every command: a middleware that reads files or connects to something must not do it for that.
    """
    entries = [declared(path) for path in settings.MIDDLEWARE]
    plan(entries)
    for entry in entries:
        if _is_suspicious(entry.factory):
            entry.made = alone(entry)
            yield from _judge(entry, inspected=inspected, entries=entries)


def _is_suspicious(factory: Any) -> bool:
    if isinstance(factory, type):
        if functions.class_place(factory) is None:
            return False
        call = functions.function_of(factory.__dict__.get("__call__"))
        if issubclass(factory, MiddlewareMixin):
            return call is not None or any(iscoroutinefunction(getattr(factory, hook, None)) for hook in HOOKS)
        return bool(getattr(factory, "async_capable", False)) or any(
            iscoroutinefunction(each) for base in factory.__mro__ for each in vars(base).values()
        )
    function = functions.function_of(factory)
    if function is None or not is_users(function.__code__.co_filename):
        return False
    inside = [each for each in function.__code__.co_consts if hasattr(each, "co_flags")]
    return bool(getattr(factory, "async_capable", False)) or any(each.co_flags & CO_COROUTINE for each in inside)


# ------------------------------------------------------------------ one entry


def _judge(entry: Entry, *, inspected: Inspected, entries: list[Entry]) -> Iterator[Finding]:
    made = entry.made
    if made is None:
        return
    call = made if functions.function_of(made) else wrapped.call_of(made)
    place = functions.place(call)
    hook = _asynchronous_hook(made)
    if hook is not None:
        yield _async_hook(entry, hook, made)
    elif entry.runs == "sync":
        if gives_coroutine(entry):
            yield _undeclared(entry, place)
        elif entry.can_async and _is_suspicious(entry.factory):
            yield from _in_its_other_form(entry, inspected, entries)
    elif not iscoroutinefunction(made) or (_sets_legacy_mark(made) and not _is_marked_otherwise(made)):
        yield _unmarked(entry, place, inspected, is_outermost=entry is entries[0])
    else:
        yield from _synchronous_call(entry, call, place, inspected)


def _in_its_other_form(entry: Entry, inspected: Inspected, entries: list[Entry]) -> Iterator[Finding]:
    """What is wrong with it as soon as nothing further inside is synchronous only."""
    other = replace(entry, runs="async")
    other.made = alone(other)
    because = next(each for each in entries[entries.index(entry) + 1 :] if not each.can_async)
    for finding in _judge(other, inspected=inspected, entries=[*entries, other]):
        yield replace(
            finding,
            level="warning",
            message=f"{finding.message} For now it runs in synchronous form, because {because.path} inside of it is "
            "synchronous only.",
        )


def _asynchronous_hook(made: Any) -> str | None:
    """The first of the mixin's hooks that is asynchronous, if the mixin calls it."""
    kind = type(made)
    if not isinstance(made, MiddlewareMixin) or kind.__acall__ is not MiddlewareMixin.__acall__:
        return None
    return next((name for name in HOOKS if iscoroutinefunction(getattr(made, name, None))), None)


def _async_hook(entry: Entry, hook: str, made: Any) -> Finding:
    return found(
        204,
        f"{entry.path}.{hook}() is a coroutine function. Django calls it as synchronous code, and every request is "
        "answered with 500 (TypeError: sync_to_async can only be applied to sync functions).",
        f"Make {hook}() synchronous; or write the middleware as a function with @async_only_middleware.",
        object=entry.path,
        place=functions.place(getattr(made, hook)),
    )


def gives_coroutine(entry: Entry) -> bool:
    """Whether it is asynchronous, although Django calls it as synchronous code."""
    made = entry.made
    call = made if functions.function_of(made) else wrapped.call_of(made)
    if iscoroutinefunction(made) or iscoroutinefunction(functions.function_of(call)):
        return True
    if entry.can_async:
        return False  # one that looks at what it was given
    return any(
        "returned" in inner.roles and not is_link(inner.thing) and iscoroutinefunction(inner.thing)
        for inner in wrapped.called_by(made)
    )


def _undeclared(entry: Entry, place: Place | None) -> Finding:
    if not isinstance(entry.factory, type):
        return found(
            206,
            f"{entry.path} makes an asynchronous middleware and doesn't say so: the site doesn't start (TypeError: "
            "sync_to_async can only be applied to sync functions), or answers 500 to everything.",
            f"@django.utils.decorators.async_only_middleware above {entry.path.rpartition('.')[2]}(); or "
            "@sync_and_async_middleware, and return what fits get_response.",
            object=entry.path,
            place=place or functions.place(entry.factory),
        )
    if entry.can_async:
        return found(
            201,
            f"{entry.path} says that it can also be synchronous, but its __call__() is always asynchronous: because a "
            "middleware further inside is synchronous only, every request is answered with 500 ('coroutine' object "
            "has no attribute ...).",
            f"In {entry.name}: sync_capable = False; or a __call__() that looks whether get_response is asynchronous.",
            object=entry.path,
            place=place,
        )
    return found(
        201,
        f"{entry.path} is asynchronous and doesn't say so: every request is answered with 500 ('coroutine' object has "
        "no attribute ...).",
        f"In {entry.name}: sync_capable = False, async_capable = True, and in __init__() "
        "asgiref.sync.markcoroutinefunction(self).",
        object=entry.path,
        place=place,
    )


def _works_for_sync_views(entry: Entry, inspected: Inspected) -> bool:
    """With our handler: the synchronous chain has this entry in its other form."""
    return entry.can_sync and inspected.handler == "pooled" and not inspected.has_async_routes


def _unmarked(entry: Entry, place: Place | None, inspected: Inspected, is_outermost: bool) -> Finding:
    made = entry.made
    consequence = "every request is answered with 500 (TypeError)"
    level: Level | None = None
    if is_outermost:
        consequence = "an exception in it becomes a bare 500 of the server, without Django's error page"
        level = "warning"
    elif _works_for_sync_views(entry, inspected):
        consequence, level = "every request of an asynchronous view is answered with 500 (TypeError)", "warning"
    if _sets_legacy_mark(made):
        if sys.version_info < MARKS_MATTER_FROM:
            consequence, level = f"from Python 3.12 on, {consequence}", "warning"
        return _finding(
            203,
            entry,
            f"{entry.path} is marked with asyncio.coroutines._is_coroutine, which means nothing from Python 3.12 on: "
            f"{consequence}.",
            f"In {entry.name}.__init__(): asgiref.sync.markcoroutinefunction(self) in the place of _is_coroutine.",
            place,
            level,
        )
    if not isinstance(entry.factory, type):
        return _finding(
            202,
            entry,
            f"{entry.path} says that it can be asynchronous, but makes a synchronous function also of an asynchronous "
            f"get_response, which gives it a coroutine instead of a response: {consequence}.",
            "if iscoroutinefunction(get_response): return an async def middleware that awaits it. If it can only be "
            "synchronous: @sync_only_middleware.",
            place,
            level,
        )
    return _finding(
        202,
        entry,
        f"{entry.path} says that it can be asynchronous (async_capable), but doesn't mark itself: the middleware "
        f"around it takes its coroutine for a response, and {consequence}.",
        f"In {entry.name}.__init__(): if iscoroutinefunction(get_response): markcoroutinefunction(self), both from "
        "asgiref.sync.",
        place,
        level,
    )


def _finding(
    number: int, entry: Entry, message: str, hint: str, place: Place | None, level: Level | None = None
) -> Finding:
    return found(number, message, hint, level=level, object=entry.path, place=place)


def _sets_legacy_mark(made: Any) -> bool:
    """On Python 3.11, asgiref sets the same attribute: there only the source can tell."""
    if sys.version_info >= MARKS_MATTER_FROM and LEGACY_MARK in getattr(made, "__dict__", {}):
        return True
    for base in type(made).__mro__:
        for each in vars(base).values():
            node = functions.node_of(each)
            for part in ast.walk(node) if node else ():
                if isinstance(part, ast.Attribute) and part.attr == LEGACY_MARK and isinstance(part.ctx, ast.Store):
                    return True
    return False


def _is_marked_otherwise(made: Any) -> bool:
    return sys.version_info >= MARKS_MATTER_FROM and iscoroutinefunction(made)


def _synchronous_call(entry: Entry, call: Any, place: Place | None, inspected: Inspected) -> Iterator[Finding]:
    """A class whose own __call__() is synchronous and doesn't look what get_response gives."""
    plain, node = functions.function_of(call), functions.node_of(call)
    made = entry.made
    if plain is None or node is None or not isinstance(node, ast.FunctionDef) or plain is MiddlewareMixin.__call__:
        return
    if not isinstance(entry.factory, type) or _looks_at_its_form(node):
        return
    calls = functions.calls(node, lambda each: _is_get_response(each) or functions.is_in_super(plain, each, "__call__"))
    roles = {role for each in calls for role in functions.roles(plain, node, each)}
    if roles & {"awaited", "tested"}:
        return
    if "used" in roles:
        softened = _works_for_sync_views(entry, inspected)
        which = "every request of an asynchronous view" if softened else "every request"
        yield _finding(
            205,
            entry,
            f"{plain.__qualname__}() is synchronous and takes what get_response returns for a response: over ASGI it "
            f"is a coroutine, and {which} is answered with 500.",
            "Move the code into process_request() and process_response(); or add async def __acall__(self, request), "
            "and to __call__(): if self.async_mode: return self.__acall__(request). Or async_capable = False."
            if isinstance(made, MiddlewareMixin)
            else "async_capable = False; or await get_response(request) in a coroutine function.",
            place,
            "warning" if softened else None,
        )
    elif isinstance(made, MiddlewareMixin) and "returned" in roles and not _is_plain_code(plain, node):
        yield _finding(
            205,
            entry,
            f"{plain.__qualname__}() is synchronous: over ASGI, what it does before get_response runs on the event "
            "loop, where a query is answered with 500 and anything slow keeps everybody waiting.",
            "Move it into process_request(), which runs in a thread.",
            place,
            "warning",
        )


def _looks_at_its_form(node: Any) -> bool:
    """Whether it mentions async_mode, or asks whether something is a coroutine (function)."""
    return any(
        (isinstance(each, ast.Attribute) and each.attr in ("async_mode", "is_async", "_is_async", *functions.TESTS))
        or (isinstance(each, ast.Name) and each.id in functions.TESTS)
        for each in functions.own_nodes(node)
    )


def _is_get_response(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "get_response"


def _is_plain_code(function: Any, node: Any) -> bool:
    """Whether it calls nothing but get_response and what Python or the request themselves have."""
    request = functions.first_parameter(node, after=1)
    for call in functions.calls(node, lambda each: True):
        root: ast.expr = call.func
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        is_requests = isinstance(root, ast.Name) and root.id in (request, "super")
        if not is_requests and not _is_get_response(call) and not _is_harmless(functions.value(function, call.func)):
            return False
    return True


def _is_harmless(called: Any) -> bool:
    return getattr(called, "__module__", None) in ("builtins", "time", "uuid", "contextvars")
