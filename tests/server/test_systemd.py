"""systemd's protocols, against real sockets: NOTIFY_SOCKET, and descriptors that are passed."""

import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from django_asgi_deploy.server import systemd
from tests.programs import require_program
from tests.utils import DEADLINE_SECONDS, URLS, Server, Site, run_server, until


@pytest.fixture(params=["file", "abstract"])
def listening(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The other end of NOTIFY_SOCKET, as systemd would have it."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@asgi-deploy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0"))
        sock.settimeout(DEADLINE_SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield sock


def test_fields_are_sent_in_one_datagram(listening: socket.socket) -> None:
    assert systemd.notify(READY=1, STATUS="2 workers serve\nsince now", MAINPID=123) is True
    assert listening.recv(1000) == b"READY=1\nSTATUS=2 workers serve since now\nMAINPID=123"


def test_reloading_comes_with_the_time(listening: socket.socket) -> None:
    systemd.notify(RELOADING=1)
    match = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", listening.recv(1000))
    assert match
    assert int(match[1]) > 0


def test_a_systemd_that_does_not_read_holds_nobody_up(listening: socket.socket) -> None:
    def beat_until_it_is_full() -> None:
        while systemd.notify(WATCHDOG=1):
            pass
        results.append(systemd.notify(STATUS="in vain"))

    results: list[bool] = []
    thread = threading.Thread(target=beat_until_it_is_full, daemon=True)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    assert results == [False]


@pytest.mark.parametrize("address", [None, "", "relative", "/does/not/exist"])
def test_where_nobody_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert systemd.notify(READY=1) is False


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("30000000", "mine", 30.0), ("30000000", "", 30.0), ("30000000", "1", None), ("0", "", None), ("", "", None)],
)
def test_the_watchdog_is_told_in_seconds(
    usec: str, pid: str, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)
    assert systemd.watchdog_seconds() == expected


def test_passed_descriptors_have_their_names() -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "http:admin"}
    assert systemd.passed_descriptors(environ) == [(3, "http"), (4, "admin"), (5, "unknown")]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "LISTEN_FDS isn't set"),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "0"}, "LISTEN_FDS isn't set"),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "LISTEN_PID is 1, and this is process"),
        ({"LISTEN_FDS": "1"}, "LISTEN_PID is not set"),
    ],
)
def test_what_was_passed_to_another_process_is_not_ours(environ: dict[str, str], reason: str) -> None:
    assert not systemd.is_activated(environ)
    with pytest.raises(systemd.NotActivatedError, match=reason):
        systemd.passed_descriptors(environ)


# ------------------------------------------------------------------ a served site


def test_it_says_when_it_serves_that_it_is_alive_and_when_it_stops(site: Site, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(DEADLINE_SECONDS)
        with site.serve(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000") as server:
            heard = [told.recv(1000).decode() for _ in range(5)]
            pid = server.process.pid
            assert sorted(set(heard)) == [f"READY=1\nSTATUS=One worker serves, pid {pid}.", "WATCHDOG=1"]
            server.process.send_signal(signal.SIGTERM)
            while told.recv(1000) != b"STOPPING=1":
                pass
            assert server.wait() == 0


@contextmanager
def activated(site: Site, listeners: list[socket.socket], *arguments: str, **environment: str) -> Iterator[Server]:
    """runasgi as systemd would start it, with ``listeners`` as descriptors 3 and on."""
    command = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", sys.executable, "manage.py", "runasgi", *arguments]
    first = 50  # out of the way of what dup2 writes over
    for number, sock in enumerate(listeners):
        os.dup2(sock.fileno(), first + number)

    def place() -> None:
        for number in range(len(listeners)):
            os.dup2(first + number, 3 + number)

    environment = {"LISTEN_FDS": str(len(listeners)), **environment}
    try:
        with run_server(
            command, site.folder, environment, preexec_fn=place, pass_fds=range(3, 3 + len(listeners))
        ) as server:
            yield server
    finally:
        for number in range(len(listeners)):
            os.close(first + number)


def ask(sock: socket.socket) -> bytes:
    with sock:
        sock.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_sockets_of_systemd_are_served_when_no_address_is_given(site: Site, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as client,
    ):
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        with activated(site, [tcp, unix]) as server:
            server.wait_for("listening on the sockets that systemd opened")
            server.wait_for(f"Serving http://127.0.0.1:{tcp.getsockname()[1]}")
            server.wait_for(f"unix:{tmp_path}/s")
            assert b"Hello" in ask(socket.create_connection(tcp.getsockname(), DEADLINE_SECONDS))
            client.connect(str(tmp_path / "s"))
            assert b"Hello" in ask(client)
            assert server.stop() == 0
        assert (tmp_path / "s").exists()  # it is systemd's, and stays


def test_a_new_version_serves_the_sockets_of_systemd_as_well(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, activated(site, [tcp], "--workers", "2") as server:
        server.wait_for("^Serving")
        site.write("mysite/urls", URLS.replace("Hello", "Goodbye"))
        server.process.send_signal(signal.SIGHUP)
        until(lambda: b"Goodbye" in ask(socket.create_connection(tcp.getsockname(), DEADLINE_SECONDS)))
        assert "BIND has changed" not in server.output
        assert server.stop() == 0


@pytest.mark.row("3a")
@pytest.mark.chaos
@pytest.mark.parametrize("arguments", [["--supervisor", "off"], ["--workers", "2"]])
def test_between_two_instances_connections_wait_in_the_queue_of_systemd(site: Site, arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as tcp:
        with activated(site, [tcp], *arguments) as server:
            server.wait_for("^Serving")
            assert server.stop() == 0
        waiting = [socket.create_connection(tcp.getsockname(), DEADLINE_SECONDS) for _ in range(10)]
        with activated(site, [tcp], *arguments) as server:
            assert all(b"Hello" in ask(client) for client in waiting)
            assert server.stop() == 0


def test_a_socket_of_systemd_can_be_asked_for_by_name(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        with activated(site, [first, second], "systemd:second", LISTEN_FDNAMES="first:second") as server:
            server.wait_for(f"Serving http://127.0.0.1:{second.getsockname()[1]}")
            assert f"127.0.0.1:{first.getsockname()[1]}" not in server.output
        with activated(site, [first, second], "systemd:third", LISTEN_FDNAMES="first:second") as server:
            assert server.wait() == 2
            assert "no socket of that name; FileDescriptorName= says: first, second" in server.output


def test_without_a_socket_unit_it_says_what_is_missing(site: Site) -> None:
    result = site.run("systemd:")
    assert result.returncode == 2
    assert "systemd:: systemd has passed no sockets (LISTEN_FDS isn't set)" in result.stderr


def test_an_address_that_is_given_counts_more_and_it_says_so(site: Site) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as unused,
        activated(site, [unused], "127.0.0.1:0") as server,
    ):
        server.wait_for("The sockets of systemd are not used: BIND is given by")
        assert b"Hello" in server.get()


@pytest.mark.real
def test_systemd_socket_activate_starts_it_at_the_first_connection(site: Site) -> None:
    program = require_program("systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "-l", f"127.0.0.1:{port}", sys.executable, "manage.py", "runasgi"]
    with run_server(command, site.folder) as server:
        server.wait_for("Listening on")
        answer = ask(socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS))
        assert b"Hello" in answer
        assert server.stop(signal.SIGTERM) == 0
