"""
Drives an application in process over the ASGI protocol, as a server would, with a deadline for everything.

The event loop runs in a thread of its own, so that code which blocks it for ever can be told from code which waits.
"""

import asyncio
import concurrent.futures
import contextvars
import sys
import threading
from collections.abc import Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

from django.core.signals import got_request_exception

from django_asgi_deploy.checks.frames import Place, place_of_task, place_of_thread, place_of_threads
from django_asgi_deploy.types import ASGIApp, Message, Scope

T = TypeVar("T")

GRACE_SECONDS = 1.0  # for what was cancelled
STREAM_SECONDS = 1.0  # how long a stream is listened to
STREAM_PARTS = 16  # how many parts of it are taken
ORIGIN_FRAMES = 12  # of a coroutine that nobody awaits
ASGI = {"version": "3.0", "spec_version": "2.4"}
WEBSOCKET = "WS"  # in reports, where a request has its method


class LoopBlocked(Exception):
    """Something holds the event loop itself; ``place`` is the user's line, if it could be seen."""

    def __init__(self, place: Place | None) -> None:
        self.place = place
        super().__init__(str(place))


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.unseen: list[BaseException] = []  # what tasks failed with that nobody awaited
        self.loop.set_exception_handler(self._note)
        self.thread = threading.Thread(target=self._run, name="checkasgi", daemon=True)
        self.thread.start()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A cancelled task was ended by somebody, such as Django's handler when its client leaves.
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            self.unseen.append(error)

    def _run(self) -> None:
        sys.set_coroutine_origin_tracking_depth(ORIGIN_FRAMES)  # of this thread; it ends with it
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
        """The coroutine's result. Raises LoopBlocked if it isn't there after ``seconds``, which it must keep itself."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        done, _ = concurrent.futures.wait([future], timeout=seconds)
        if not done:
            raise LoopBlocked(place_of_thread(self.thread.ident or 0))
        return future.result()

    def close(self) -> bool:
        """Whether it could be ended."""
        try:
            self.run(_cancel_all(), 2 * GRACE_SECONDS)
        except LoopBlocked:
            return False
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(GRACE_SECONDS)
        if not self.thread.is_alive():
            self.loop.close()
        return not self.thread.is_alive()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    await asyncio.get_running_loop().shutdown_asyncgens()


# ------------------------------------------------------------------ requests


@dataclass(frozen=True)
class Visitor:
    """How requests look: from this machine, to a host that the project serves."""

    host: str
    scheme: str

    def scope(
        self,
        method: str,
        url: str,
        state: dict[str, Any] | None,
        *,
        size: int = 0,
        cookie: str | None = None,
        root_path: str = "",
    ) -> Scope:
        """An HTTP scope. ``size``: of the body, in bytes."""
        path, _, query = url.partition("?")
        path = root_path + path
        headers = [
            (b"host", self.host.encode("idna" if not self.host.isascii() else "ascii")),
            (b"user-agent", b"django-asgi-deploy checkasgi"),
            (b"accept", b"*/*"),
        ]
        if cookie:
            headers.append((b"cookie", cookie.encode()))
        if size:
            headers.append((b"content-type", b"application/x-www-form-urlencoded"))
            headers.append((b"content-length", b"%d" % size))
        scope = {
            "type": "http",
            "asgi": ASGI,
            "http_version": "1.1",
            "method": method,
            "scheme": self.scheme,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": root_path,
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": (self.host, 443 if self.scheme == "https" else 80),
        }
        return scope if state is None else {**scope, "state": state.copy()}


@dataclass(frozen=True)
class Blocked:
    """A call that held the event loop."""

    function: str  # "time.sleep"
    place: Place  # the user's line that leads to it


@dataclass
class Answer:
    """What came of a request."""

    method: str
    url: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0
    seconds: float = 0.0
    is_complete: bool = False
    is_cut: bool = False  # a stream, left after its first parts
    error: BaseException | None = None  # came out of the application
    exceptions: list[BaseException] = field(default_factory=list)  # that Django answered with an error page
    is_late: bool = False  # not done within the deadline
    is_left_behind: bool = False  # nothing could end it
    blocks: bool = False  # it held the event loop itself
    place: Place | None = None  # where it waited
    is_stream: bool = False  # it came in parts
    first_part_seconds: float | None = None
    blocked: dict[Blocked, None] = field(default_factory=dict)  # a set in the order of calls
    stalls: list[Place] = field(default_factory=list)  # where the event loop stood still

    @property
    def ended_well(self) -> bool:
        """Whether the application did its part; which status it answered is another matter."""
        return not (self.error or self.is_late) and (self.is_complete or self.is_cut)

    def keep_stalls_of(self, again: "Answer") -> None:
        """Forget the others: what is slow the first time only, doesn't count."""
        known = {place[:3:2] for place in again.stalls}  # file and function
        self.stalls = [place for place in self.stalls if place[:3:2] in known]


_current: contextvars.ContextVar["Exchange"] = contextvars.ContextVar("checkasgi.exchange")


def current_exchange() -> "Exchange | None":
    """The request that the running code belongs to."""
    return _current.get(None)


