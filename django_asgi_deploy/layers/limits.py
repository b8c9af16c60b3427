"""Limits of one request and of all together: the size of a body, the time to a response, the number at once.

Each answers by itself when its limit is reached: in plain text, and before anything else has been sent.
"""

import asyncio
import logging
import math

from django_asgi_deploy.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.limits")

# How long a client may go on sending a body that isn't wanted: closing on it would destroy the answer on its way.
# nginx has the same two (lingering_time, lingering_timeout).
LINGER_SECONDS = 30.0
LINGER_IDLE_SECONDS = 5.0


class BodyLimit:
    """Answers 413 to bodies of more than ``max_bytes``: at once if Content-Length says so, otherwise when it is passed.

    In the second case the application sees a client that leaves, and nothing that it sends arrives any more; one that
    has begun to answer before it had the whole body is left alone with that.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length, is_chunked = _announced(scope)
        if length is not None and length > self.max_bytes:
            await _refuse_body(scope, receive, send, f"{length} bytes", self.max_bytes)
        elif length is None and (is_chunked or not scope["http_version"].startswith("1")):
            await _Counted(self.app, self.max_bytes, scope, receive, send)()
        else:  # the server takes no more than Content-Length says, and none without either header
            await self.app(scope, receive, send)


def _announced(scope: Scope) -> tuple[int | None, bool]:
    """The Content-Length if that is what counts, and whether the body comes in chunks."""
    length = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value[:20]) if value.isdigit() else None  # int() raises at 4300 digits
        elif name == b"transfer-encoding":
            return None, True
    return length, False


class _Counted:
    """One request whose body's length shows only as it comes."""

    def __init__(self, app: ASGIApp, max_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
        self.app = app
        self.left = max_bytes
        self.max_bytes = max_bytes
        self.scope = scope
        self._receive = receive
        self._send = send
        self.has_started = False
        self.is_refused = False

    async def __call__(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except Exception:
            if not self.is_refused:
                raise
            logger.debug("What became of the application after the 413", exc_info=True)

    async def receive(self) -> Message:
        message: Message = {"type": "http.disconnect"}
        if not self.is_refused:
            message = await self._receive()
            self.left -= len(message.get("body", b""))
            if self.left < 0:
                await self._refuse(message)
                message = {"type": "http.disconnect"}
        return message

    async def _refuse(self, last: Message) -> None:
        if not self.has_started and not self.is_refused:
            self.is_refused = True
            rest = self._receive if last.get("more_body", False) else None
            await _refuse_body(self.scope, rest, self._send, "the body", self.max_bytes)

    async def send(self, message: Message) -> None:
        if not self.is_refused:
            self.has_started = True
            await self._send(message)


async def _refuse_body(scope: Scope, rest: Receive | None, send: Send, what: str, max_bytes: int) -> None:
    """``rest`` gives what the client still sends, None if that was all."""
    logger.warning("Content Too Large: %s: %s, more than the %d allowed", _label(scope), what, max_bytes)
    await _answer(scope, send, 413, "Content Too Large", closes=True, ends=False)
    if rest and (b"expect", b"100-continue") not in [(name, value.lower()) for name, value in scope["headers"]]:
        await _linger(rest)  # who expects 100 hasn't begun, and won't
    await send({"type": "http.response.body"})


async def _linger(receive: Receive) -> None:
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                async with asyncio.timeout(LINGER_IDLE_SECONDS):
                    message = await receive()
                if not message.get("more_body", False):
                    return
    except TimeoutError:
        return


class Deadline:
    """Answers 504 to a request without an answer after ``seconds``, and cancels the application.

    Time counts from the request, and anew from each piece of its body. Once a response has begun, it may take as long
    as it likes. Code in a thread can't be cancelled: the application returns when that does, without being heard.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Timed(self.app, self.seconds, scope, receive, send)()
        else:
            await self.app(scope, receive, send)


class _Timed:
    """One request with its deadline."""

    def __init__(self, app: ASGIApp, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        self.app = app
        self.seconds = seconds
        self.scope = scope
        self._receive = receive
        self._send = send
        self.has_started = False
        self.answer: asyncio.Task[None] | None = None  # the 504, on its way or sent
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self.since = self.loop.time()
        self.timer = self.loop.call_later(seconds, self._look)

    async def __call__(self) -> None:
        assert self.task is not None
        try:
            await self.app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if self.answer is None or self.task.uncancel() > 0:
                raise
        finally:
            self.timer.cancel()
            if self.answer is not None:
                await self.answer

    async def receive(self) -> Message:
        message = await self._receive()
        if self.answer is not None and asyncio.current_task() is not self.task:
            # The server calls the end of our answer a disconnect. Who listens for one would cancel the application
            # a second time, which then wouldn't wait for its thread.
            await asyncio.Event().wait()
        if message["type"] == "http.disconnect":
            self.timer.cancel()  # nobody waits for an answer any more
        if message.get("body"):
            self.since = self.loop.time()
        return message

    async def send(self, message: Message) -> None:
        if self.answer is None:
            if not self.has_started:
                self.has_started = True
                self.timer.cancel()
            await self._send(message)

    def _look(self) -> None:
        left = self.since + self.seconds - self.loop.time()
        if left > 0:
            self.timer = self.loop.call_later(left, self._look)
            return
        logger.warning("Gateway Timeout: %s: no answer within %g seconds", _label(self.scope), self.seconds)
        self.answer = self.loop.create_task(
            _answer(self.scope, self._send, 504, "Gateway Timeout", closes=True), name="504"
        )
        assert self.task is not None
        self.task.cancel()


class InFlight:
    """Lets ``maximum`` requests at once through to ``app``; others wait for their turn, in order.

    Who has waited for ``timeout_seconds`` is answered with 503. A request counts from the end of its body, so that slow
    senders keep nobody out, until the end of its response. WebSockets don't count: they stay for long and do little,
    and a few hundred of them would keep every request out.
    """

    def __init__(self, app: ASGIApp, maximum: int, timeout_seconds: float) -> None:
        self.app = app
        self.maximum = maximum
        self.timeout_seconds = timeout_seconds
        self.places = asyncio.Semaphore(maximum)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _has_body(scope):
            await _Arriving(self, scope, receive, send)()
        elif await self.finds_place():
            try:
                await self.app(scope, receive, send)
            finally:
                self.places.release()
        else:
            await self.refuse(scope, send)

    async def refuse(self, scope: Scope, send: Send) -> None:
        logger.warning("Service Unavailable: %s: %d requests are in flight", _label(scope), self.maximum)
        seconds = max(1, math.ceil(self.timeout_seconds))
        await _answer(scope, send, 503, "Service Unavailable", (b"retry-after", b"%d" % seconds))

    async def finds_place(self) -> bool:
        if not self.places.locked():
            return await self.places.acquire()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self.places.acquire()
        except TimeoutError:
            return False


def _has_body(scope: Scope) -> bool:
    length, is_chunked = _announced(scope)
    if length is None and not is_chunked:  # from HTTP/2 on, neither needs to be there
        return not scope["http_version"].startswith("1") and scope["method"] not in ("GET", "HEAD")
    return is_chunked or length != 0


class _Arriving:
    """One request that takes its place when the application has received the whole body.

    Without one, the application sees a client that leaves. Who answers before takes none.
    """

    def __init__(self, limit: InFlight, scope: Scope, receive: Receive, send: Send) -> None:
        self.limit = limit
        self.scope = scope
        self._receive = receive
        self._send = send
        self.has_started = False
        self.has_place = False
        self.is_refused = False

    async def __call__(self) -> None:
        try:
            await self.limit.app(self.scope, self.receive, self.send)
        except Exception:
            if not self.is_refused:
                raise
            logger.debug("What became of the application after the 503", exc_info=True)
        finally:
            if self.has_place:
                self.limit.places.release()

    async def receive(self) -> Message:
        message: Message = {"type": "http.disconnect"}
        if not self.is_refused:
            message = await self._receive()
            is_whole = message["type"] == "http.request" and not message.get("more_body", False)
            if is_whole and not (self.has_place or self.has_started) and not await self._finds_place():
                message = {"type": "http.disconnect"}
        return message

    async def _finds_place(self) -> bool:
        self.has_place = await self.limit.finds_place()
        if not self.has_place:
            self.is_refused = True
            await self.limit.refuse(self.scope, self._send)
        return self.has_place

    async def send(self, message: Message) -> None:
        if not self.is_refused:
            self.has_started = True
            await self._send(message)


async def _answer(
    scope: Scope,
    send: Send,
    status: int,
    text: str,
    *headers: tuple[bytes, bytes],
    closes: bool = False,
    ends: bool = True,
) -> None:
    body = f"{status} {text}".encode()
    all_headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *headers]
    if closes and scope["http_version"].startswith("1"):  # HTTP/2 forbids this header
        all_headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    content = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": content, "more_body": not ends})


def _label(scope: Scope) -> str:
    """The request, for the log: what a client has chosen can't break the line."""
    return f"{scope['method']} {scope['path']!r}"
