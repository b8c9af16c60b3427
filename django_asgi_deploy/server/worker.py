"""One serving process: uvicorn's server, with an end that is certain, loses nothing, and has a status."""

import asyncio
import atexit
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from django_asgi_deploy import shutdown
from django_asgi_deploy.exceptions import ASGIDeployError, ExitStatus
from django_asgi_deploy.server import private, systemd
from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.config import Config
from django_asgi_deploy.server.deadlines import client_of
from django_asgi_deploy.server.listening import Listening
from django_asgi_deploy.server.tie import Tie

logger = logging.getLogger("django_asgi_deploy.server")

START_UP_GRACE_SECONDS = 0.7  # from the signal to the end while still starting
OVERTIME_SECONDS = 1.0  # for lifespan shutdown and threads, after the graceful timeout
LINGER_SECONDS = 0.4  # how long idle connections stay at the end: a request may be on its way
ORPHAN_SECONDS = 2.0  # for open requests, when the supervisor is gone
ORPHAN_OVERTIME_SECONDS = 0.5
CANCELLED_SECONDS = 0.2  # for what is cut: its ``finally`` blocks
TICK_SECONDS = 0.02
LAST_WORDS_SECONDS = 0.5
WORD_SECONDS = 2.0  # for the supervisor, to start a successor or to say that everybody leaves


def limit_exit() -> None:
    """Have the deadline of a worker's end count for what the project does at exit, too.

    To be called before the project is imported. It takes the timer away at the very end of all that: then the
    interpreter takes the handler away, and the signal would kill.
    """
    if hasattr(signal, "setitimer"):
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)


def _say_and_flush(level: int, text: str) -> None:
    logger.log(level, "%s", text)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it, or it is closed
            stream.flush()


