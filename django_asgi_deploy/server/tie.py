"""What binds a worker to its supervisor: it beats from the event loop, and sees when the supervisor is gone."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from django_asgi_deploy.server.channel import Channel

BEAT_SECONDS = 0.5

# Debuggers that run beside the program, by the module that they leave in it.
DEBUGGERS = ("pydevd", "debugpy")


class Tie:
    """One per worker. Beats are messages that a loop sends while it turns, and only then."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._next_beat = 0.0
        self._on_orphaned: Callable[[], None] | None = None
        self._is_last = False
        self._may_leave = False
        self._is_orphaned = False
        self._hook = sys.breakpointhook
        sys.breakpointhook = self._breakpoint

    def ready(self) -> None:
        self._channel.send(ready=True, pid=os.getpid())  # before the fork between us has said the pid, perhaps

    def watch(self, on_orphaned: Callable[[], None]) -> None:
        """Call ``on_orphaned`` when the supervisor is gone."""
        self._on_orphaned = on_orphaned
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._read)

    def beat(self, requests: int, connections: int, *, is_last: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_beat or is_last:
            self._next_beat = now + BEAT_SECONDS
            debugger = next((name for name in DEBUGGERS if name in sys.modules), None)
            self._channel.send(beat=requests, connections=connections, debugger=debugger)

    def ask_to_leave(self) -> None:
        """Somebody else than the supervisor has sent the signal to end."""
        self._channel.send(asks_to_leave=True)

    @property
    def may_leave(self) -> bool:
        """Whether the supervisor wants this worker to end; it says so before it sends the signal."""
        self._read()
        return self._may_leave

    @property
    def is_last(self) -> bool:
        """Whether all workers were asked to stop; the supervisor says so before it sends the signal."""
        self._read()
        return self._is_last

    def _read(self) -> None:
        if self._is_orphaned:
            return
        try:
            for message, _ in self._channel.receive():
                self._is_last = self._is_last or "everybody_leaves" in message
                self._may_leave = self._may_leave or "leave" in message
        except EOFError:
            self._is_orphaned = True
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            if self._on_orphaned:
                self._on_orphaned()

    def _breakpoint(self, *arguments: Any, **options: Any) -> Any:
        """The loop stands still while somebody types: no reason to kill the worker."""
        self._channel.send(debugger=f"breakpoint() in pid {os.getpid()}")
        return self._hook(*arguments, **options)
