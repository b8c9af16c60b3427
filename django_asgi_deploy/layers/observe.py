"""What happens to a request, seen from outside: one layer for the access log, the metrics and the request id."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from random import getrandbits
from typing import Any

from django_asgi_deploy.logging import request_id
from django_asgi_deploy.types import OBSERVATION, ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.observe")

CLIENT_LEFT = 499  # as nginx has it; nobody gets to see it but the log

_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class Observation:
    """One request, or one WebSocket connection, up to now. The request handler adds what only it knows.

    ``status`` (0 before there is one) of a WebSocket is 101 once it is accepted. ``bytes`` counts those of the body,
    or of the messages sent. ``seconds`` is what all of it took, ``waited`` (seconds) how much of that was spent in the
    queue for a thread. ``request`` is Django's request, until the end. ``route`` is the URL pattern, as in
    ``resolver_match.route``, or what another layer calls it that answered; None where none matched. ``left`` says that
    the client went before the end.
    """

    __slots__ = ("begun", "bytes", "complete", "id", "left", "request", "route", "scope", "seconds", "status", "waited")

    def __init__(self, scope: Scope, identity: str) -> None:
        self.scope = scope
        self.id = identity
        self.begun = time.perf_counter()
        self.status = 0
        self.bytes = 0
        self.complete = False
        self.left = False
        self.seconds = 0.0
        self.waited = 0.0
        self.request: Any = None
        self.route: str | None = None

    @property
    def is_websocket(self) -> bool:
        return bool(self.scope["type"] == "websocket")

    def part_with_request(self) -> None:
        """It has the scope, and the scope has this: only the garbage collector would find them."""
        if self.request is not None:
            if match := self.request.resolver_match:
                self.route = match.route
            self.request = None

    def end(self, failed: bool) -> None:
        self.seconds = time.perf_counter() - self.begun
        self.part_with_request()
        if self.complete:
            return
        if failed:
            self.status = self.status or 500  # which the server sends now
        elif not self.is_websocket or not self.status:
            self.left = True
            self.status = self.status or CLIENT_LEFT


Observer = Callable[[Observation], None]


class Observed:
    """Tells ``observers`` of each request when it is over, and ``beginners`` when it begins.

    ``request_id_header`` (lower case): where a peer that ``trusts`` says yes to gives an id, and where the response
    has it; None for neither. Without a usable id, one is made.
    """

    def __init__(
        self,
        app: ASGIApp,
        observers: Iterable[Observer],
        beginners: Iterable[Observer] = (),
        request_id_header: str | None = None,
        trusts: Callable[[Scope], bool] = lambda scope: False,
    ) -> None:
        self.app = app
        self.observers = [*observers]
        self.beginners = [*beginners]
        self.header = request_id_header.lower().encode() if request_id_header else None
        self.trusts = trusts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or OBSERVATION in scope:  # there is another one outside
            await self.app(scope, receive, send)
            return
        seen = Observation(scope, self._id(scope) if self.header else new_id())
        header = None if self.header is None else (self.header, seen.id.encode())
        token = request_id.set(seen.id)

        def observed_send(message: Message) -> Awaitable[None]:  # not async: one coroutine less for each message
            kind = message["type"]
            if kind == "http.response.body":
                seen.bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    seen.complete = True
            elif kind == "http.response.start":
                seen.status = message["status"]
                if header:
                    message = _with_header(message, header)
            else:
                message = _note_websocket(seen, message, header)
            return send(message)

        for begin in self.beginners:
            quietly(begin, seen)
        failed = True
        try:
            await self.app({**scope, OBSERVATION: seen}, receive, observed_send)
            failed = False
        finally:
            seen.end(failed)
            for observe in self.observers:
                quietly(observe, seen)
            request_id.reset(token)

    def _id(self, scope: Scope) -> str:
        given = [value for name, value in scope["headers"] if name == self.header]
        if len(given) == 1 and _ID.fullmatch(given[0]) and self.trusts(scope):
            return str(given[0], "ascii")
        return new_id()


def new_id() -> str:
    """32 hexadecimal digits, as in the trace ids of W3C's Trace Context."""
    return getrandbits(128).to_bytes(16).hex()


def _with_header(message: Message, header: tuple[bytes, bytes]) -> Message:
    """The message with the header, unless the application has set it itself."""
    headers = message.get("headers") or ()
    size = len(header[0])
    for name, _ in headers:
        if len(name) == size and name.lower() == header[0]:
            return message
    return {**message, "headers": [*headers, header]}


def _note_websocket(seen: Observation, message: Message, header: tuple[bytes, bytes] | None) -> Message:
    kind = message["type"]
    if kind == "websocket.send":
        seen.bytes += len(message.get("bytes") or (message.get("text") or "").encode())
    elif kind == "websocket.accept":
        seen.status = 101
        return _with_header(message, header) if header else message
    elif kind == "websocket.close":
        seen.status = seen.status or 403
        seen.complete = True
    elif kind == "websocket.http.response.start":
        seen.status = message["status"]
    elif kind == "http.response.pathsend":
        seen.complete = True
    return message


def quietly(observe: Observer, seen: Observation) -> None:
    # The request is answered; that nobody could note it isn't a reason to fail it.
    try:
        observe(seen)
    except Exception:
        logger.exception("A request couldn't be noted")
