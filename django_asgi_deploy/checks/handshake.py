"""Opens one WebSocket to an application, as a server would for a browser, and leaves it again. Nothing is sent.

https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

import asyncio
import contextvars
import sys
from collections.abc import Collection
from urllib.parse import unquote

from django_asgi_deploy.checks.frames import outwards, place_of, place_of_task, place_of_threads
from django_asgi_deploy.checks.probe import GRACE_SECONDS, Answer, Exchange, Visitor
from django_asgi_deploy.types import ASGIApp, Message, Scope

ACCEPTED, DENIED = 101, 403  # the status that the client sees
STAYS_SECONDS = 0.2  # how long an accepted one stays open
GOING_AWAY = 1001
DEEPEST = 20  # of a chain of causes


class Gone(OSError):
    """What the application's send() raises when the client has left, as servers do since version 2.4 of ASGI."""


def scope_of(visitor: Visitor, path: str, origin: str | None, cookie: str | None) -> Scope:
    """What a browser asks for on a page of ``origin``; None: no page in a browser asks."""
    scope = visitor.scope("GET", path, None, cookie=cookie)
    del scope["method"]
    headers = [
        *((name, value) for name, value in scope["headers"] if name != b"accept"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"Y2hlY2thc2dpICAgICAgIA=="),
    ]
    if origin is not None:
        headers.append((b"origin", origin.encode("ascii")))
    return {
        **scope,
        "type": "websocket",
        "scheme": "wss" if visitor.scheme == "https" else "ws",
        "path": unquote(path.partition("?")[0]),
        "headers": headers,
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }


class Handshake(Exchange):
    """One handshake. ``answer.status`` is 101, 403, or what the application answers instead; None without an answer."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        super().__init__(app, scope)
        self.violation: str | None = None  # what the application sent that it may not
        self.goes_on = False  # after its client has left
        self.answered = asyncio.Event()
        self.has_connected = False
        self.is_closed = False  # by the application
        self.has_left = False

    @property
    def was_accepted(self) -> bool:
        return self.answer.status == ACCEPTED

    def longest_seconds(self, deadline_seconds: float) -> float:
        return 2 * deadline_seconds + STAYS_SECONDS + 2 * GRACE_SECONDS + 1

    async def run(
        self, deadline_seconds: float, context: contextvars.Context, older_threads: Collection[int]
    ) -> Answer:
        """Wait for an answer until the deadline; leave; and wait as long again for the application to end."""
        context.run(self.enter)
        answer, loop = self.answer, asyncio.get_running_loop()
        started = loop.time()
        task = loop.create_task(self._call(), context=context)
        answered = loop.create_task(self.answered.wait())
        await asyncio.wait({task, answered}, timeout=deadline_seconds, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        answer.seconds = loop.time() - started
        if answer.status is None and not task.done():
            answer.is_late = True
            answer.place = place_of_threads(but=older_threads) or place_of_task(task)
        elif self.was_accepted:
            await asyncio.wait({task}, timeout=STAYS_SECONDS)
        self.has_left = not task.done() and not self.is_closed
        self.gone.set()
        await asyncio.wait({task}, timeout=GRACE_SECONDS if answer.is_late else deadline_seconds)
        if not task.done():
            self.goes_on = not answer.is_late
            answer.place = answer.place or place_of_threads(but=older_threads) or place_of_task(task)
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE_SECONDS)
            answer.is_left_behind = not task.done()
        elif task.cancelled():
            answer.error = asyncio.CancelledError("the application cancelled itself")
        elif (error := task.exception()) and not tells_of_leaving(error):
            answer.error = error
        return answer

    async def receive(self) -> Message:
        """The client's wish to connect, then its leaving."""
        if not self.has_connected:
            self.has_connected = True
            return {"type": "websocket.connect"}
        await self.gone.wait()
        return {"type": "websocket.disconnect", "code": GOING_AWAY, "reason": ""}

    async def send(self, message: Message) -> None:
        """Takes what a server would take, and refuses the rest as it would."""
        kind = message["type"]
        if self.is_closed:
            self._refuse(kind, "after it was closed")
        elif self.gone.is_set():
            raise Gone("the client has left")
        elif self.answer.status is None:
            self._take_first(message)
        elif self.was_accepted and kind == "websocket.close":
            self._close()
        elif not self.was_accepted and kind == "websocket.http.response.body":
            if not message.get("more_body", False):
                self._close()
        elif not (self.was_accepted and kind == "websocket.send"):
            self._refuse(kind, "after it was accepted" if self.was_accepted else "while it is refused")
        await asyncio.sleep(0)  # a server's send() comes to wait, too

    def _take_first(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.answer.status = ACCEPTED
        elif kind == "websocket.close":
            self.answer.status = DENIED
            self._close()
        elif kind == "websocket.http.response.start":
            self.answer.status = message["status"]
        else:
            self._refuse(kind, "before it was accepted")
        self.answered.set()

    def _close(self) -> None:
        self.is_closed = True
        self.gone.set()

    def _refuse(self, kind: str, when: str) -> None:
        self.violation = f"{kind} is sent {when}"
        self.answer.place = self.answer.place or place_of(outwards(sys._getframe(1)))
        raise RuntimeError(f"{self.violation}: a server refuses it")


def tells_of_leaving(error: BaseException | None) -> bool:
    """Whether it only says that the client has left: send()'s own, or what Starlette makes of it."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(tells_of_leaving, error.exceptions))
    for _ in range(DEEPEST):
        if error is None:
            return False
        if isinstance(error, Gone) or type(error).__name__ == "WebSocketDisconnect":
            return True
        error = error.__cause__ or error.__context__
    return False
