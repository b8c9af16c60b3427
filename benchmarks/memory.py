"""What a server holds: threads, memory and database connections, for streams, files, iterators and queries."""

import http.client
import json
import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from errors import BenchmarkError
from load import CONN_MAX_AGE, CONNECTIONS
from postgres import Postgres
from processes import Usage, wait_until
from servers import Conditions, Running, Server, running

MIB = 1024 * 1024
STREAMS = 1000
REQUESTS = 1000
FILE_BYTES_PER_SECOND = 100 * MIB
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 1.0


def measure_memory(server: Server, conditions: Conditions, postgres: Postgres, streams: int) -> dict[str, Any]:
    """Each measurement on a server of its own; one that goes wrong has a "failure" in its place."""
    persistent = conditions.with_max_age(CONN_MAX_AGE)
    measurements: dict[str, Callable[[], dict[str, Any]]] = {
        "streams": lambda: _streams(server, conditions, streams),
        "file": lambda: _file(server, conditions),
        "iterator": lambda: _iterator(server, conditions),
        "sync_connections": lambda: _connections(server, persistent, postgres, "/sync-query/"),
        "async_connections": lambda: _connections(server, persistent, postgres, "/async-query/"),
    }
    return {"server": server.name} | {name: _or_failure(measure) for name, measure in measurements.items()}


