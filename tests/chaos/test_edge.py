"""Sockets, certificates and systemd under the supervisor."""

import signal
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.service import Running, Service, open_request, read_until, until
from tests.server.test_tls import make_pair, served
from tests.utils import DEADLINE_SECONDS

pytestmark = pytest.mark.chaos


@pytest.mark.row("10")
@pytest.mark.parametrize("preload", ["on", "off"])
def test_400_long_lived_connections_are_shared_by_four_workers(service: Service, preload: str) -> None:
    """None has more than 1.5 times the mean; the same again with the workers of a new version."""
    arguments = ["--keep-alive-seconds", "600", "--preload", preload]
    with service.running(*arguments, workers=4) as running:
        running.wait_until_ready()
        assert max(shares(running).values()) <= 150
        if preload == "on":
            running.signal(signal.SIGHUP)
            second = set(running.wait_for_workers(8)[4:])
            until(lambda: running.server.output.count("has left") >= 4 or None)
            counts = shares(running)
            assert set(counts) == second
            assert max(counts.values()) <= 150, counts


def shares(running: Running) -> Counter[int]:
    with ExitStack() as stack:
        clients = [stack.enter_context(open_request(running, "/who")) for _ in range(400)]
        return Counter(int(read_until(client, b" 1").rpartition(b"\r\n")[2].split()[0]) for client in clients)


def test_each_worker_renews_the_certificate(service: Service, tmp_path: Path) -> None:
    old, new = make_pair(tmp_path), make_pair(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(old))
    with service.running("--ssl-certfile", str(both)) as running:
        running.wait_until_ready()
        assert served(running.server) == old[0]
        both.write_bytes(b"".join(new))
        until(lambda: running.server.output.count("new connections get the new certificate") == 2 or None)
        assert {served(running.server) for _ in range(10)} == {new[0]}


def test_systemd_is_told_of_start_reload_and_stop_by_the_supervisor(service: Service, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(DEADLINE_SECONDS)

        def hear(field: str) -> str:
            while field not in (heard := told.recv(1000).decode()):
                pass
            return heard

        with service.running(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="4000000") as running:
            assert hear("READY=1") == "READY=1\nSTATUS=Version 1 serves."
            hear("WATCHDOG=1")
            running.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hear("RELOADING=1")
            assert hear("READY=1") == "READY=1\nSTATUS=Version 2 serves."
            service.write("mysite/urls", "1 / 0")
            running.signal(signal.SIGHUP)
            hear("RELOADING=1")
            assert hear("READY=1") == "READY=1\nSTATUS=Version 3 failed; version 2 serves."
            running.signal(signal.SIGTERM)
            hear("STOPPING=1")
