"""Everything private of uvicorn that we touch; tests/server/test_private.py drives each on the versions allowed.

uvicorn's HTTP protocols close a kept-alive connection at once when the server stops: a request that is on its way is
reset, and those that wait behind the one being answered are dropped. Here the last response says ``Connection: close``.
It is decided when that response starts, which is when uvicorn adds its default headers to it.
"""

import copy
import select
import ssl
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Headers = list[tuple[bytes, bytes]]

CLOSE = (b"connection", b"close")


def close_after_last_request(connection: Any) -> None:
    """Have a connection answer what was sent on it, and close behind the last answer; a WebSocket is closed (1012)."""
    if not (isinstance(connection, HttpToolsProtocol) or _is_h11(connection)):
        close_if_idle(connection)
        return
    if isinstance(connection.server_state, _LeavingState):
        return  # it has been told
    newest = connection.cycle
    if newest is not None and not newest.response_started:
        newest.default_headers = _ClosingHeaders(newest.default_headers, connection)
    connection.server_state = _LeavingState(connection)  # what later requests look at


def close_if_idle(connection: Any) -> None:
    """Close a connection on which nothing is under way; it ends when its client has read what was written.

    Only once: the WebSocket protocols raise when they are to close a second time.
    """
    if not is_busy(connection) and not connection.transport.is_closing():
        connection.shutdown()


def is_busy(connection: Any) -> bool:
    """Whether something is being received or answered; of a WebSocket, whether its handshake isn't over."""
    if isinstance(connection, HttpToolsProtocol):
        has_begun = connection.scope is not None and "method" not in connection.scope
        return has_begun or _is_answering(connection) or _is_readable(connection)
    if _is_h11(connection):
        has_begun = bool(connection.conn.trailing_data[0])
        return has_begun or _is_answering(connection) or _is_readable(connection)
    if hasattr(connection, "handshake_completed_event"):
        return not connection.handshake_completed_event.is_set()
    return not getattr(connection, "handshake_complete", True)


def _is_h11(connection: Any) -> bool:
    module = sys.modules.get("uvicorn.protocols.http.h11_impl")  # imported only where it is used
    return module is not None and isinstance(connection, module.H11Protocol)


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


# ------------------------------------------------------------------ what a connection waits for
# A *cycle* is uvicorn's word for a request and its response; a protocol's ``cycle`` is the request that came last.


def is_answered(protocol: Any) -> bool:
    """Whether no request waits for the end of its response."""
    return protocol.cycle is None or protocol.cycle.response_complete


def is_body_missing(protocol: Any) -> bool:
    """Whether the last request's body hasn't come whole; uvicorn doesn't look at what comes after the response."""
    return protocol.cycle is not None and protocol.cycle.more_body


def is_body_waited_for(protocol: Any) -> bool:
    """Whether the application can go on only when the client sends: it has room, and has said so if asked to."""
    cycle = protocol.cycle
    return not (cycle.response_started or cycle.waiting_for_100_continue or protocol.flow.read_paused)


def give_up_request(protocol: Any) -> bool:
    """The application is told that the client is gone. False if a part of the response has been sent."""
    cycle = protocol.cycle
    cycle.disconnected = True
    cycle.message_event.set()
    return not cycle.response_started


def has_earlier_requests(protocol: Any) -> bool:
    """Whether requests before the last one are being answered; h11 leaves those behind in its buffer."""
    return bool(getattr(protocol, "pipeline", ()))


def forget_queued_request(protocol: Any) -> None:
    """Take the request that came last out of the queue."""
    protocol.pipeline.popleft()


def start_queued_request(protocol: Any) -> bool:
    """Hand the next queued request to the application; False if there is none."""
    if not protocol.pipeline:
        return False
    cycle, app = protocol.pipeline.pop()
    protocol._start_asgi_task(cycle, app)
    return True


def is_midway_httptools(protocol: Any) -> bool:
    """Whether the parser is within a header section or a body, as far as can be seen from outside."""
    scope, cycle = protocol.scope, protocol.cycle
    return scope is None or "method" not in scope or (cycle is not None and cycle.more_body)


def is_in_headers_httptools(protocol: Any) -> bool:
    """Whether a header section has begun and isn't complete: the scope has its method at the end of it."""
    return protocol.scope is not None and "method" not in protocol.scope


def h11_status_hint() -> int:
    """The status that h11 proposes for the error being handled."""
    return int(getattr(sys.exception(), "error_status_hint", 400))


def fresh_ssl_context(config: uvicorn.Config) -> ssl.SSLContext:
    """What a loaded ``config`` would make of its certificate's files now. Raises OSError or ValueError."""

    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    fresh = copy.copy(config)
    fresh.app = nothing  # not the project's: uvicorn calls it to see whether it makes applications
    fresh.loaded = False
    fresh.load()
    assert fresh.ssl is not None
    return fresh.ssl
