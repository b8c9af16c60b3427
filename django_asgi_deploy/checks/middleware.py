"""The middleware as the handlers see it: the form of each entry, and what Django makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.utils.module_loading import import_string

from django_asgi_deploy.checks.hops import Hop, qualified
from django_asgi_deploy.handlers.chains import GROUP, is_classic
from django_asgi_deploy.handlers.private import middleware_chain


@dataclass
class Entry:
    """One line of settings.MIDDLEWARE."""

    path: str
    factory: Any  # what the path leads to: a class, or a function
    can_sync: bool  # what the factory says of itself
    can_async: bool
    name: str  # qualified, as its hops bear it; differs from path where that is an alias
    is_used: bool = True
    is_classic: bool = False  # MiddlewareMixin with hooks: both chains of the pooled handler share it
    runs: str = ""  # its form in Django's handler: "async", or "sync": in a thread, for the whole of the request
    made: Any = None  # what the factory made; None if it wasn't made, or isn't used

    @property
    def mode(self) -> str:
        """In words, what it says of itself."""
        if self.can_sync and self.can_async:
            return "sync and async"
        return "async only" if self.can_async else "sync only"

    def __getstate__(self) -> dict[str, Any]:
        """For another process: what is known about it, without the objects themselves."""
        return {**vars(self), "factory": None, "made": None}

    def keep(self, made: Any) -> None:
        self.made = made
        self.is_classic = is_classic(made)
        self.name = qualified(made)


class Replay:
    """What Django's own handler makes of settings.MIDDLEWARE.

    ``served`` is a handler that is loaded already: then its middleware is looked at, and none is made again. Where that
    can't be done, a handler of Django's is built once more: ``handler``, or ``error`` if it can't be.
    """

    def __init__(self, served: ASGIHandler | None = None) -> None:
        self.entries = [declared(path) for path in settings.MIDDLEWARE]
        self.error: Exception | None = None
        self.handler: ASGIHandler | None = None
        self._by_path = {entry.path: entry for entry in self.entries}
        self._last: Entry | None = None
        self._inner: Any = None
        plan(self.entries)
        if served is not None and self._take_over(served):
            return
        try:
            self.handler = self._build()
        except Exception as error:  # it may be built once only
            self.error = error

    @property
    def used(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_used]

    def _take_over(self, served: ASGIHandler) -> bool:
        """Whether every middleware of the handler could be found, and is one of the entries."""
        made = chain_of(served)
        if made is None:
            return False
        pairs: list[tuple[Entry, Any]] = []
        for entry in self.entries:
            if made and _comes_from(entry, made[0]):
                pairs.append((entry, made.pop(0)))
        if made:
            return False
        for entry in self.entries:
            entry.is_used = False
        for entry, middleware in pairs:
            entry.is_used = True
            entry.keep(middleware)
        plan(self.entries)
        return True

    def _build(self) -> ASGIHandler:
        handler = ASGIHandler.__new__(ASGIHandler)
        adapt = handler.adapt_method_mode

        def watching(is_async: bool, method: Any, method_is_async: Any = None, debug: bool = False, name: Any = None):  # type: ignore[no-untyped-def]
            if method_is_async is not None:  # a link of the chain, from inside; not one of the hooks
                self._built(method)
                self._begin(name, is_async)
            return adapt(is_async, method, method_is_async, debug, name)

        handler.adapt_method_mode = watching  # type: ignore[method-assign]
        handler.__init__()  # type: ignore[misc]
        del handler.adapt_method_mode
        return handler

    def _begin(self, name: str | None, is_async: bool) -> None:
        self._last = self._by_path.get((name or "").removeprefix("middleware "))
        if self._last:
            self._last.runs = "async" if is_async else "sync"

    def _built(self, method: Any) -> None:
        """``method`` is convert_exception_to_response() around what the last entry made."""
        if self._last is None:
            self._inner = method
            return
        if method is self._inner:  # MiddlewareNotUsed
            self._last.is_used = False
            return
        self._inner = method
        self._last.keep(method.__wrapped__)


def plan(entries: list[Entry]) -> None:
    """The form of each used entry, as BaseHandler.load_middleware(is_async=True) decides on it, from the inside."""
    behind_is_async = True
    for entry in reversed(entries):
        if entry.is_used:
            behind_is_async = entry.can_async and (behind_is_async or not entry.can_sync)
            entry.runs = "async" if behind_is_async else "sync"


def alone(entry: Entry) -> Any:
    """What the entry makes of a handler in its own form, without the others; None if that can't be seen."""

    async def get_response_async(request: Any) -> Any:
        raise NotImplementedError

    def get_response(request: Any) -> Any:
        raise NotImplementedError

    try:
        return entry.factory(get_response_async if entry.runs == "async" else get_response)
    except MiddlewareNotUsed:
        return None
    except Exception:  # it will say so itself, as soon as the site is started
        return None


# ------------------------------------------------------------------ the chain of a handler


def chain_of(handler: ASGIHandler) -> list[Any] | None:
    """The middleware of a loaded handler, outermost first; None if it isn't linked as we know it."""
    found: list[Any] = []
    link: Callable[..., Any] | None = _unbridged(middleware_chain(handler))
    while link is not None:
        group = getattr(link, GROUP, None)
        if group is not None:
            found += [middleware for middleware, _ in group.layers]
            link = _unbridged(group.inner)
            continue
        made = getattr(link, "__wrapped__", None)
        if made is None:
            return None
        if getattr(made, "__self__", None) is handler:  # _get_response_async()
            return found
        found.append(made)
        link = _link_in(made)
    return None


def _unbridged(thing: Any) -> Any:
    while isinstance(thing, SyncToAsync | AsyncToSync):
        thing = thing.func if isinstance(thing, SyncToAsync) else thing.awaitable
    return thing


def is_link(thing: Any) -> bool:
    """Whether it is a get_response: the next middleware as Django, or our handler, hands it to the one before."""
    thing = _unbridged(thing)
    code = getattr(thing, "__code__", None)
    return hasattr(thing, GROUP) or (
        code is not None and code.co_qualname.startswith("convert_exception_to_response.<locals>.")
    )


def _link_in(made: Any) -> Any:
    """The get_response that a middleware keeps, under whatever name."""
    kept = [*getattr(made, "__dict__", {}).values()]
    for cell in getattr(made, "__closure__", None) or ():
        try:
            kept.append(cell.cell_contents)
        except ValueError:  # not set yet
            continue
    return next((_unbridged(each) for each in kept if is_link(each)), None)


def _comes_from(entry: Entry, made: Any) -> bool:
    if isinstance(entry.factory, type):
        return isinstance(made, entry.factory)
    return qualified(made) == entry.name


# ------------------------------------------------------------------ declarations


def spread(hop: Hop, entries: list[Entry]) -> Hop:
    """A hop into a middleware in its sync form, with the names of all that run in sync form there."""
    chain = [entry for entry in entries if entry.is_used]
    begin = next((i for i, each in enumerate(chain) if hop.names == (each.name,) and each.runs == "sync"), None)
    if hop.cause != "middleware" or begin is None:
        return hop
    end = next((i for i in range(begin, len(chain)) if chain[i].runs != "sync"), len(chain))
    return replace(hop, names=tuple(entry.name for entry in chain[begin:end]))


def declared(path: str) -> Entry:
    factory = import_string(path)
    return Entry(
        path,
        factory,
        can_sync=bool(getattr(factory, "sync_capable", True)),
        can_async=bool(getattr(factory, "async_capable", False)),
        name=qualified(factory),
    )
