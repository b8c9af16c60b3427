"""One serving process: uvicorn's server, with an end that is certain and has a status."""

import asyncio
import atexit
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from django_asgi_deploy.exceptions import ExitStatus

logger = logging.getLogger("django_asgi_deploy.server")

START_UP_GRACE_SECONDS = 0.7  # from the signal to the end while still starting
OVERTIME_SECONDS = 1.0  # for lifespan shutdown and threads, after the graceful timeout


class Worker(uvicorn.Server):
    """Serves until a signal comes. The first lets open requests finish, the second ends the process at once.

    ``on_ready`` is called when it serves, ``cleanup`` before the process is ended the hard way.
    """

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], cleanup: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._cleanup = cleanup
        self._starting: asyncio.Task[None] | None = None
        self._failed = False

    def serve_until_stopped(self, sockets: list[socket.socket]) -> ExitStatus:
        uvicorn_logger = logging.getLogger("uvicorn.error")
        uvicorn_logger.addFilter(self._is_worth_a_line)
        try:
            self.run(sockets)
        finally:
            uvicorn_logger.removeFilter(self._is_worth_a_line)
        return ExitStatus.TEMPORARY if self._failed else ExitStatus.STOPPED

    def _is_worth_a_line(self, record: logging.LogRecord) -> bool:
        """Not the traceback of each request that is cut at the end: uvicorn has said how many."""
        is_cut = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not (is_cut and self.should_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but a signal ends it, and a failing lifespan isn't confused with a broken project."""
        self._starting = task = asyncio.current_task()
        assert task is not None
        if self.should_exit:  # a signal came before there was anything to cancel
            return
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn has logged why
            self._failed = self.should_exit = True
        except asyncio.CancelledError:
            if not self.should_exit:
                raise
            task.uncancel()
        finally:
            self._starting = None
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal isn't raised again at the end: being asked to stop is no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in HANDLED_SIGNALS}
        try:
            yield
        finally:
            if not self.should_exit:
                for sig, handler in before.items():
                    signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            logger.warning("Stopped at once by a second signal.")
            self._leave()
        self.should_exit = True
        if self._starting is None:
            self._leave_within((self.config.timeout_graceful_shutdown or 0) + OVERTIME_SECONDS)
        else:
            self._leave_within(START_UP_GRACE_SECONDS)
            self._starting.get_loop().call_soon_threadsafe(self._cancel_startup)

    def _cancel_startup(self) -> None:
        if self._starting is not None:  # it may have come to its end meanwhile
            self._starting.cancel()

    def _leave_within(self, seconds: float) -> None:
        """The last resort against code that neither returns nor can be cancelled: threads, blocked loops."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._time_is_up)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            # After this the interpreter takes the handler away, and the signal would kill.
            atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def _time_is_up(self, sig: int, frame: FrameType | None) -> None:
        logger.error("Code that is still running after the deadline is abandoned.")
        self._leave()

    def _leave(self) -> None:
        """End without waiting for threads, which the interpreter's own way out would join."""
        self._cleanup()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitStatus.TEMPORARY if self._failed else ExitStatus.STOPPED)
