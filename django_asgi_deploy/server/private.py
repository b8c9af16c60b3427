"""Everything private of uvicorn that we touch; tests/server/test_private.py drives each on the versions allowed.

uvicorn's HTTP protocols close a kept-alive connection at once when the server stops: a request that is on its way is
reset, and those that wait behind the one being answered are dropped. Here the last response says ``Connection: close``.
It is decided when that response starts, which is when uvicorn adds its default headers to it.
"""

import select
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")


def close_after_last_request(connection: Any) -> None:
    """Have a connection answer what was sent on it, and close behind the last answer; a WebSocket is closed (1012)."""
    if not isinstance(connection, (HttpToolsProtocol, H11Protocol)):
        if not is_busy(connection):
            connection.shutdown()
        return
    if isinstance(connection.server_state, _LeavingState):
        return  # it has been told
    newest = connection.cycle
    if newest is not None and not newest.response_started:
        newest.default_headers = _ClosingHeaders(newest.default_headers, connection)
    connection.server_state = _LeavingState(connection)  # type: ignore[assignment] # what later requests look at


def is_busy(connection: Any) -> bool:
    """Whether something is being received or answered; of a WebSocket, whether its handshake isn't over."""
    if isinstance(connection, HttpToolsProtocol):
        has_begun = connection.scope is not None and "method" not in connection.scope
        return has_begun or _is_answering(connection) or _is_readable(connection)
    if isinstance(connection, H11Protocol):
        has_begun = bool(connection.conn.trailing_data[0])
        return has_begun or _is_answering(connection) or _is_readable(connection)
    if hasattr(connection, "handshake_completed_event"):
        return not connection.handshake_completed_event.is_set()
    return not getattr(connection, "handshake_complete", True)


def _is_answering(connection: Any) -> bool:
    return connection.cycle is not None and not connection.cycle.response_complete


def _has_more(connection: Any) -> bool:
    """Whether requests wait behind the one whose response starts now: parsed, buffered, or still with the kernel."""
    if isinstance(connection, HttpToolsProtocol):
        waits = bool(connection.pipeline)
    else:
        waits = not connection.cycle.more_body and bool(connection.conn.trailing_data[0])
    return waits or _is_readable(connection)


def _is_readable(connection: Any) -> bool:
    """Whether the kernel has something that the loop hasn't read yet: closing would reset it."""
    sock = connection.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return False
    if not hasattr(select, "poll"):  # Windows, where select() takes any socket
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


class _ClosingHeaders(Headers):
    """Default headers that, when a response starts with them, hold ``Connection: close`` if it is the last one."""

    def __init__(self, headers: Headers, connection: Any) -> None:
        super().__init__(headers)
        self.connection = connection

    def __add__(self, others: Headers) -> Headers:  # type: ignore[override]
        return [*self, *others] if _has_more(self.connection) else [*self, CLOSE, *others]


class _LeavingState:
    """A connection's view of the server's state, from when it is to close."""

    def __init__(self, connection: Any) -> None:
        self._state = connection.server_state
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    @property
    def default_headers(self) -> Headers:
        return _ClosingHeaders(self._state.default_headers, self._connection)

    @property
    def total_requests(self) -> int:
        return int(self._state.total_requests)

    @total_requests.setter
    def total_requests(self, number: int) -> None:
        self._state.total_requests = number
