"""Sockets, certificates, descriptors and systemd under the supervisor."""

import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.service import TICKETS, Running, Service, is_alive, let_go, open_request, read_until, until
from tests.server.test_listener import cpu_seconds
from tests.server.test_tls import make_pair, served
from tests.utils import DEADLINE_SECONDS, run_server

pytestmark = pytest.mark.chaos

COMMAND = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0", "--workers", "2"]


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


def test_systemd_is_told_ready_when_a_worker_serves_and_not_before(service: Service, tmp_path: Path) -> None:
    service.write("mysite/tickets", TICKETS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(DEADLINE_SECONDS)
        with service.running("--warmup", "mysite.tickets.wait", NOTIFY_SOCKET=str(tmp_path / "notify")) as running:
            for number in (0, 1):
                running.server.wait_for(f"^ticket {number}$")
            assert not select.select([told], [], [], 0)[0]
            let_go(service, 0)
            assert told.recv(1000).startswith(b"READY=1\n")
            assert b"200 OK" in running.server.get("/who")
            assert len(running.started) == 1
            assert running.stop() == 0


@pytest.mark.parametrize("knows_pid", [True, False], ids=["with WATCHDOG_PID", "without"])
def test_the_watchdog_hears_the_supervisor_alone_and_in_time(service: Service, tmp_path: Path, knows_pid: bool) -> None:
    """Even while no worker says anything: one that spoke in its place would hide that it is silent itself."""
    words = 'WATCHDOG_PID=$$ exec "$@"' if knows_pid else 'exec "$@"'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        told.settimeout(DEADLINE_SECONDS)

        def hear() -> tuple[str, int]:
            """What is said, and the pid of who says it."""
            data, [(_, _, credentials)], _, _ = told.recvmsg(1000, 100)
            return data.decode(), struct.unpack("iii", credentials)[0]

        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        with run_server(["sh", "-c", words, "sh", *COMMAND], service.folder, environment) as server:
            running = Running(server, 2)
            while not hear()[0].startswith("READY=1"):
                pass
            workers = running.wait_until_ready()
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                heard = [hear() for _ in range(15)]
                seconds = time.monotonic() - began
            finally:
                for pid in workers:
                    os.kill(pid, signal.SIGCONT)
            assert set(heard) == {("WATCHDOG=1", running.supervisor)}
            assert seconds < 8  # twice as often as it must be is 1.5 s, once a second 15
            assert running.stop() == 0


@pytest.mark.row("7f")
def test_two_workers_that_are_out_of_descriptors_say_so_in_one_line(service: Service) -> None:
    """Calm, also through a reload and with a killed worker; then it recovers."""
    command = [*COMMAND, "--keep-alive-seconds", "600", "--graceful-timeout-seconds", "1"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))  # noqa: E731
    with run_server(command, service.folder, preexec_fn=limit) as server, ExitStack() as stack:
        running = Running(server, 2)
        running.wait_until_ready()
        silent = [stack.enter_context(running.server.connect()) for _ in range(400)]
        running.server.wait_for("New connections wait: Too many open files. The limit is 100")
        until(lambda: all(len(os.listdir(f"/proc/{pid}/fd")) >= 88 for pid in running.started))
        before = {pid: cpu_seconds(pid) for pid in running.started}
        time.sleep(2)  # that is what is measured
        assert all(cpu_seconds(pid) - used < 1 for pid, used in before.items())
        os.kill(running.started[0], signal.SIGKILL)
        running.wait_for_workers(3)
        running.signal(signal.SIGHUP)
        newest = running.wait_for_workers(5)[3:]
        until(lambda: [pid for pid in running.started if is_alive(pid)] == newest, lambda: running.server.output)
        for sock in silent:
            sock.close()
        assert b"200 OK" in running.server.get("/who")
        assert running.server.output.count("Too many open files") == 1, running.server.output
        assert running.stop() == 0
