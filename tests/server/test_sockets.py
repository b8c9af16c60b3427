"""The listening sockets, opened for real."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from django_asgi_deploy.addresses import InheritedAddress, TCPAddress, UnixAddress, parse_address
from django_asgi_deploy.exceptions import AddressError
from django_asgi_deploy.server.sockets import MOST_SOCKETS, Sockets
from tests.chaos.load import Load
from tests.server.contest import contest
from tests.utils import DEADLINE_SECONDS, URLS, Site, run_server, until


def accepted(listener: socket.socket) -> socket.socket:
    """A connection that ``listener`` took."""
    listener.listen()
    address = listener.getsockname()
    client = socket.socket(listener.family)
    thread = threading.Thread(target=client.connect, args=(address,))
    thread.start()
    connection, _ = listener.accept()
    thread.join()
    client.close()
    return connection


@pytest.mark.parametrize("address", [TCPAddress("127.0.0.1", 0), TCPAddress("::1", 0)])
def test_connections_of_our_own_sockets_have_no_delay(address: TCPAddress) -> None:
    with Sockets([address]) as sockets, accepted(sockets.sockets[0]) as connection:
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_connections_of_an_inherited_socket_have_no_delay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made, Sockets([InheritedAddress(os.dup(made.fileno()))]) as sockets:
        adopted = sockets.sockets[0]
        assert (adopted.family, adopted.proto) == (socket.AF_INET, socket.IPPROTO_TCP)
        assert not adopted.get_inheritable()
        with accepted(adopted) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_kernel_tells_the_family_of_an_inherited_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with Sockets([InheritedAddress(os.dup(made.fileno()))]) as sockets:
            assert sockets.sockets[0].family == socket.AF_UNIX


def test_a_datagram_socket_is_refused_and_left_open() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        with pytest.raises(AddressError, match="not a stream socket"):
            Sockets([InheritedAddress(made.fileno())])
        made.getsockname()


def test_all_addresses_of_a_name_share_one_port_even_a_free_one() -> None:
    with Sockets([TCPAddress("localhost", 0)]) as sockets:
        assert len({sock.getsockname()[1] for sock in sockets.sockets}) == 1


def test_the_ipv6_wildcard_takes_ipv4_too() -> None:
    with Sockets([TCPAddress("::", 0)]) as sockets:
        sockets.sockets[0].listen()
        socket.create_connection(("127.0.0.1", sockets.sockets[0].getsockname()[1])).close()


def test_both_wildcards_can_be_bound_on_one_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Sockets([TCPAddress("::", port), TCPAddress("0.0.0.0", port)]) as sockets:
        assert len(sockets.sockets) == 2


def test_a_failure_closes_and_unlinks_what_was_opened_before_it(tmp_path: Path) -> None:
    with pytest.raises(AddressError):
        Sockets([UnixAddress(str(tmp_path / "first")), UnixAddress(str(tmp_path / "no" / "second"))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_kept", [True, False], ids=["another inode", "perhaps the same inode"])
def test_closing_leaves_a_socket_that_somebody_else_has_put_in_its_place(tmp_path: Path, is_kept: bool) -> None:
    """As the next instance does while this one drains; file systems such as ext4 use the number of the file again."""
    path, clock = tmp_path / "s", tmp_path / "clock"
    clock.touch()  # now, so that it doesn't get the number
    sockets = Sockets([UnixAddress(str(path))])
    made_at = path.stat().st_mtime_ns
    if is_kept:
        path.rename(tmp_path / "kept")
    else:
        for sock in sockets.sockets:
            sock.close()  # or the number stays in use
        path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        until(lambda: _is_later(clock, made_at))
        other.bind(str(path))
        sockets.close()
        assert path.exists()


def _is_later(file: Path, moment: int) -> bool:
    """Whether the clock of the file system, which ticks every few milliseconds, has gone on."""
    file.touch()
    return file.stat().st_mtime_ns > moment


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8000", "[::1]:8000", "localhost:8000", "unix:/run/x.sock", "fd://3", "systemd:"]
)
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text


def test_a_port_alone_is_on_loopback() -> None:
    assert parse_address("8000") == TCPAddress("127.0.0.1", 8000)


@pytest.mark.parametrize(("query", "mode"), [("", 0o666), ("?mode=660", 0o660), ("?mode=0600", 0o600)])
def test_a_unix_socket_gets_the_mode_that_its_address_says(tmp_path: Path, query: str, mode: int) -> None:
    with Sockets([parse_address(f"unix:{tmp_path}/s{query}")]):
        assert (tmp_path / "s").stat().st_mode & 0o777 == mode


def test_a_mode_is_written_as_it_is_read() -> None:
    assert str(parse_address("unix:/run/x.sock?mode=660")) == "unix:/run/x.sock?mode=660"


@pytest.mark.parametrize("query", ["?", "?mode=", "?mode=9", "?mode=999", "?mode=rw", "?perms=660"])
def test_a_mode_that_is_none_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"expected a mode in octal.*\?mode=660"):
        parse_address(f"unix:/run/x.sock{query}")


# ------------------------------------------------------------------ a port in use

LISTEN = """
import os, signal, socket, sys
sock = socket.create_server(("127.0.0.1", 0))
if "leader" in sys.argv and os.fork():
    os._exit(0)  # the rest is in a process group without a leader, as a worker is whose supervisor was killed
