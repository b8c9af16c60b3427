"""An answer to a client that did wrong, and the end of its connection, so that it gets the answer."""

import asyncio
from http import HTTPStatus
from typing import Any

LINGER_SECONDS = 2.0
LINGER_BYTES = 8 * 1024 * 1024


def response(status: int, text: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The bytes of an error response that closes the connection; ``headers`` are added to it."""
    body = text.encode()
    lines = [
        b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode()),
        *(b"%b: %b" % header for header in headers),
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])


class Linger(asyncio.Protocol):
    """Takes the place of a protocol whose client was refused: what still comes is read and thrown away for a moment.

    Closing with unread data resets the connection, and a client that is busy sending would lose the answer
    (RFC 9112, section 9.6).
    """

    def __init__(self, refused: Any) -> None:
        self.transport: asyncio.Transport = refused.transport
        self._refused = refused
        self._bytes = LINGER_BYTES
        self._connections: set[Any] = refused.connections
        self._connections.discard(refused)
        self._connections.add(self)
        self.transport.set_protocol(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if not self.transport.is_reading() and not self.transport.is_closing():
            self.transport.resume_reading()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self._bytes -= len(data)
        if self._bytes < 0:
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._connections.discard(self)
        self._refused.connection_lost(error)

    def shutdown(self) -> None:
        """As uvicorn's protocols have it: the server stops."""
        self.transport.close()
