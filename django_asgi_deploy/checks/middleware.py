"""The middleware as the handlers see it: the form of each entry, and what Django makes of it."""

from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.utils.module_loading import import_string

from django_asgi_deploy.checks.hops import Hop, qualified
from django_asgi_deploy.handlers.chains import is_classic


@dataclass
class Entry:
    """One line of settings.MIDDLEWARE."""

    path: str
    mode: str  # what it says of itself: "sync and async", "sync only", "async only"
    name: str  # qualified, as its hops bear it; differs from path where that is an alias
    is_used: bool = True
    is_classic: bool = False  # MiddlewareMixin with hooks: both chains of the pooled handler share it
    runs: str = ""  # its form in Django's handler: "async", or "sync": in a thread, for the whole of the request


class Replay:
    """Django's own handler, built once more, and what it made of each entry."""

    def __init__(self) -> None:
        self.entries = [_declared(path) for path in settings.MIDDLEWARE]
        self.error: Exception | None = None
        self.handler: ASGIHandler | None = None
        self._by_path = {entry.path: entry for entry in self.entries}
        self._last: Entry | None = None
        self._inner: Any = None
        try:
            self.handler = self._build()
        except Exception as error:  # it may be built once only
            self.error = error

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
        made = method.__wrapped__
        self._last.is_classic = is_classic(made)
        self._last.name = qualified(made)


def spread(hop: Hop, entries: list[Entry]) -> Hop:
    """A hop into a middleware in its sync form, with the names of all that run in sync form there."""
    chain = [entry for entry in entries if entry.is_used]
    begin = next((i for i, each in enumerate(chain) if hop.names == (each.name,) and each.runs == "sync"), None)
    if hop.cause != "middleware" or begin is None:
        return hop
    end = next((i for i in range(begin, len(chain)) if chain[i].runs != "sync"), len(chain))
    return replace(hop, names=tuple(entry.name for entry in chain[begin:end]))


def _declared(path: str) -> Entry:
    factory = import_string(path)
    can_sync = getattr(factory, "sync_capable", True)
    can_async = getattr(factory, "async_capable", False)
    mode = "sync and async" if can_sync and can_async else "async only" if can_async else "sync only"
    return Entry(path, mode, name=qualified(factory))