print(sock.getsockname()[1], flush=True)
signal.sigtimedwait([signal.SIGUSR1], float(sys.argv[1]))
"""


@contextmanager
def listening(folder: Path, seconds: float, *words: str) -> Iterator[int]:
    """The port of another process that has ``words`` in its command line and listens for so long."""
    script = folder / "listen.py"
    script.write_text(LISTEN)
    command = [sys.executable, str(script), str(seconds), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.row("6")
def test_a_port_of_another_program_is_refused_at_once(tmp_path: Path) -> None:
    with listening(tmp_path, 60) as port:
        began = time.monotonic()
        with pytest.raises(AddressError, match=rf"127.0.0.1:{port} is in use by pid \d+ \(.*\)\. Stop that") as caught:
            Sockets([TCPAddress("127.0.0.1", port)])
        assert time.monotonic() - began < 5
        assert caught.value.status == 1


@pytest.mark.row("6")
def test_a_port_of_a_running_instance_is_refused(tmp_path: Path) -> None:
    with listening(tmp_path, 60, "runasgi") as port, pytest.raises(AddressError, match=r"in use by pid \d+ \("):
        Sockets([TCPAddress("127.0.0.1", port)])


@pytest.mark.row("9")
@pytest.mark.parametrize(("seconds", "words"), [(0.5, ["runasgi"]), (3, ["runasgi", "leader"])])
def test_a_port_of_an_instance_that_leaves_is_waited_for(tmp_path: Path, seconds: float, words: list[str]) -> None:
    with listening(tmp_path, seconds, *words) as port, Sockets([TCPAddress("127.0.0.1", port)]) as sockets:
        assert sockets.sockets[0].getsockname()[1] == port


def test_of_two_that_bound_the_second_to_listen_is_told(site: Site) -> None:
    """Each may bind while none listens; the project takes its time to load."""
    site.append("mysite/asgi", "print('loading', flush=True)\nimport sys\nsys.stdin.readline()\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "runasgi", str(port)]
    reading, writing = os.pipe()
    try:
        with run_server(command, site.folder, stdin=reading) as server:
            server.wait_for("loading")
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(("127.0.0.1", port))
                other.listen()
                os.write(writing, b"go\n")
                assert server.wait() == 1
            it = rf"127.0.0.1:{port}: another program began to listen there meanwhile: pid {os.getpid()} \("
            assert re.search(it, server.output)
            assert "Traceback" not in server.output
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.row("6")
@pytest.mark.parametrize("arguments", [["--supervisor", "off"], ["--workers", "2"]], ids=" ".join)
def test_a_unix_socket_of_an_instance_that_is_still_loading_is_refused(site: Site, arguments: list[str]) -> None:
    """Nobody listens on it yet, so connecting alone can't tell it from a stale one."""
    site.append("mysite/asgi", "import sys\nprint('loading', flush=True)\nsys.stdin.readline()\n")
    path = site.folder / "asgi.sock"
    command = [sys.executable, "manage.py", "runasgi", "--bind", "unix:asgi.sock", *arguments]
    reading, writing = os.pipe()
    try:
        with run_server(command, site.folder, stdin=reading) as server:
            server.wait_for("loading")
            second = site.run("--bind", f"unix:{path}", *arguments)
            assert second.returncode == 1
            it = r"asgi.sock is in use by pid (\d+) \(\S+ manage.py runasgi .*\)\. Stop that, or choose"
            owner = re.search(it, second.stderr)
            assert owner, second.stderr
            assert os.getpgid(int(owner[1])) == server.process.pid
            os.write(writing, b"go\n")
            server.wait_for("^Serving unix:asgi.sock")
            assert b"Hello" in get_over_unix(path)
            assert server.stop() == 0
            assert not path.exists()
    finally:
        os.close(reading)
        os.close(writing)


