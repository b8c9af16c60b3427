"""
Notices clients that leave.

Only one task may wait for the server's next message, and a task costs more than most requests are worth. So a request
gets its task when it has lasted for a moment; one timer per event loop looks after all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

TICK_SECONDS = 0.05

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Watch:
    """One request being watched, by whoever runs it."""

    __slots__ = ("active", "disconnected", "error", "old", "receive", "stopped", "task", "task_watching", "watcher")

    def __init__(self, watcher: "Watcher", receive: Receive, task: "asyncio.Task[Any]") -> None:
        self.watcher = watcher
        self.receive = receive
        self.task = task
        self.active = True
        self.stopped = False
        self.old = False  # it has been seen by the timer
        self.disconnected = False
        self.error: BaseException | None = None
        self.task_watching: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.task_watching = self.watcher.loop.create_task(self.listen())

    async def listen(self) -> None:
        try:
            message = await self.receive()
            # As in Django's handler: "This should never happen."
            kind = message["type"]
            if kind != "http.disconnect":
                raise AssertionError(f"Invalid ASGI message after request body: {kind}")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error
        if self.active:
            self.active = False
            self.disconnected = True
            self.task.cancel()

    async def stop(self) -> None:
        """From here on a disconnect is nobody's business."""
        if self.stopped:
            return
        self.active, self.stopped = False, True
        self.watcher.forget(self)
        listening = self.task_watching
        if listening is not None:
            self.task_watching = None
            if not listening.done():
                listening.cancel()
                # Until it has ended it may still take a message from the server.
                await asyncio.wait([listening])

    def is_own_cancellation(self) -> bool:
        """Whether the CancelledError just caught is ours; it then counts as handled."""
        return self.disconnected and self.task.uncancel() == 0


class Watcher:
    """All watches of one event loop, and their timer, which runs as long as there is a request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_seconds: float, tick: Callable[[], None]) -> None:
        self.loop = loop
        self.delay_seconds = delay_seconds  # 0: each request gets its task at once
        self.tick = tick
        self.ticking = False
        self.requests = 0
        self.waiting: dict[Watch, None] = {}  # without a task yet, in the order of arrival

    def watch(self, receive: Receive) -> Watch:
        task = asyncio.current_task()
        assert task is not None
        watch = Watch(self, receive, task)
        self.requests += 1
        if self.delay_seconds:
            self.waiting[watch] = None
        else:
            watch.begin()
        if not self.ticking:
            self.ticking = True
            self.schedule()
        return watch

    def forget(self, watch: Watch) -> None:
        self.requests -= 1
        self.waiting.pop(watch, None)

    def schedule(self) -> None:
        self.loop.call_later(self.delay_seconds or TICK_SECONDS, self.look)

    def look(self) -> None:
        """Requests seen for the second time get a task; those seen for the first time wait for the next look."""
        for watch in [watch for watch in self.waiting if watch.old]:
            del self.waiting[watch]
            watch.begin()
        for watch in self.waiting:
            watch.old = True
        self.tick()
        self.ticking = self.requests > 0
        if self.ticking:
            self.schedule()
