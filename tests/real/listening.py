"""Programs that can't say which port they took: they get a free one, and another if it was taken meanwhile."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.utils import DEADLINE_SECONDS, Server, run_server, until

ATTEMPTS = 3


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def listening(
    command: Callable[[list[int]], Sequence[str]], count: int, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[list[int]]:
    """The ports on which the program listens that ``command`` starts with them."""
    with listening_server(command, count, folder, environment) as (_, ports):
        yield ports


@contextmanager
def listening_server(
    command: Callable[[list[int]], Sequence[str]], count: int, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[tuple[Server, list[int]]]:
    """The same, with the program itself."""
    for attempt in range(1, ATTEMPTS + 1):
        ports = free_ports(count)
        with run_server(command(ports), folder, environment) as server:
            if _is_up(server, ports):
                yield server, ports
                return
        assert attempt < ATTEMPTS, server.output


def _is_up(server: Server, ports: list[int]) -> bool:
    def settled() -> bool:
        return server.process.poll() is not None or all(map(_accepts, ports))

    until(settled, 2 * DEADLINE_SECONDS)
    return server.process.poll() is None


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
