"""Notices clients that leave, as early as Django does, but without a task for a request that never waits."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

TICK_SECONDS = 0.05

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# From 3.12 on a task can run at once up to where it waits, which saves a turn of the event loop.
_AT_ONCE: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Watch:
    """One request, watched by a task of its own from the first time that it waits for anything."""

    __slots__ = ("active", "disconnected", "error", "listening", "receive", "stopped", "task", "watcher")

    def __init__(self, watcher: "Watcher", receive: Receive, task: "asyncio.Task[Any]") -> None:
        self.watcher = watcher
        self.receive = receive
        self.task = task
        self.active = True  # a disconnect matters
        self.disconnected = False
        self.error: BaseException | None = None
        self.listening: asyncio.Task[None] | None = None
        self.stopped = False

    def begin(self) -> None:
        self.listening = asyncio.Task(self.listen(), loop=self.watcher.loop, **_AT_ONCE)

    async def listen(self) -> None:
        try:
            message = await self.receive()
            kind = message["type"]
            if kind != "http.disconnect":  # as in Django's handler, which says: "This should never happen."
                raise AssertionError(f"Invalid ASGI message after request body: {kind}")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error
        if self.active:
            self.active = False
            self.disconnected = True
            self.task.cancel()

    def stop(self) -> None:
        """From here on a disconnect is nobody's business."""
        if self.stopped:
            return
        self.stopped = True
        self.active = False
        self.watcher.requests -= 1
        if self.listening is not None:
            self.listening.cancel()
            self.listening = None

    def is_own_cancellation(self) -> bool:
        """Whether the CancelledError just caught is ours; it then counts as handled."""
        return self.disconnected and self.task.uncancel() == 0


class Watcher:
    """The requests of one event loop. As long as there are any, ``tick`` is called now and then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> None:
        self.loop = loop
        self.tick = tick
        self.ticking = False
        self.requests = 0
        self.new: list[Watch] = []  # of this turn of the loop: most have ended before the next

    def watch(self, receive: Receive) -> Watch:
        task = asyncio.current_task()
        assert task is not None
        self.requests += 1
        if not self.ticking:
            self.ticking = True
            self.loop.call_later(TICK_SECONDS, self.on_tick)
        watch = Watch(self, receive, task)
        if not self.new:
            self.loop.call_soon(self.begin)
        self.new.append(watch)
        return watch

    def begin(self) -> None:
        new, self.new = self.new, []
        for watch in new:
            if not watch.stopped:
                watch.begin()

    def on_tick(self) -> None:
        self.tick()
        self.ticking = self.requests > 0
        if self.ticking:
            self.loop.call_later(TICK_SECONDS, self.on_tick)
