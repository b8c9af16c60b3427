"""The kernel's queue at the end, with real sockets: row 3a of the table of faults."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from django_asgi_deploy.server.backlog import is_empty_for_good, refuse_all, refuse_new
from django_asgi_deploy.server.listener import Listener
from tests.server.test_listener import LOOPS, workers
from tests.utils import DEADLINE_SECONDS, until

CLIENTS = 6
ROUNDS = 3

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can close a queue")


def listening(family: int, tmp_path: Path) -> socket.socket:
    sock = socket.socket(family)
    sock.bind({socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}.get(family, str(tmp_path / "s")))
    sock.listen(100)
    sock.settimeout(DEADLINE_SECONDS)
    return sock


def client_of(listener: socket.socket, seconds: float = DEADLINE_SECONDS) -> socket.socket:
    client = socket.socket(listener.family)
    client.settimeout(seconds)
    try:
        client.connect(listener.getsockname())
    except OSError:
        client.close()
        raise
    return client


@pytest.mark.row("3a")
@pytest.mark.chaos
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_closed_queue_gives_what_it_holds_and_takes_no_more(family: int, tmp_path: Path) -> None:
    with listening(family, tmp_path) as listener:
        early = [client_of(listener) for _ in range(3)]
        refuse_new(listener)
        with pytest.raises((TimeoutError, ConnectionRefusedError)):
            client_of(listener, seconds=0.2)
        for client in early:
            connection, _ = listener.accept()
            connection.sendall(b"welcome")
            assert client.recv(100) == b"welcome"
            client.sendall(b"thanks")  # what comes on a connection isn't kept out
            assert connection.recv(100) == b"thanks"
            client.close()
            connection.close()
        listener.settimeout(0)
        with pytest.raises(OSError, match=r"unavailable|Invalid argument"):
            listener.accept()
        listener.settimeout(DEADLINE_SECONDS)
        address = listener.getsockname()
    with socket.socket(family) as late, pytest.raises(ConnectionRefusedError):
        late.connect(address)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_one_of_those_that_share_a_socket_can_end_it_for_all(family: int, tmp_path: Path) -> None:
    """The other one may be stuck; another instance can have the address meanwhile."""
    with listening(family, tmp_path) as listener, listener.dup() as stuck:
        assert not is_empty_for_good(stuck)
        refuse_all(listener)
        with pytest.raises(ConnectionRefusedError):
            client_of(stuck)
        assert is_empty_for_good(stuck)
        stuck.settimeout(0)
        with pytest.raises(OSError, match=r"unavailable|Invalid argument"):
            stuck.accept()


class Counting(Listener):
    looks = 0

    def _accept(self, sock: socket.socket) -> bool:
        self.looks += 1
        return super()._accept(sock)


@pytest.mark.parametrize("beside", [[], [socket.AF_INET]])
def test_a_unix_socket_that_is_closed_to_new_ones_keeps_nobody_busy(tmp_path: Path, beside: list[int]) -> None:
    """It is readable all the time then."""

    async def close() -> int:
        sockets = [listening(family, tmp_path) for family in (socket.AF_UNIX, *beside)]
        listener = Counting(asyncio.Protocol, sockets, lambda: 0)
        listener.start()
        await listener.close()
        return listener.looks

    assert asyncio.run(close()) <= 4


def test_a_unix_socket_that_another_worker_has_closed_to_new_ones_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of this one is a moment away: it has yet to hear of it, or is busy."""

    async def share() -> None:
        sock = listening(socket.AF_UNIX, tmp_path)
        listener = Counting(asyncio.Protocol, [sock], lambda: 0)
        listener.start()
        with sock.dup() as of_another:
            refuse_new(of_another)
        await asyncio.sleep(0.3)  # nothing is to happen in this time
        assert listener.looks == 1
        await listener.close()

    asyncio.run(share())
    assert caplog.messages == []


@pytest.mark.row("3a")
@pytest.mark.chaos
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("loop", LOOPS)
def test_of_clients_that_connect_without_a_pause_none_is_reset_when_the_workers_end(loop: str, number: int) -> None:
    results: list[str] = []
    for _ in range(ROUNDS):
        with workers(loop, number) as few:
            threads = [
                threading.Thread(target=_connect_until_refused, args=(few.port, results)) for _ in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            enough = len(results) + 100
            until(lambda: len(results) >= enough)  # noqa: B023 - called at once
            for pid in few.pids:
                os.kill(pid, signal.SIGTERM)
            for thread in threads:
                thread.join(DEADLINE_SECONDS)
    counts = Counter(results)
    assert set(counts) == {"ok", "refused"}, counts
    assert counts["refused"] == ROUNDS * CLIENTS


def _connect_until_refused(port: int, results: list[str]) -> None:
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
                result = "ok" if client.recv(100) else "eof"
        except ConnectionRefusedError:
            result = "refused"
        except OSError as error:
            result = type(error).__name__
        results.append(result)
        if result == "refused":
            return