def get_over_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_SECONDS)
        client.connect(str(path))
        return ask(client)


def ask(client: socket.socket, path: str = "/") -> bytes:
    client.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    return b"".join(iter(lambda: client.recv(65536), b""))


ROUNDS = 100

# Takes one stale socket after the other, each at a moment that is the same in all processes.
TAKES = """
import sys, time
from django_asgi_deploy.addresses import UnixAddress
from django_asgi_deploy.exceptions import ASGIDeployError
from django_asgi_deploy.server.sockets import Sockets

taken = []
print("ready", flush=True)
for number, begin in enumerate(sys.stdin):
    while time.monotonic() < float(begin):
        pass
    try:
        taken.append(Sockets([UnixAddress(f"{number}.sock")]))
    except ASGIDeployError as error:
        print(error.status, error, flush=True)
    else:
        print("taken", flush=True)
"""


@pytest.mark.chaos
@pytest.mark.row("6")
def test_of_three_that_find_a_stale_unix_socket_at_the_same_moment_one_gets_it(tmp_path: Path) -> None:
    """Whoever comes second must not remove the socket that the first has just made in its place."""
    for number in range(ROUNDS):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(tmp_path / f"{number}.sock"))
    with contest(tmp_path, "-c", TAKES) as three:
        for number in range(ROUNDS):
            three.begin(time.monotonic() + 0.01)
            said = three.said()
            (owner,) = [pid for pid, line in said.items() if line == "taken\n"]
            refused = [line for line in said.values() if line != "taken\n"]
            assert all(f"1 unix:{number}.sock is in use by pid {owner} " in line for line in refused), refused


# ------------------------------------------------------------------ sharing a port


def test_a_port_is_shared_only_if_it_is_asked_for() -> None:
    with Sockets([TCPAddress("127.0.0.1", 0)]) as sockets:
        (alone,) = sockets.sockets
        assert alone.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        alone.listen()
        with pytest.raises(AddressError, match=r"which doesn't share it: it was started without REUSE_PORT"):
            Sockets([TCPAddress(*alone.getsockname())], reuse_port=True)
    with Sockets([TCPAddress("127.0.0.1", 0)], reuse_port=True) as first:
        address = TCPAddress(*first.sockets[0].getsockname())
        with Sockets([address], reuse_port=True) as second:
            for sock in (*first.sockets, *second.sockets):
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
                sock.listen()
            with pytest.raises(AddressError, match=r"in use by pid \d+"):
                Sockets([address])