class Exchange:
    """One request to an application."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Scope,
        body: Iterable[bytes] = (),
        leave: asyncio.Event | None = None,
        leave_after_seconds: float | None = None,
    ):
        self.app = app
        self.scope = scope
        self.parts = [*body] or [b""]
        self.gone = leave or asyncio.Event()  # the client
        self.answer = Answer(scope.get("method", WEBSOCKET), scope["path"])
        self.leave_after_seconds = leave_after_seconds
        self.received = 0
        self.started = 0.0
        self.stream_parts = 0

    def longest_seconds(self, deadline_seconds: float) -> float:
        """How long run() may take."""
        return deadline_seconds + GRACE_SECONDS + STREAM_SECONDS + 1

    async def run(
        self, deadline_seconds: float, context: contextvars.Context, older_threads: Collection[int]
    ) -> Answer:
        """The answer, after the deadline at the latest and a moment of grace.

        A thread that isn't one of the ``older_threads`` and is in the user's code then is taken for what hangs.
        """
        context.run(self.enter)
        answer, loop = self.answer, asyncio.get_running_loop()
        self.started = started = loop.time()
        task = loop.create_task(self._call(), context=context)
        if self.leave_after_seconds is not None:
            loop.call_later(self.leave_after_seconds, self.gone.set)
            loop.call_later(self.leave_after_seconds + GRACE_SECONDS, self._note_where, task)
        await asyncio.wait({task}, timeout=deadline_seconds)
        answer.seconds = loop.time() - started
        if not task.done():
            answer.is_late = True
            answer.place = place_of_threads(but=older_threads) or place_of_task(task)
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE_SECONDS)
            answer.is_left_behind = not task.done()
        elif task.cancelled():
            answer.error = asyncio.CancelledError("the application cancelled itself")
        else:
            answer.error = task.exception()
        return answer

    def enter(self) -> None:
        """What runs in this context belongs to it."""
        _current.set(self)

    def _note_where(self, task: asyncio.Task[None]) -> None:
        """It goes on although its client has left."""
        if not task.done() and self.answer.place is None:
            self.answer.place = place_of_task(task)

    async def _call(self) -> None:
        await self.app(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        """The request's body, then the client's leaving."""
        if self.received < len(self.parts):
            self.received += 1
            more = self.received < len(self.parts)
            return {"type": "http.request", "body": self.parts[self.received - 1], "more_body": more}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Takes a part of the response; streams are left after the first ones."""
        answer = self.answer
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode("latin1").lower(): v.decode("latin1") for name, v in message["headers"]}
        elif message["type"] == "http.response.body":
            if answer.status is None:
                raise RuntimeError("http.response.body was sent before http.response.start")
            self._take(message)
        await asyncio.sleep(0)  # a server's send() comes to wait, too

    def _take(self, message: Message) -> None:
        answer = self.answer
        answer.size += len(message.get("body", b""))
        if answer.first_part_seconds is None:
            answer.first_part_seconds = asyncio.get_running_loop().time() - self.started
        answer.is_stream |= message.get("more_body", False)
        if not message.get("more_body", False):
            answer.is_complete = True
            self.gone.set()
            return
        if not self.stream_parts:
            asyncio.get_running_loop().call_later(STREAM_SECONDS, self._cut)
        self.stream_parts += 1
        if self.stream_parts >= STREAM_PARTS:
            self._cut()

    def _cut(self) -> None:
        if not self.answer.is_complete:
            self.answer.is_cut = True
            self.gone.set()


@contextmanager
def exceptions_noted() -> Iterator[None]:
    """Meanwhile, what Django turns into an error page is noted in the request's answer."""

    def note(**kwargs: Any) -> None:
        exchange, error = _current.get(None), sys.exc_info()[1]
        if exchange is not None and error is not None:
            exchange.answer.exceptions.append(error)

    got_request_exception.connect(note, weak=False)
    try:
        yield
    finally:
        got_request_exception.disconnect(note)


# ------------------------------------------------------------------ lifespan


class Lifespan:
    """An application's start-up and shutdown. ``outcome`` says in a word how the last of them went."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.outcome = ""
        self.message = ""
        self.place: Place | None = None
        self.task: asyncio.Task[None] | None = None

    async def start(self, deadline_seconds: float) -> None:
        """outcome: complete, failed, no answer, or not spoken."""
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        self.task = asyncio.create_task(self._run(scope))
        await self._step("startup", deadline_seconds)

    async def stop(self, deadline_seconds: float) -> None:
        """outcome: complete, failed or no answer. Only after a complete start."""
        await self._step("shutdown", deadline_seconds)

    async def _run(self, scope: Scope) -> None:
        await self.app(scope, self.inbox.get, self.outbox.put)

    async def _step(self, name: str, deadline_seconds: float) -> None:
        assert self.task is not None
        self.inbox.put_nowait({"type": f"lifespan.{name}"})
        answer = asyncio.create_task(self.outbox.get())
        await asyncio.wait({answer, self.task}, timeout=deadline_seconds, return_when=asyncio.FIRST_COMPLETED)
        if answer.done() or not self.outbox.empty():
            message = await answer
            self.outcome = message["type"].rpartition(".")[2]
            self.message = message.get("message", "")
            return
        answer.cancel()
        if not self.task.done():
            self.outcome = "no answer"
            self.place = place_of_task(self.task)
            return
        # A server takes an exception for "I don't know this protocol", and serves without it.
        error = None if self.task.cancelled() else self.task.exception()
        self.outcome = "not spoken" if name == "startup" else "failed"
        self.message = f"{type(error).__name__}: {error}" if error else ""