class Worker(uvicorn.Server):
    """Serves until a signal comes, which lets open requests finish. A second one ends the process at once.

    Not so under a supervisor: a signal to all processes of a group or a service comes beside the one that it sends.

    ``on_ready`` is called when it serves, ``cleanup`` before the process is ended the hard way, ``warm_up`` between the
    lifespan's start and the first connection. ``tie`` binds it to a supervisor, if there is one; ``balance`` is the
    table of all workers' connections then. ``is_last``: nobody goes on with the sockets when this worker stops.
    """

    config: Config

    def __init__(
        self,
        config: Config,
        *,
        on_ready: Callable[[], None],
        cleanup: Callable[[], None],
        warm_up: Callable[["Worker"], Awaitable[None]] | None = None,
        drain_delay_seconds: float = 0,
        tie: Tie | None = None,
        balance: Balance | None = None,
        is_last: bool = True,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._cleanup = cleanup
        self._warm_up = warm_up
        self._drain_delay_seconds = drain_delay_seconds
        self._graceful_seconds = float(config.timeout_graceful_shutdown or 0)
        self._tie = tie
        self._balance = balance
        self._starting: asyncio.Task[None] | None = None
        self._failed = False
        self._is_last = is_last and tie is None  # the supervisor says later which ones are
        self._leaves_at: float | None = None
        self._leaves_unasked_at: float | None = None

    def serve_until_stopped(self, sockets: list[socket.socket]) -> ExitStatus:
        uvicorn_logger = logging.getLogger("uvicorn.error")
        uvicorn_logger.addFilter(self._is_worth_a_line)
        try:
            with self.capture_signals():  # uvicorn does so when its coroutine runs; one that never does is warned of
                self.run(sockets)
        finally:
            uvicorn_logger.removeFilter(self._is_worth_a_line)
        return ExitStatus.TEMPORARY if self._failed else ExitStatus.STOPPED

    def _is_worth_a_line(self, record: logging.LogRecord) -> bool:
        """Not the traceback of each request that is cut at the end, nor what the supervisor says of each worker."""
        is_cut = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
        is_said_twice = self._tie is not None and record.levelno == logging.INFO
        return not ((is_cut and self.should_exit) or is_said_twice)

    # ------------------------------------------------------------------ start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a signal ends it, and a failing lifespan isn't confused with a broken project."""
        shutdown.reset()
        self._starting = task = asyncio.current_task()
        assert task is not None
        if self._tie:
            self._tie.watch(self._on_orphaned)
        if self.should_exit:  # a signal came before there was anything to cancel
            return
        try:
            await self._start(sockets or [])
        except asyncio.CancelledError:
            if not self.should_exit:
                raise
            task.uncancel()
        finally:
            self._starting = None
        if self.started:
            self._on_ready()

    async def _start(self, sockets: list[socket.socket]) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:  # uvicorn has logged why
            self._failed = self.should_exit = True
            return
        try:
            if self._warm_up:
                await self._warm_up(self)
            self._start_listening(sockets)
        except ASGIDeployError as error:
            logger.error("%s", error)
            self._failed = self.should_exit = True
            await self.lifespan.shutdown()
            return
        self.started = True

    def _start_listening(self, sockets: list[socket.socket]) -> None:
        connections = self.server_state.connections
        self._listening = Listening(self.config, self._make_protocol, sockets, connections, self._balance)
        self._listening.start()

    def _make_protocol(self) -> asyncio.Protocol:
        make = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[call-arg]

    # ------------------------------------------------------------------ signals

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal isn't raised again at the end: being asked to stop is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        signals = (signal.SIGTERM,) if self._tie else HANDLED_SIGNALS  # Ctrl-C is the supervisor's
        before = {sig: signal.signal(sig, self.handle_exit) for sig in signals}
        try:
            yield
        finally:
            if not self.should_exit:
                for sig, handler in before.items():
                    signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            if self._tie is None:
                self._leave(logging.WARNING, "Stopped at once by a second signal.")
            return
        self.should_exit = True
        if self.started:
            self._leave_within(self._drain_delay_seconds + self._graceful_seconds + OVERTIME_SECONDS)
        else:
            self._leave_within(START_UP_GRACE_SECONDS)
            if self._starting is not None:
                self._starting.get_loop().call_soon_threadsafe(self._cancel_startup)

    def _cancel_startup(self) -> None:
        if self._starting is not None:  # it may have come to its end meanwhile
            self._starting.cancel()

    def _on_orphaned(self) -> None:
        """The supervisor is gone: nobody will start a successor that could wait for us."""
        logger.error("The supervisor is gone; worker %d leaves.", os.getpid())
        self.should_exit = self._is_last = True
        self._drain_delay_seconds = 0
        self._graceful_seconds = min(self._graceful_seconds, ORPHAN_SECONDS)
        self._leave_within(self._graceful_seconds + ORPHAN_OVERTIME_SECONDS)
        self._cancel_startup()

    def _leave_within(self, seconds: float) -> None:
        """The last resort against code that neither returns nor can be cancelled: threads, blocked loops."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._time_is_up)
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _time_is_up(self, sig: int, frame: FrameType | None) -> None:
        self._leave(logging.ERROR, "Code that is still running after the deadline is abandoned.")

    def _leave(self, level: int, why: str) -> None:
        """End without waiting for threads, which the interpreter's own way out would join."""
        self._cleanup()
        # In a thread of its own: whoever is interrupted here, or hangs, may hold a lock that it takes to write a line.
        last_words = threading.Thread(target=_say_and_flush, args=(level, why), daemon=True)
        last_words.start()
        last_words.join(LAST_WORDS_SECONDS)
        os._exit(ExitStatus.TEMPORARY if self._failed else ExitStatus.STOPPED)

    # ------------------------------------------------------------------ while it serves, and its end

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second; beats for the supervisor, and goes on through the drain delay."""
        over = await super().on_tick(counter)
        self._beat()
        return over and self._drain_delay_is_over()

    def _beat(self, *, is_last: bool = False) -> None:
        if self._tie:
            state = self.server_state
            self._tie.beat(state.total_requests, len(state.connections), is_last=is_last)

    def _drain_delay_is_over(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._leaves_at is None:
            self._ask_whether_last()
            if not self._may_leave(now):
                return False
            if self._leaves_unasked_at is not None:  # the time that it has waited for an answer doesn't count
                self._leave_within(self._drain_delay_seconds + self._graceful_seconds + OVERTIME_SECONDS)
            self._leaves_at = now
            if self._is_last:  # a worker that is replaced has no traffic to send elsewhere
                shutdown.announce()
                self._leaves_at += self._drain_delay_seconds
        return now >= self._leaves_at or self._drain_delay_seconds == 0

    def _may_leave(self, now: float) -> bool:
        """Whether the supervisor knows, who has a successor serve first, or else tells who is the last."""
        if self._tie is None or self._is_last or self._tie.may_leave:
            return True
        if self._leaves_unasked_at is None:
            self._leaves_unasked_at = now + WORD_SECONDS
            self._leave_within(WORD_SECONDS + self._graceful_seconds + OVERTIME_SECONDS)
            self._tie.ask_to_leave()
        return now >= self._leaves_unasked_at

    def _ask_whether_last(self) -> None:
        if self._tie is not None and self._tie.is_last:  # to ask may show that the supervisor is gone
            self._is_last = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """In the place of uvicorn's, which resets what is on its way on kept-alive connections."""
        if self._leaves_at is None:  # the signal came as it began to serve, and uvicorn has left the main loop out
            await self.main_loop()
        logging.getLogger("uvicorn.error").info("Shutting down")
        shutdown.begin()
        closing = asyncio.create_task(self._stop_listening())
        await self._drain(closing)
        await closing
        self._beat(is_last=True)  # how many requests it has answered in all
        await self.lifespan.shutdown()

    async def _stop_listening(self) -> None:
        if self._tie is None:  # otherwise it is the supervisor whom systemd hears
            systemd.notify(STOPPING=1)
        self._ask_whether_last()  # again: everybody may have been asked to leave meanwhile
        await self._listening.close(is_last=self._is_last)

    async def _drain(self, closing: asyncio.Task[None]) -> None:
        """Let everything accepted until ``closing`` is done be answered, and close each connection behind that."""
        loop = asyncio.get_running_loop()
        connections, tasks = self.server_state.connections, self.server_state.tasks
        deadline = loop.time() + self._graceful_seconds
        # A worker that is replaced keeps idle connections until their own timeout, which proxies are used to.
        linger_until = loop.time() + (LINGER_SECONDS if self._is_last else self.config.timeout_keep_alive)
        while connections or tasks or not closing.done():
            if loop.time() >= deadline:
                await self._cut()
                return
            lingers = loop.time() < linger_until
            for connection in list(connections):
                _close(connection, if_idle=not lingers)
            await asyncio.sleep(TICK_SECONDS)

    async def _cut(self) -> None:
        connections, tasks = self.server_state.connections, self.server_state.tasks
        if tasks:
            logger.error("Cancel %d running task(s), timeout graceful shutdown exceeded", len(tasks))
            for task in tasks:
                task.cancel()
            await asyncio.wait(list(tasks), timeout=CANCELLED_SECONDS)
        for connection in list(connections):
            if connection.transport.get_write_buffer_size():
                logger.info("%s - cut: The client hasn't read what was sent.", client_of(connection))
            connection.transport.abort()


def _close(connection: Any, *, if_idle: bool) -> None:
    """A connection that fails to close costs no other one its answer."""
    try:
        private.close_after_last_request(connection)
        if if_idle:
            private.close_if_idle(connection)
    except Exception:
        logger.exception("%s - cut: It couldn't be closed.", client_of(connection))
        connection.transport.abort()