@pytest.mark.chaos
def test_a_release_takes_the_port_over_from_another_without_a_loss(site: Site) -> None:
    """Both have it for a while, as they were told to; then the first one is stopped, under load."""
    site.write("mysite/urls", WHO)
    with site.serve("--workers", "2", ASGI_DEPLOY_REUSE_PORT="on") as blue, Load(blue.port) as load:
        load.wait_for_more(100)
        with site.serve("--bind", f"127.0.0.1:{blue.port}", "--reuse-port", "on", RELEASE="green") as green:
            green.wait_for("^Serving")
            load.wait_for(lambda outcomes: {each.body for each in outcomes[-200:]} == {"blue", "green"})
            assert blue.stop() == 0
            load.wait_for(lambda outcomes: {each.body for each in outcomes[-50:]} == {"green"})
            load.stop()
            assert green.stop() == 0
    assert load.lost == [], load.summary()


WHO = """
    import os
    from django.http import HttpResponse
    from django.urls import path

    def who(request):
        text = os.environ.get("RELEASE", "blue")
        return HttpResponse(text, headers={"Content-Length": len(text)})

    urlpatterns = [path("who", who)]
"""


# ------------------------------------------------------------------ several, under workers


def test_workers_share_sockets_of_every_kind_and_so_do_those_of_a_new_version(site: Site) -> None:
    """IPv4 twice, IPv6, a unix socket and an inherited one."""
    site.write("mysite/urls", URLS.replace("Hello", "Version 1"))
    addresses = ["127.0.0.1:0", "[::1]:0", f"unix:{site.folder}/s"]
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        binds = [word for each in [*addresses, f"fd://{inherited.fileno()}"] for word in ("--bind", each)]
        command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0", "--workers", "2", *binds]
        fresh = {"PYTHONDONTWRITEBYTECODE": "1"}  # both versions may be of one second
        with run_server(command, site.folder, fresh, pass_fds=[inherited.fileno()]) as server:
            server.wait_for("^Serving unix:")
            until(lambda: sum(line.startswith("Serving ") for line in server.lines) == 5)
            serving = [line.removeprefix("Serving ") for line in server.lines if line.startswith("Serving ")]
            assert f"http://127.0.0.1:{inherited.getsockname()[1]}" in serving
            assert all(b"Version 1" in get(url) for url in serving)
            site.write("mysite/urls", URLS.replace("Hello", "Version 2"))
            server.process.send_signal(signal.SIGHUP)
            until(lambda: all(b"Version 2" in get(url) for url in serving))
            assert server.stop() == 0
        assert "Traceback" not in server.output


def get(url: str) -> bytes:
    """The answer at an address as the Serving line has it."""
    if url.startswith("unix:"):
        return get_over_unix(Path(url.removeprefix("unix:")))
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), DEADLINE_SECONDS) as client:
        return ask(client)


def test_workers_share_as_many_sockets_as_one_message_can_carry_and_one_more_is_refused(site: Site) -> None:
    def command(sockets: int) -> list[str]:
        binds = [word for number in range(sockets) for word in ("--bind", f"unix:{site.folder}/{number}")]
        return [sys.executable, "manage.py", "runasgi", "--workers", "2", *binds]

    with run_server(command(MOST_SOCKETS), site.folder) as server:
        server.wait_for("Serving")
        for number in (0, MOST_SOCKETS - 1):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(DEADLINE_SECONDS)
                client.connect(f"{site.folder}/{number}")
                client.sendall(b"GET /hello/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 ")
        assert server.stop() == 0
        assert "Traceback" not in server.output
    with run_server(command(MOST_SOCKETS + 1), site.folder) as server:
        assert server.wait() == 1
        assert f"BIND opens {MOST_SOCKETS + 1} sockets; workers can share {MOST_SOCKETS} at most" in server.output
        assert not list(site.folder.glob("[0-9]*"))
