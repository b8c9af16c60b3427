"""
Counts how often a request changes threads, and says for whom.

Meanwhile asgiref's two bridges, the pooled handler's way to its threads and the event loop's own are wrapped; nothing
is changed in the handlers themselves.
"""

import asyncio
import contextvars
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import Any, Literal

from asgiref.sync import AsyncToSync, SyncToAsync
from django.core import signals
from django.core.handlers.base import BaseHandler
from django.http.response import HttpResponseBase

from django_asgi_deploy.checks.frames import Place, is_users, outwards, place_of
from django_asgi_deploy.handlers.asgi import ASGIHandler
from django_asgi_deploy.handlers.chains import Group, ViewHooks
from django_asgi_deploy.handlers.pool import Lease, ThreadPool

Cause = Literal["request", "middleware", "view", "signal", "close", "error", "log", "stream", "call"]

STREAM_PARTS = 16  # of a synchronous iterator, which Django's handler would collect to its end
BRIDGE = "thread_handler"  # asgiref's way into a thread: counted where it begins
WRAPPERS = ("run_in_thread", "_after_tidying", "_tidily")  # our handler's: what they run is their last argument
HANDLERS = ("/django/core/handlers/", "/django/utils/deprecation.py", "/django_asgi_deploy/handlers/")
PLAIN: dict[Any, "Cause"] = {
    "response_for_exception": "error",
    "log_response": "log",
    list: "stream",
    iter: "stream",
    next: "stream",
}


@dataclass(frozen=True)
class Hop:
    """One change of threads; several middleware can share it."""

    to: Literal["thread", "loop"]
    cause: Cause
    names: tuple[str, ...]  # qualified
    place: Place | None = None  # the user's line that asked for it, if it wasn't a handler


noted: contextvars.ContextVar[list[Hop]] = contextvars.ContextVar("checkasgi.hops")


