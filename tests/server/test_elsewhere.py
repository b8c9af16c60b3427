"""Systems other than Linux, as far as one can be had on Linux: a Python that lacks what Python lacks there.

One worker serves everywhere; what can't be had is refused with a message that says what can.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.utils import Server, Site, run_to_end

SYSTEMS = ["darwin", "win32"]

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(sys.platform != "linux", reason="takes away from a Python on Linux"),
]


def elsewhere(system: str) -> dict[str, str]:
    folders = [str(Path(__file__).with_name("elsewhere")), os.environ.get("PYTHONPATH", "")]
    return {"ELSEWHERE": system, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_worker_serves_and_ends_in_peace(site: Site, system: str) -> None:
    with site.serve(**elsewhere(system)) as server:
        server.wait_for("one worker, pid")
        assert b"Hello" in server.get()
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 0
        assert_calm(server)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_open_is_answered_at_the_end(site: Site, system: str) -> None:
    site.write(
        "mysite/urls",
        """
        import time
        from django.http import HttpResponse
        from django.urls import path

        def slow(request):
            print("began", flush=True)
            time.sleep(0.5)
            return HttpResponse("done")

        urlpatterns = [path("", slow)]
        """,
    )
    with site.serve(**elsewhere(system)) as server, server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait_for("began")
        server.process.send_signal(signal.SIGINT)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
        assert b"done" in received
        assert server.wait() == 0
        assert_calm(server)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "WORKERS (--workers): the supervisor needs Linux. On this system, one worker"),
        (["--supervisor", "on"], "SUPERVISOR (--supervisor): the supervisor needs Linux."),
        (["--max-requests", "100"], "MAX_REQUESTS (--max-requests): the supervisor needs Linux."),
        (["--reuse-port", "on"], "REUSE_PORT (--reuse-port): needs Linux; elsewhere, the system doesn't divide"),
    ],
)
def test_what_needs_the_supervisor_is_refused(site: Site, system: str, arguments: list[str], message: str) -> None:
    result = site.run("127.0.0.1:0", *arguments, **elsewhere(system))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bind", "unix:mysite.sock"], "Python has no unix sockets on this system; expected a port, or host:port"),
        (["--reload"], "--reload hands sockets to a child process, which needs Linux or macOS; here, use runserver."),
        (["--pid-file", "mysite.pid"], "PID_FILE (--pid-file): "),
    ],
)
def test_on_windows_more_is_refused(site: Site, arguments: list[str], message: str) -> None:
    result = site.run(*arguments, **elsewhere("win32"))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_number_of_workers_that_a_platform_sets_is_ignored_and_that_is_said(site: Site, system: str) -> None:
    with site.serve(WEB_CONCURRENCY="4", **elsewhere(system)) as server:
        server.wait_for("WEB_CONCURRENCY=4 is ignored: more than one worker needs Linux.")
        assert b"Hello" in server.get()


@pytest.mark.parametrize("system", SYSTEMS)
def test_workers_auto_is_one_worker(site: Site, system: str) -> None:
    with site.serve("--workers", "auto", **elsewhere(system)) as server:
        server.wait_for(r"; one worker \(more need Linux\), pid \d+$")
        assert b"Hello" in server.get()


def test_on_macos_a_unix_socket_and_a_pid_file_work(site: Site) -> None:
    arguments = ("--bind", "unix:mysite.sock", "--pid-file", "mysite.pid")
    with site.serve(*arguments, **elsewhere("darwin")) as server:
        server.wait_for("^Serving unix:mysite.sock")
        assert (site.folder / "mysite.pid").read_text() == f"{server.process.pid}\n"
        assert server.stop() == 0
        assert_calm(server)
    assert not (site.folder / "mysite.sock").exists()
    assert not (site.folder / "mysite.pid").exists()


def assert_calm(server: Server) -> None:
    assert "Traceback" not in server.output
    assert "Error" not in server.output


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize(
    "command", [["checkasgi"], ["makeasgi", "asgi"], ["runasgi", "--print-config"], ["check", "--deploy"]]
)
def test_the_other_commands_work(site: Site, system: str, command: list[str]) -> None:
    result = run_to_end([sys.executable, "manage.py", *command], site.folder, elsewhere(system))
    assert result.returncode in (0, 1), result.stderr  # 1: there are findings
    assert "Traceback" not in result.stderr
    assert result.stdout or result.stderr
