"""One system call for all that is written to a connection in one turn of the event loop.

uvicorn writes a response's head and its body one by one, and each write is sent at once: two system calls, the first of
which wakes the client for half an answer. Here what is written waits for the end of the turn. The connections that have
something to send then send it one after the other, which also finds a busy client, such as a proxy, awake.
"""

import asyncio
from typing import Any, cast

import uvicorn

AT_ONCE_BYTES = 64 * 1024  # more than this isn't kept: the transport must see it, to say when it is too much


class Turn:
    """The connections that have something to send at the end of this turn of one event loop."""

    __slots__ = ("loop", "transports")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transports: list[BatchedTransport] = []

    def add(self, transport: "BatchedTransport") -> None:
        if not self.transports:
            self.loop.call_soon(self.end)
        self.transports.append(transport)

    def end(self) -> None:
        transports, self.transports = self.transports, []
        for transport in transports:
            transport.flush()


class BatchedTransport:
    """An asyncio.Transport that sends what was written at the end of the turn, or at once when it is much."""

    def __init__(self, transport: asyncio.Transport, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._parts: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._turn.add(self)
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size > AT_ONCE_BYTES:
            self.flush()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def flush(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():  # the client may have left since
                self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return self._size + self._transport.get_write_buffer_size()

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._parts.clear()
        self._size = 0
        self._transport.abort()


def batch_writes(config: uvicorn.Config) -> None:
    """Have the HTTP protocol of a loaded ``config`` write in batches, and the WebSockets that come of it."""
    turns: dict[asyncio.AbstractEventLoop, Turn] = {}

    class Batching(config.http_protocol_class):  # type: ignore[name-defined,misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            turn = turns.get(self.loop)
            if turn is None:
                turn = turns[self.loop] = Turn(self.loop)
            super().connection_made(cast(asyncio.Transport, BatchedTransport(transport, turn)))

    Batching.__name__ = Batching.__qualname__ = config.http_protocol_class.__name__
    Batching.__module__ = config.http_protocol_class.__module__
    config.http_protocol_class = Batching
