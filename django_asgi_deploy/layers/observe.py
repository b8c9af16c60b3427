"""What happens to a request, seen from outside: one layer for the access log, the metrics and the request id."""

import logging
import re
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Awaitable, Callable, Iterable
from random import getrandbits
from time import perf_counter
from typing import Any

from django_asgi_deploy.logging import current
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

    __slots__ = (
        *("_id", "begun", "bytes", "complete", "failed", "left"),
        *("request", "route", "scope", "seconds", "status", "waited"),
    )

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._id = ""
        self.begun = perf_counter()
        self.status = 0
        self.bytes = 0
        self.complete = False
        self.failed = True
        self.left = False
        self.seconds = 0.0
        self.waited = 0.0
        self.request: Any = None
        self.route: str | None = None

    @property
    def id(self) -> str:
        """The one it came with, or one that is made when somebody asks for it."""
        if not self._id:
            self._id = new_id()
        return self._id

    @property
    def is_websocket(self) -> bool:
        return bool(self.scope["type"] == "websocket")

    def part_with_request(self) -> None:
        """It has the scope, and the scope has this: only the garbage collector would find them."""
        if self.request is not None:
            if match := self.request.resolver_match:
                self.route = match.route
            self.request = None

    def settle(self) -> None:
        """Say what became of it, where it wasn't answered to the end."""
        self.part_with_request()
        if self.complete:
            return
        if self.failed:
            self.status = self.status or 500  # which the server sends now
        elif not self.is_websocket or not self.status:
            self.left = True
            self.status = self.status or CLIENT_LEFT


Observer = Callable[[list[Observation]], None]


class Observed:
    """Tells ``observers`` of the requests that are over: of all that end in one turn of the event loop, at its end.

    In the middle of a request, code that counts or writes comes into a cold cache, and leaves one behind. What is
    answered in one turn is told before the bytes are sent: what a client has seen has been counted.

    ``request_id_header`` (lower case): where a peer that ``trusts`` says yes to gives an id, and where the response
    has it; None for neither. Without a usable id, one is made. ``counts`` is kept up with how many there are that
    aren't over, by the type of their scope.
    """

    def __init__(
        self,
        app: ASGIApp,
        observers: Iterable[Observer],
        request_id_header: str | None = None,
        trusts: Callable[[Scope], bool] = lambda scope: False,
        counts: dict[str, int] | None = None,
    ) -> None:
        self.app = app
        self.observers = [*observers]
        self.header = request_id_header.lower().encode() if request_id_header else None
        self.trusts = trusts
        self.counts = {"http": 0, "websocket": 0} if counts is None else counts
        self._ended: list[Observation] = []
        self._telling: AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or OBSERVATION in scope:  # there is another one outside
            await self.app(scope, receive, send)
            return
        seen = Observation(scope)
        header = None if self.header is None else self._identify(seen)
        token = current.set(seen)

        def observed_send(message: Message) -> Awaitable[None]:  # not async: one coroutine less for each message
            kind = message["type"]
            if kind == "http.response.body":
                seen.bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    seen.complete = True
            elif kind == "http.response.start":
                seen.status = message["status"]
                if self._telling is None:
                    self._tell_soon(get_running_loop())
                if header:
                    message = _with_header(message, header)
            else:
                message = _note_websocket(seen, message, header)
            return send(message)

        self.counts[scope["type"]] += 1
        try:
            await self.app({**scope, OBSERVATION: seen}, receive, observed_send)
            seen.failed = False
        finally:
            self.counts[scope["type"]] -= 1
            seen.seconds = perf_counter() - seen.begun
            self._ended.append(seen)
            loop = get_running_loop()
            if loop is not self._telling:  # another one may never come to it
                self._tell_soon(loop)
            current.reset(token)

    def _tell_soon(self, loop: AbstractEventLoop) -> None:
        self._telling = loop
        loop.call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = None
        ended, self._ended = self._ended, []
        if ended:
            for seen in ended:
                if not seen.complete or seen.request is not None:
                    seen.settle()
            for observe in self.observers:
                quietly(observe, ended)

    def _identify(self, seen: Observation) -> tuple[bytes, bytes]:
        """Take the id that it came with, if there is a usable one, and make the header of the response."""
        assert self.header is not None
        given = [value for name, value in seen.scope["headers"] if name == self.header]
        if len(given) == 1 and _ID.fullmatch(given[0]) and self.trusts(seen.scope):
            seen._id = str(given[0], "ascii")
        return self.header, seen.id.encode()


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


def quietly(observe: Callable[..., None], *what: Any) -> None:
    # The request is answered; that nobody could note it isn't a reason to fail it.
    try:
        observe(*what)
    except Exception:
        logger.exception("A request couldn't be noted")
