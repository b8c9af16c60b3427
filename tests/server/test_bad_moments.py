"""What comes at the wrong moment: signals while something starts or ends, and ends that are held up."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.load import Load
from tests.chaos.service import Running, Service, children, is_alive, open_request, read_until, until
from tests.utils import DEADLINE_SECONDS, clean_environment, duration


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


WAITS = """
    import pathlib, time
    print("loading\\n", end="", flush=True)
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
"""
# The process between the one that forks and the worker takes its time, so that nobody knows the worker's pid yet.
FORKS_SLOWLY = """
    import os, pathlib, time
    FORKS = os.getpid()

    def slowly():
        if os.getpid() != FORKS and pathlib.Path("slow").exists():
            print("forking\\n", end="", flush=True)
            time.sleep(2)

    os.register_at_fork(before=slowly)
"""


def test_a_sighup_while_the_first_version_is_loaded_is_not_forgotten(service: Service) -> None:
    service.append("mysite/asgi", WAITS)
    with service.running() as running:
        running.server.wait_for("^loading")
        service.write("mysite/version", "VERSION = 2\n")
        running.signal(signal.SIGHUP)
        (service.folder / "go").touch()
        running.wait_for_workers(4)
        until(lambda: running.server.get("/who").endswith(b" 2"), lambda: running.server.output)
        assert running.stop() == 0


def test_a_storm_of_sighups_while_it_starts_ends_with_the_newest_code(service: Service) -> None:
    with service.running() as running:
        running.server.wait_for("^django-asgi-deploy ")
        for version in range(2, 12):
            service.write("mysite/version", f"VERSION = {version}\n")
            running.signal(signal.SIGHUP)
        until(lambda: _is_settled(running), lambda: running.server.output)
        assert running.server.get("/who").endswith(b" 11")
        assert running.stop() == 0


def _is_settled(running: Running) -> bool:
    """Whether one process has loaded the project, and two serve."""
    alive = [pid for pid in running.started if is_alive(pid)]
    return len(alive) == 2 and len(children(running.supervisor)) == 3 and running.server.get("/who").endswith(b" 11")


def _fork_slowly(running: Running, service: Service) -> None:
    """Returns while the first worker of another version is being forked."""
    running.wait_until_ready()
    running.server.wait_for("asgi.401")
    until(lambda: len(children(running.supervisor)) == 2)  # whoever looked for findings has been forked, and is gone
    (service.folder / "slow").touch()
    running.signal(signal.SIGHUP)
    running.server.wait_for("^forking")


def test_a_worker_of_a_version_that_was_given_up_while_it_was_forked_never_serves(service: Service) -> None:
    service.append("mysite/settings", FORKS_SLOWLY)
    with service.running("--supervisor", "on", workers=1) as running:
        _fork_slowly(running, service)
        service.write("mysite/version", "VERSION = 3\n")
        running.signal(signal.SIGHUP)
        newest = running.wait_for_workers(2)[-1]
        until(lambda: newest in children(running.supervisor) and len(children(running.supervisor)) == 2)
        assert running.server.get("/who").endswith(f"{newest} 3".encode())
        assert running.stop() == 0


def test_a_worker_that_is_forked_while_everybody_leaves_leaves_too(service: Service) -> None:
    service.append("mysite/settings", FORKS_SLOWLY)
    with service.running("--supervisor", "on", workers=1) as running:
        _fork_slowly(running, service)
        assert running.stop() == 0


def test_a_sigterm_in_the_midst_of_a_roll_loses_nothing_that_was_accepted(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        with Load(running.server.port, each=2) as load:
            load.wait_for_more(30)
            running.signal(signal.SIGHUP)
            running.wait_for_workers(3)
            running.signal(signal.SIGTERM)
            assert running.server.wait() == 0
            load.wait_for(lambda outcomes: outcomes[-1].result == "refused")
        assert {result for _, result in load.summary()} == {"ok", "refused"}, load.summary()
        assert not any(map(is_alive, running.started))


@pytest.mark.parametrize("supervisor", ["on", "auto"])
def test_what_the_project_does_at_exit_does_not_hold_up_the_end(service: Service, supervisor: str) -> None:
    service.append("mysite/asgi", "import atexit, time\natexit.register(time.sleep, 60)\n")
    with service.running("--supervisor", supervisor, "--graceful-timeout-seconds", "1", workers=1) as running:
        running.server.wait_for("^Serving")
        assert b"200 OK" in running.server.get("/who")
        assert duration(running.stop) < 25
        assert running.server.process.returncode == 0
        running.server.wait_for("Code that is still running after the deadline is abandoned")


def test_a_lock_of_a_log_handler_does_not_hold_up_the_end(service: Service) -> None:
    service.append(
        "mysite/urls",
        """
        def hold(request):
            import logging
            logging.getLogger("django_asgi_deploy").handlers[0].acquire()
            print("holding\\n", end="", flush=True)
            time.sleep(60)
        urlpatterns.append(path("hold", hold))
        """,
    )
    with service.running("--graceful-timeout-seconds", "1", workers=1) as running:
        running.server.wait_for("^Serving")
        with open_request(running, "/hold"):
            running.server.wait_for("^holding")
            assert duration(running.stop) < 25
        assert running.server.process.returncode == 0


@pytest.mark.parametrize("preload", ["auto", "off"])
@pytest.mark.parametrize("supervisor", ["on", "auto"])
def test_programs_that_the_project_starts_hold_no_socket_of_the_server(
    service: Service, supervisor: str, preload: str
) -> None:
    """One that goes on would keep the port, and connections would wait there for nobody."""
    service.append(
        "mysite/urls",
        """
        def descriptors(request):
            import subprocess
            return answer(subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, stdout=-1).stdout.decode())
        urlpatterns.append(path("descriptors", descriptors))
        """,
    )
    arguments = ["--supervisor", supervisor] if supervisor == "auto" else ["--supervisor", "on", "--preload", preload]
    with service.running(*arguments, workers=1) as running:
        running.server.wait_for("^Serving")
        held = running.server.get("/descriptors").decode()
        assert "/proc/" in held
        assert "socket:" not in held
        assert "memfd:" not in held


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_goes_on_serving_when_nobody_reads_what_it_prints(service: Service, workers: str) -> None:
    path = str(service.folder / "s")
    command = [sys.executable, "manage.py", "runasgi", f"unix:{path}", "--workers", workers]
    with subprocess.Popen(
        command,
        cwd=service.folder,
        env=clean_environment({"PYTHONUNBUFFERED": ""}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_SECONDS)
            until(lambda: client.connect_ex(path) == 0)
            client.sendall(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in read_until(client, b"200 OK")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
        assert b"BrokenPipeError" not in process.stderr.read()
