"""Accepting, with real workers around one socket: rows 7f and 10 of the table of faults, and the end."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from django_asgi_deploy.server.balance import LONGEST_WAIT_SECONDS, Balance
from tests.utils import DEADLINE_SECONDS, Site, clean_environment, run_server

ROOT = Path(__file__).parents[2]
LOOPS = ["asyncio", "uvloop"]


class Workers:
    """The processes of ``accepting.py``."""

    def __init__(self, process: subprocess.Popen[str], number: int) -> None:
        self.process = process
        assert process.stdout
        self.port = int(process.stdout.readline())
        self.pids = [int(process.stdout.readline()) for _ in range(number)]

    def connect(self) -> tuple[socket.socket, int]:
        """A connection, and the pid of the worker that has it."""
        sock = socket.create_connection(("127.0.0.1", self.port), DEADLINE_SECONDS)
        return sock, int(sock.recv(100))

    def block(self, pid: int) -> None:
        """For three seconds; returns when they have begun."""
        os.kill(pid, signal.SIGUSR1)
        assert self.process.stdout
        assert self.process.stdout.readline() == "blocked\n"


@contextmanager
def workers(loop: str, number: int) -> Iterator[Workers]:
    command = [sys.executable, "-m", "tests.server.accepting", loop, str(number)]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield Workers(process, number)
        finally:
            process.terminate()
            process.wait(DEADLINE_SECONDS)


@pytest.mark.row("10")
@pytest.mark.chaos
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("loop", LOOPS)
def test_long_lived_connections_are_shared(loop: str, at_once: bool) -> None:
    """400 on four workers: none has more than 1.5 times the mean."""
    with workers(loop, 4) as four, ExitStack() as stack:
        if at_once:
            clients = [stack.enter_context(socket.socket()) for _ in range(400)]
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", four.port))
            for client in clients:
                client.settimeout(DEADLINE_SECONDS)
            counts = Counter(int(client.recv(100)) for client in clients)
        else:
            counts = Counter()
            for _ in range(400):
                client, pid = four.connect()
                stack.enter_context(client)
                counts[pid] += 1
        assert sum(counts.values()) == 400
        assert max(counts.values()) <= 150, counts


@pytest.mark.row("4")
@pytest.mark.chaos
@pytest.mark.parametrize("loop", LOOPS)
def test_while_one_worker_is_blocked_the_other_takes_every_connection(loop: str) -> None:
    """Though it has more than its share already."""
    with workers(loop, 2) as two, ExitStack() as stack:
        blocked, free = two.pids
        two.block(blocked)
        until = time.monotonic() + 1.5
        pids = []
        while time.monotonic() < until:
            client, pid = two.connect()
            stack.enter_context(client)
            pids.append(pid)
        assert set(pids) == {free}


@pytest.mark.row("3a")
@pytest.mark.chaos
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_the_kernel_has_accepted_is_not_reset_at_the_end(loop: str, number: int) -> None:
    """Connections that wait in the queue of a blocked worker when it is told to stop get their greeting."""
    with workers(loop, number) as few, ExitStack() as stack:
        for pid in few.pids:
            few.block(pid)
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", few.port), DEADLINE_SECONDS)) for _ in range(100)
        ]
        for pid in few.pids:
            os.kill(pid, signal.SIGTERM)
        assert all(client.recv(100).strip().isdigit() for client in clients)
        assert few.process.wait(DEADLINE_SECONDS) == 0
        with pytest.raises(ConnectionRefusedError):
            few.connect()


URLS = """
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        with open(__file__) as file:
            file.read()
        return HttpResponse("Hello")

    urlpatterns = [path("", hello)]
"""


@pytest.mark.row("7f")
@pytest.mark.chaos
@pytest.mark.parametrize("loop", LOOPS)
def test_out_of_descriptors_it_stays_calm_and_recovers(site: Site, loop: str) -> None:
    """200 descriptors, 400 silent connections: one line, an idle processor, and the project can open files."""
    site.write("mysite/urls", URLS)
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0", "--loop", loop, "--keep-alive-seconds", "600"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))  # noqa: E731
    with run_server(command, site.folder, preexec_fn=limit) as server, ExitStack() as stack:
        kept = stack.enter_context(server.connect())
        ask(kept)
        silent = [stack.enter_context(server.connect()) for _ in range(400)]
        server.wait_for("New connections wait: Too many open files. The limit is 200")
        before = cpu_seconds(server.process.pid)
        started = time.monotonic()
        while time.monotonic() < started + 2:
            ask(kept)
            time.sleep(0.1)
        assert cpu_seconds(server.process.pid) - before < 1
        for sock in silent:
            sock.close()
        assert b"Hello" in server.get()
        assert server.output.count("Too many open files") == 1


def ask(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    received = b""
    while b"Hello" not in received:
        chunk = sock.recv(65536)
        assert chunk
        received += chunk


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------ the table of the workers


@pytest.fixture
def two() -> Iterator[tuple[Balance, Balance]]:
    """Two seats in one table, as if they were two processes."""
    first = Balance()
    second = Balance(fd=os.dup(first.fd))
    first._seat, second._seat = 0, 1  # a process has one lock on a row, whoever asks
    yield first, second
    second.close()
    first.close()


def test_who_has_more_than_its_share_waits_the_longer_the_more(two: tuple[Balance, Balance]) -> None:
    first, second = two
    second.write(0)
    waits = [first.wait_seconds(connections) for connections in (0, 8, 10, 20, 1000)]
    assert waits[:2] == [0, 0]
    assert 0 < waits[2] < waits[3] < waits[4] == LONGEST_WAIT_SECONDS
    assert second.wait_seconds(0) == 0


def test_alone_or_beside_one_that_leaves_nobody_waits(two: tuple[Balance, Balance]) -> None:
    first, second = two
    first.write(1000)
    assert first.wait_seconds(1000) == 0
    second.write(0)
    assert first.wait_seconds(1000) > 0
    second.leave()
    assert first.wait_seconds(1000) == 0


def test_a_worker_that_has_not_written_for_a_second_is_not_waited_for(two: tuple[Balance, Balance]) -> None:
    first, second = two
    second.write(0)
    second._table[2] -= 1.1
    assert first.wait_seconds(1000) == 0


def test_a_seat_is_free_again_when_its_process_ends_however_it_ends() -> None:
    with_one_row = Balance(rows=1)
    try:
        ready, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            with_one_row.take_seat()
            os.write(told, b"x")
            signal.pause()
        os.read(ready, 1)
        with_one_row.take_seat()
        with_one_row.write(1000)  # there is none, so nothing is said, and nothing waited for
        assert list(with_one_row._table[:2]) == [0, 0]
        assert with_one_row.wait_seconds(1000) == 0
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with_one_row.take_seat()
        with_one_row.write(7)
        assert with_one_row._table[1] == 7
    finally:
        os.close(ready)
        os.close(told)
        with_one_row.close()