def _or_failure(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except (BenchmarkError, OSError) as error:
        return {"failure": str(error) or repr(error)}


@contextmanager
def _warm(server: Server, conditions: Conditions) -> Iterator[tuple[Running, Usage]]:
    """The server after some requests of the usual kind, and what it uses then."""
    with running(server, conditions, "/sync/") as started:
        for path in ("/sync/", "/async/"):
            for _ in range(50):
                started.get(path)
        time.sleep(SETTLE_SECONDS)
        yield started, started.usage()


def _growth(now: Usage, idle: Usage) -> dict[str, Any]:
    return {"threads": now.threads - idle.threads, "mib": round((now.resident_bytes - idle.resident_bytes) / MIB, 1)}


# Open streams


def _streams(server: Server, conditions: Conditions, count: int) -> dict[str, Any]:
    _allow_files(count + 200)
    with _warm(server, conditions) as (started, idle):
        answered, now = _open_and_leave(started, count)
        found = {"streams": count, "answered": answered, "open": _growth(now, idle)}
        first = _settled(started, idle)
        found["closed"] = _growth(first, idle)
        # What stays is Python's to use again, or it is a leak: then a second time takes as much once more.
        _open_and_leave(started, count)
        found["closed_again"] = _growth(_settled(started, idle), first)
        return found | {"tracebacks": started.tracebacks()[:3]}


def _open_and_leave(started: Running, count: int) -> tuple[int, Usage]:
    """How many streams were answered, and what the server used while all were open."""
    sockets = []
    try:
        for _ in range(count):
            sockets.append(_request(started.port, "/events/"))
        answered = _wait_for_data(sockets, b"data:")
        time.sleep(SETTLE_SECONDS)
        return answered, started.usage()
    finally:
        for each in sockets:
            each.close()


def _settled(started: Running, idle: Usage) -> Usage:
    """What the server uses when it has noticed that its clients left."""
    wait_until(lambda: started.usage().threads <= idle.threads, seconds=5)
    time.sleep(SETTLE_SECONDS)
    return started.usage()


def _allow_files(count: int) -> None:
    """The servers inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * count:
        wanted = 2 * count if hard == resource.RLIM_INFINITY else min(2 * count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _request(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return connection


def _wait_for_data(sockets: list[socket.socket], expected: bytes) -> int:
    """How many of them receive what is expected, in time."""
    end = time.monotonic() + PATIENCE_SECONDS
    answered = 0
    received: dict[int, bytes] = {}
    with selectors.DefaultSelector() as selector:
        for each in sockets:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(timeout=1):
                part = key.fileobj.recv(4096)
                received[key.fd] = received.get(key.fd, b"") + part
                if expected in received[key.fd] or not part:
                    answered += bool(part)
                    selector.unregister(key.fileobj)
    return answered


# One large file


def _file(server: Server, conditions: Conditions) -> dict[str, Any]:
    """A client that takes its time: the server may fill memory or wait."""
    with _warm(server, conditions) as (started, idle):
        connection = http.client.HTTPConnection("127.0.0.1", started.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", "/file/")
            response = connection.getresponse()
            time.sleep(SETTLE_SECONDS)
            peak = _growth(started.usage(), idle)
            received = 0
            beginning = time.monotonic()
            while part := response.read(4 * MIB):
                received += len(part)
                growth = _growth(started.usage(), idle)
                peak = {name: max(peak[name], growth[name]) for name in peak}
                ahead = beginning + received / FILE_BYTES_PER_SECOND - time.monotonic()
                time.sleep(max(0.0, ahead))
        finally:
            connection.close()
        if received != int(response.getheader("Content-Length", "0")):
            raise BenchmarkError(f"the file came incomplete: {received} bytes")
        return {"mib_served": received // MIB, "peak": peak, "tracebacks": started.tracebacks()[:3]}


# A response over a synchronous iterator


def _iterator(server: Server, conditions: Conditions) -> dict[str, Any]:
    with _warm(server, conditions) as (started, _):
        first, last = _chunk_seconds(started)
        _leave_at_first_chunk(started)
        left = time.monotonic()
        ended = wait_until(lambda: _state(started)["running"] == 0, seconds=PATIENCE_SECONDS / 4)
        return {
            "first_seconds": round(first, 3),
            "last_seconds": round(last, 3),
            "closed_seconds": round(time.monotonic() - left, 3) if ended else None,
            "made": _state(started)["made"],
            "chunks": _state(started)["chunks"],
            "tracebacks": started.tracebacks()[:3],
        }


def _chunk_seconds(started: Running) -> tuple[float, float]:
    """When the first and the last chunk arrive."""
    chunks = _state(started)["chunks"]
    first = None
    received = b""
    with _request(started.port, "/iterator/") as connection:
        beginning = time.monotonic()
        while b"chunk %d of" % chunks not in received:
            part = connection.recv(65536)
            if not part:
                raise BenchmarkError("the stream ended before its last chunk")
            received += part
            if first is None and b"chunk 1 of" in received:
                first = time.monotonic() - beginning
        last = time.monotonic() - beginning
    return first or last, last


def _leave_at_first_chunk(started: Running) -> None:
    with _request(started.port, "/iterator/") as connection:
        connection.settimeout(0.3)
        with suppress(TimeoutError):  # a server that collects the chunks first has sent nothing yet
            connection.recv(4096)


def _state(started: Running) -> dict[str, Any]:
    return json.loads(started.get("/iterator/state/")[1])


# Database connections


def _connections(server: Server, conditions: Conditions, postgres: Postgres, path: str) -> dict[str, Any]:
    if not wait_until(lambda: postgres.connections() == 0, seconds=10):
        raise BenchmarkError("connections of an earlier server are still open")
    with _warm(server, conditions) as (started, _):
        statuses = _get_many(started.port, path)
        return {
            "requests": len(statuses),
            "failed": sum(status != 200 for status in statuses),
            "connections": postgres.connections(),
            "tracebacks": started.tracebacks()[:3],
        }


def _get_many(port: int, path: str) -> list[int]:
    with ThreadPoolExecutor(CONNECTIONS) as clients:
        share, extra = divmod(REQUESTS, CONNECTIONS)
        counts = [share + (number < extra) for number in range(CONNECTIONS)]
        parts = clients.map(lambda count: _get_in_turn(port, path, count), counts)
        return [status for part in parts for status in part]


def _get_in_turn(port: int, path: str, count: int) -> list[int]:
    """Status codes; 0 where there was no answer."""
    statuses = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    for _ in range(count):
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        except (OSError, http.client.HTTPException):
            connection.close()
            statuses.append(0)
    connection.close()
    return statuses
