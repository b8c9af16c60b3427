"""Who may keep a connection waiting for how long: one look at all connections now and then, no timer per request.

A look costs a request nothing: it reads what the protocol knows anyway. Time is counted in looks, so a blocked event
loop or a stopped process isn't held against the clients, whose data may wait in the kernel meanwhile.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

logger = logging.getLogger("django_asgi_deploy.server")

# Less isn't progress: the rate that Apache's mod_reqtimeout asks for, which slow lines exceed many times over.
BYTES_PER_SECOND = 500

_TCP_INFO_BYTES_ACKED = struct.Struct("=120xQ")  # struct tcp_info in linux/tcp.h


class Wait(Enum):
    """What a connection waits for the client to do."""

    IDLE = "begin a request"
    HEADERS = "finish the header section"
    BODY = "send the body"
    READING = "read the response"


class Waiting(NamedTuple):
    """``about`` changes when it is another wait of the same kind; ``progress`` is a number of bytes that grows."""

    wait: Wait
    about: Hashable
    progress: int = 0


class Connection(Protocol):
    """What a protocol offers."""

    def waiting(self) -> Waiting | None:
        """What the client is waited for, if it is."""

    def time_is_up(self, wait: Wait) -> None:
        """The client took too long."""


@dataclass(slots=True)
class _Clock:
    waiting: Waiting
    looks: int = 0


class Deadlines:
    """Looks at ``connections``, which may come and go; ``seconds`` has the limit for each wait.

    A connection that doesn't offer what Connection does is only looked at for whether its client reads.
    """

    def __init__(self, connections: Collection[Any], seconds: Mapping[Wait, float]) -> None:
        self._connections = connections
        self._interval = min(1.0, min(seconds.values()) / 10)
        self._looks = {wait: limit / self._interval for wait, limit in seconds.items()}
        self._enough = {wait: int(limit * BYTES_PER_SECOND) for wait, limit in seconds.items()}
        self._clocks: dict[Any, _Clock] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._clocks.clear()

    def _tick(self) -> None:
        clocks: dict[Any, _Clock] = {}
        for connection in list(self._connections):
            waiting = _waiting(connection)
            if waiting is None:
                continue
            clock = self._clocks.get(connection)
            if clock is None or self._is_new(waiting, clock.waiting):
                clock = _Clock(waiting)
            clock.looks += 1
            if clock.looks > self._looks[waiting.wait]:
                _time_is_up(connection, waiting.wait)
            else:
                clocks[connection] = clock
        self._clocks = clocks
        self.start()

    def _is_new(self, now: Waiting, before: Waiting) -> bool:
        return (
            now.wait is not before.wait
            or now.about != before.about
            or now.progress - before.progress >= self._enough[now.wait]
        )


def client_of(connection: Any) -> str:
    """The client's address, for log lines."""
    client = getattr(connection, "client", None)
    return f"{client[0]}:{client[1]}" if client else "-"


def _waiting(connection: Any) -> Waiting | None:
    transport: asyncio.Transport = connection.transport
    if unsent := transport.get_write_buffer_size():
        sent = _bytes_acknowledged(transport.get_extra_info("socket"))
        return Waiting(Wait.READING, unsent if sent is None else None, sent or 0)
    if transport.is_closing():
        return None
    return connection.waiting() if hasattr(connection, "waiting") else None


def _bytes_acknowledged(sock: socket.socket) -> int | None:
    """What the client's kernel has confirmed; None where ours doesn't say. What is in our kernel isn't progress."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES_ACKED.size)
        return int(_TCP_INFO_BYTES_ACKED.unpack(info)[0])
    except (AttributeError, OSError, struct.error):  # not Linux; a unix socket; an old kernel
        return None


def _time_is_up(connection: Any, wait: Wait) -> None:
    if wait is Wait.READING:
        logger.info("%s - cut: The client took too long to %s.", client_of(connection), wait.value)
        connection.transport.abort()
    else:
        connection.time_is_up(wait)