@contextmanager
def counting(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Meanwhile, every context with a list in ``noted`` gets its hops there."""
    to_thread, to_loop, in_executor = SyncToAsync.__call__, AsyncToSync.__call__, loop.run_in_executor
    lease_submit, pool_submit = Lease.submit, ThreadPool.submit

    async def sync_to_async(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note("thread", self.func, args)
        if self.func is list and noted.get(None) is not None:
            self = SyncToAsync(_first_parts)
        return await to_thread(self, *args, **kwargs)

    def async_to_sync(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        _note("loop", self.awaitable, args)
        return to_loop(self, *args, **kwargs)

    def submit_to_lease(self: Lease, call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> Any:
        _note_job(call)
        return lease_submit(self, call, loop)

    def submit_to_pool(self: ThreadPool, call: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        _note_job(call)
        return pool_submit(self, call, *args, **kwargs)

    def run_in_executor(executor: Any, call: Callable[..., Any], *args: Any) -> Any:
        _note_job(partial(call, *args))
        return in_executor(executor, call, *args)

    wrappers: list[tuple[Any, str, Any, Any]] = [
        (SyncToAsync, "__call__", sync_to_async, to_thread),
        (AsyncToSync, "__call__", async_to_sync, to_loop),
        (Lease, "submit", submit_to_lease, lease_submit),
        (ThreadPool, "submit", submit_to_pool, pool_submit),
        (loop, "run_in_executor", run_in_executor, in_executor),
    ]
    for owner, name, wrapper, _ in wrappers:
        setattr(owner, name, wrapper)
    try:
        yield
    finally:
        for owner, name, _, original in wrappers:
            setattr(owner, name, original)


def _first_parts(iterator: Iterable[Any]) -> list[Any]:
    return list(itertools.islice(iterator, STREAM_PARTS))


def _note_job(call: Callable[[], Any]) -> None:
    while isinstance(call, partial):
        name = getattr(call.func, "__name__", "")
        if name == BRIDGE:
            return
        if name in WRAPPERS:
            call = call.args[-1]
        elif name == "run" and isinstance(getattr(call.func, "__self__", None), contextvars.Context):
            call = partial(call.args[0], *call.args[1:])  # asyncio.to_thread()
        else:
            _note("thread", call.func, call.args)
            return
    _note("thread", call, ())


def _note(to: Literal["thread", "loop"], function: Any, args: tuple[Any, ...]) -> None:
    hops = noted.get(None)
    if hops is None:
        return
    try:
        cause, names = _described(function, args)
    except Exception as error:  # an odd callable must not end the request
        cause, names = "call", (f"{function!r} ({error!r})",)
    hops.append(Hop(to, cause, names, _place() if cause == "call" else None))


def _place() -> Place | None:
    """The user's line that asked, unless a handler stands between: then it's the handler's doing."""
    nearest: list[FrameType] = []
    for frame in outwards(sys._getframe(1)):
        if any(part in frame.f_code.co_filename.replace("\\", "/") for part in HANDLERS):
            break
        nearest.append(frame)
        if is_users(frame.f_code.co_filename):
            break
    return place_of(nearest)


# ------------------------------------------------------------------ what a call is


def _described(function: Any, args: tuple[Any, ...]) -> tuple[Cause, tuple[str, ...]]:
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if isinstance(owner, Group):
        return "middleware", tuple(_hooks_of(owner, name, args))
    if getattr(function, "__qualname__", "") == "ViewHooks.run":
        return "middleware", tuple(qualified(hook) for hook in args[0])
    if isinstance(owner, HttpResponseBase) and name == "close":
        return "close", (qualified(function),)
    if isinstance(owner, ASGIHandler) and name == "_answer":
        return "request", (qualified(function),)
    if isinstance(owner, ViewHooks | BaseHandler) and name == "process_exception_by_middleware":
        return "error", (qualified(function),)
    if name == "sync_send":
        return "signal", tuple(_signal_and_receivers(function))
    return PLAIN.get(function if function in (list, iter, next) else name, "call"), (qualified(function),)


def _hooks_of(group: Group, name: str, args: tuple[Any, ...]) -> Iterator[str]:
    middleware = [each for each, _ in group.layers]
    depth = args[-1] if args and isinstance(args[-1], int) else 0
    if name == "run_requests":
        hook, involved = "process_request", middleware[depth:]
    else:
        hook, involved = "process_response", middleware[:depth][::-1]
    for each in involved:
        if hasattr(each, hook):
            yield f"{qualified(each)}.{hook}"


def _signal_and_receivers(function: Any) -> Iterator[str]:
    """``function`` is the one that Signal.asend() makes for its synchronous receivers."""
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    inside = dict(zip(function.__code__.co_freevars, cells, strict=True))
    for name, signal in vars(signals).items():
        if signal is inside.get("self"):
            yield f"django.core.signals.{name}"
            break
    else:
        yield "a signal"
    for receiver in inside.get("sync_receivers", ()):
        yield qualified(receiver)


def qualified(thing: Any) -> str:
    """The full name of a function, a method (by the class that it is called on), a view or an instance's class."""
    if isinstance(thing, partial | SyncToAsync):
        return qualified(thing.func)
    if isinstance(thing, AsyncToSync):
        return qualified(thing.awaitable)
    if inspect.ismethod(thing):
        owner = thing.__self__ if inspect.isclass(thing.__self__) else type(thing.__self__)
        return f"{owner.__module__}.{owner.__qualname__}.{thing.__name__}"
    inner = inspect.unwrap(thing)
    if inner is not thing:
        return qualified(inner)
    thing = getattr(thing, "view_class", thing)
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    # A middleware's inner function goes by the name that settings.MIDDLEWARE has.
    return f"{thing.__module__}.{thing.__qualname__.partition('.<locals>')[0]}"


def attributed(hops: list[Hop], middleware: Iterable[str], view: str | None) -> list[Hop]:
    """With the causes that only the project's own names tell. ``middleware``: the qualified names of its classes."""
    return [replace(hop, cause=_cause(hop, [*middleware], view)) for hop in hops]


def _cause(hop: Hop, middleware: list[str], view: str | None) -> Cause:
    if hop.cause != "call":
        return hop.cause
    if hop.names == (view,):
        return "view"
    return "middleware" if any(concerns(hop, name) for name in middleware) else "call"


def concerns(hop: Hop, middleware: str) -> bool:
    """Whether a middleware, given by its qualified name, has a part in the hop."""
    return any(name == middleware or name.startswith(f"{middleware}.") for name in hop.names)
