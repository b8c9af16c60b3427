"""What comes at the wrong moment: signals while something starts or ends, and ends that are held up."""

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.load import Load
from tests.chaos.service import (
    TICKETS,
    Running,
    Service,
    children,
    is_alive,
    least_serving,
    let_go,
    open_request,
    read_to_end,
    read_until,
    until,
)
from tests.utils import DEADLINE_SECONDS, clean_environment, duration, run_server

pytestmark = pytest.mark.chaos


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


def test_a_sighup_is_obeyed_while_the_version_before_it_can_not_be_rolled_out(service: Service) -> None:
    """Its first worker serves, and no other one can start, so an old worker has to stay."""
    service.write(
        "mysite/asgi",
        """
        import pathlib
        from django_asgi_deploy.asgi import get_asgi_application
        from mysite.version import VERSION
        django = get_asgi_application("mysite.settings")
        async def application(scope, receive, send):
            if scope["type"] == "lifespan" and VERSION == 2:
                try:
                    pathlib.Path("one").touch(exist_ok=False)
                except FileExistsError:
                    await receive()
                    await send({"type": "lifespan.startup.failed", "message": "there is one already"})
                    return
            await django(scope, receive, send)
        """,
    )
    with service.running() as running:
        old = running.wait_until_ready()
        with Load(running.server.port, each=1) as load:
            service.write("mysite/version", "VERSION = 2\n")
            running.signal(signal.SIGHUP)
            running.server.wait_for("5 workers in a row ended soon after their start")
            service.write("mysite/version", "VERSION = 3\n")
            running.signal(signal.SIGHUP)
            newest = running.wait_for_workers(5)[3:]
            until(lambda: [pid for pid in running.started if is_alive(pid)] == newest, lambda: running.server.output)
            load.wait_for_more(10)
        assert load.lost == [], load.summary()
        assert not any(map(is_alive, old))
        assert running.server.get("/who").endswith(b" 3")
        assert running.stop() == 0


def test_a_sighup_while_the_first_version_is_loaded_is_not_forgotten_if_that_one_fails(service: Service) -> None:
    good = (service.folder / "mysite" / "asgi.py").read_text()
    service.append("mysite/asgi", WAITS + "    import this_is_missing\n")
    with service.running() as running:
        running.server.wait_for("^loading")
        service.write("mysite/asgi", good)
        running.signal(signal.SIGHUP)
        running.server.wait_for("SIGHUP came: the code is loaded once more when the first version serves or has failed")
        (service.folder / "go").touch()
        running.wait_until_ready()
        running.server.wait_for("No module named 'this_is_missing'")
        running.server.wait_for("^django-asgi-deploy ")  # the banner
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0


def test_without_a_process_to_fork_from_the_code_is_tried_again_until_it_loads(service: Service) -> None:
    good = (service.folder / "mysite" / "asgi.py").read_text()
    with service.running() as running:
        victim, other = running.wait_until_ready()
        kill_nursery(running, service)
        running.server.wait_for(
            r"Version 2 doesn't load \(status 3\); the workers of version 1 go on, but none can be started until a "
            r"version is loaded. The next try is in 1 s"
        )
        os.kill(victim, signal.SIGKILL)
        running.server.wait_for(rf"Worker {victim} has left")
        assert running.server.get("/who").endswith(f"{other} 1".encode())
        service.write("mysite/asgi", good)
        newest = running.wait_for_workers(4)[2:]
        until(lambda: [pid for pid in running.started if is_alive(pid)] == newest, lambda: running.server.output)
        until(lambda: len(children(running.supervisor)) == 3, lambda: running.server.output)
        assert running.stop() == 0


def test_when_nobody_serves_and_the_code_does_not_load_it_ends_with_status_1(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        kill_nursery(running, service)
        running.server.wait_for("Version 2 doesn't load")
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert running.server.wait() == 1
        running.server.wait_for(r"Version 6 doesn't load \(status 3\), and nobody serves any more")


def kill_nursery(running: Running, service: Service) -> None:
    """End the process that workers are forked from, with code on the disk that is broken."""
    (nursery,) = until(lambda: len(found := set(children(running.supervisor)) - set(running.started)) == 1 and found)
    service.write("mysite/asgi", "import this_is_missing\n")
    os.kill(nursery, signal.SIGKILL)
    running.server.wait_for(r"The process that workers are forked from has left \(SIGKILL\); a new one is loaded")


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


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_a_sigterm_while_the_event_loop_is_being_made_ends_it_without_a_warning(
    service: Service, supervisor: str
) -> None:
    service.append(
        "mysite/asgi",
        """
        import asyncio, time

        class Slow(asyncio.SelectorEventLoop):
            def __init__(self):
                print("making a loop\\n", end="", flush=True)
                time.sleep(0.3)
                super().__init__()

        asyncio.SelectorEventLoop = Slow
        """,
    )
    with service.running("--loop", "asyncio", "--supervisor", supervisor, workers=1) as running:
        running.server.wait_for("^making a loop")
        assert running.stop() == 0
        assert "never awaited" not in running.server.output
        assert "Traceback" not in running.server.output


def test_a_sigterm_as_a_worker_begins_to_serve_is_a_sigterm_to_one_that_serves(service: Service) -> None:
    """It sends itself one, before uvicorn looks whether one has come."""
    service.append(
        "mysite/asgi",
        """
        import os, pathlib, signal
        from django_asgi_deploy.server.worker import Worker
        startup = Worker.startup

        async def start_and_end(self, sockets):
            await startup(self, sockets)
            try:
                pathlib.Path("once").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGTERM)

        Worker.startup = start_and_end
        """,
    )
    with service.running("--supervisor", "on", workers=1) as running:
        first, _ = running.wait_for_workers(2)
        running.server.wait_for(rf"Worker {first} will be replaced: it was sent SIGTERM")
        running.server.wait_for(rf"Worker {first} has left: it was sent SIGTERM")
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


# ------------------------------------------------------------------ more than one thing at once


def test_a_sigterm_to_all_processes_of_the_group_cuts_nothing(service: Service) -> None:
    """As process managers send it that know nothing of a supervisor: each worker gets two."""
    with service.running() as running:
        running.wait_until_ready()
        with Load(running.server.port, each=2) as load:
            load.wait_for_more(30)
            with open_request(running, "/slow?s=1") as sock:
                running.server.wait_for(r"^slow \d+")
                os.killpg(running.supervisor, signal.SIGTERM)
                assert b"200 OK" in read_to_end(sock)
            assert running.server.wait() == 0
            load.wait_for(lambda outcomes: outcomes[-1].result == "refused")
        assert {result for _, result in load.summary()} == {"ok", "refused"}, load.summary()
        assert "at once by a second signal" not in running.server.output


def test_a_worker_that_somebody_ends_goes_on_until_another_one_serves(service: Service) -> None:
    """And it is no early end, however often it happens."""
    with service.running("--supervisor", "on", workers=1) as running:
        running.wait_until_ready()
        with Load(running.server.port, each=1) as load:
            for number in range(1, 8):
                victim = running.wait_for_workers(number)[-1]
                os.kill(victim, signal.SIGTERM)
                os.kill(victim, signal.SIGTERM)
                running.server.wait_for(rf"Worker {victim} will be replaced: it was sent SIGTERM")
                running.server.wait_for(rf"Worker {victim} has left: it was sent SIGTERM")
        assert load.lost == [], load.summary()
        assert least_serving(running, 1) == 1
        assert "soon after their start" not in running.server.output
        assert running.stop() == 0


def test_workers_that_end_while_a_version_is_loaded_are_replaced_by_the_one_that_serves(service: Service) -> None:
    with service.running() as running:
        first = running.wait_until_ready()
        service.append("mysite/asgi", WAITS)
        service.write("mysite/version", "VERSION = 2\n")
        running.signal(signal.SIGHUP)
        running.server.wait_for("^loading")
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        running.wait_for_workers(4)
        assert running.server.get("/who").endswith(b" 1")
        (service.folder / "go").touch()
        running.wait_for_workers(6)
        until(lambda: sum(map(is_alive, running.started)) == 2, lambda: running.server.output)
        assert running.server.get("/who").endswith(b" 2")
        assert running.stop() == 0


def test_a_version_that_is_being_loaded_takes_the_place_of_a_process_to_fork_from_that_ends(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        (nursery,) = until(lambda: len(found := set(children(running.supervisor)) - set(workers)) == 1 and found)
        service.append("mysite/asgi", WAITS)
        running.signal(signal.SIGHUP)
        running.server.wait_for("^loading")
        os.kill(nursery, signal.SIGKILL)
        running.server.wait_for("The process that workers are forked from has left")
        (service.folder / "go").touch()
        running.wait_for_workers(4)
        assert running.server.output.count("is being loaded") == 1
        assert running.stop() == 0


@pytest.mark.parametrize("preload", ["on", "off"])
def test_an_interpreter_that_is_gone_at_a_reload_leaves_the_service_as_it_is(service: Service, preload: str) -> None:
    """As while a deployment replaces the virtual environment."""
    python = service.folder / "python"
    python.symlink_to(sys.executable)
    command = [str(python), "manage.py", "runasgi", "127.0.0.1:0", "--workers", "2", "--preload", preload]
    with run_server(
        command, service.folder, {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    ) as server:
        running = Running(server, 2)
        workers = running.wait_until_ready()
        python.unlink()
        running.signal(signal.SIGHUP)
        server.wait_for(r"Version 2 can't be started: .*/python: No such file or directory; version 1 goes on serving")
        os.kill(workers[0], signal.SIGKILL)
        if preload == "on":
            running.wait_for_workers(3)
        else:
            server.wait_for(r"A worker can't be started: .*/python: No such file or directory")
        assert b"200 OK" in server.get("/who")
        python.symlink_to(sys.executable)
        service.write("mysite/version", "VERSION = 2\n")
        running.signal(signal.SIGHUP)
        until(lambda: server.output.count("(version 3)") == 2, lambda: server.output)
        until(lambda: server.get("/who").endswith(b" 2"), lambda: server.output)
        assert running.stop() == 0


def test_a_worker_that_somebody_ends_does_not_wait_for_a_version_that_loads_slowly(service: Service) -> None:
    with service.running() as running:
        victim = running.wait_until_ready()[0]
        service.append("mysite/asgi", WAITS)
        running.signal(signal.SIGHUP)
        running.server.wait_for("^loading")
        os.kill(victim, signal.SIGTERM)
        running.server.wait_for(rf"INFO: +Worker {victim} has left: it was sent SIGTERM")
        running.wait_for_workers(3)
        assert running.server.get("/who").endswith(b" 1")
        (service.folder / "go").touch()
        running.wait_for_workers(5)
        assert running.stop() == 0


def test_workers_that_wait_for_the_supervisors_word_see_that_it_is_gone(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        with open_request(running, "/slow?s=1") as sock:
            running.server.wait_for(r"^slow \d+")
            os.kill(running.supervisor, signal.SIGSTOP)
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
            os.kill(running.supervisor, signal.SIGKILL)
            assert b"200 OK" in read_to_end(sock)
        until(lambda: not any(map(is_alive, workers)), lambda: running.server.output)
        running.server.wait()
        assert running.server.output.count("The supervisor is gone; worker") == 2


def test_everything_but_the_supervisor_is_killed_at_once_and_the_service_comes_back(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        os.kill(running.supervisor, signal.SIGSTOP)
        for pid in children(running.supervisor):
            os.kill(pid, signal.SIGKILL)
        os.kill(running.supervisor, signal.SIGCONT)
        newest = running.wait_for_workers(4)[2:]
        until(lambda: set(newest) < set(children(running.supervisor)) and len(children(running.supervisor)) == 3)
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0


def test_no_process_leaves_a_channel_or_a_socket_open_at_its_end(service: Service) -> None:
    """Python says so in its development mode."""
    with service.running(PYTHONDEVMODE="1") as running:
        workers = running.wait_until_ready()
        running.signal(signal.SIGHUP)
        running.wait_for_workers(4)
        until(lambda: not any(map(is_alive, workers)), lambda: running.server.output)
        assert running.stop() == 0
        assert "ResourceWarning" not in running.server.output


# ------------------------------------------------------------------ another number in the midst of a roll


@pytest.mark.parametrize(
    ("signals", "wanted", "least"),
    [
        ([signal.SIGTTIN], 3, 2),
        ([signal.SIGTTOU], 1, 1),
        ([signal.SIGTTOU, signal.SIGTTIN], 2, 1),
    ],
    ids=["more", "fewer", "fewer and more"],
)
def test_the_number_may_change_while_the_second_of_two_workers_is_being_replaced(
    service: Service, signals: list[signal.Signals], wanted: int, least: int
) -> None:
    service.write("mysite/tickets", TICKETS)
    let_go(service, 0, 1, 2)
    with service.running("--warmup", "mysite.tickets.wait") as running:
        first = running.wait_until_ready()
        with Load(running.server.port, each=1) as load:
            service.write("mysite/version", "VERSION = 2\n")
            running.signal(signal.SIGHUP)
            running.server.wait_for("^ticket 3$")
            number = 2
            for sig in signals:
                number = max(1, number + (1 if sig == signal.SIGTTIN else -1))
                running.signal(sig)
                running.server.wait_for(f"{sig.name} came: {number} worker")
            let_go(service, *range(3, 10))
            until(lambda: not any(map(is_alive, first)), lambda: running.server.output)
            until(lambda: sum(map(is_alive, running.started)) == wanted, lambda: running.server.output)
            until(lambda: len(children(running.supervisor)) == wanted + 1, lambda: running.server.output)
            load.wait_for_more(10)
        assert load.lost == [], load.summary()
        assert least_serving(running, 2) >= least
        assert running.server.get("/who").endswith(b" 2")
        assert running.stop() == 0


def test_a_reload_keeps_the_number_that_signals_have_made_unless_the_settings_have_another_one(
    service: Service,
) -> None:
    service.append("mysite/settings", "ASGI_DEPLOY = {'WORKERS': 2}\n")

    def settles(version: int, number: int) -> None:
        """All workers, and no more, are of that version."""
        until(lambda: running.server.output.count(f"(version {version}).") >= number, lambda: running.server.output)
        until(lambda: len(children(running.supervisor)) == number + 1, lambda: running.server.output)
        alive = [pid for pid in running.started if is_alive(pid)]
        assert alive == running.started[-number:]

    with service.serve() as server:
        running = Running(server, 2)
        running.wait_until_ready()
        for times in (1, 2, 3):  # down to one, and not beyond
            running.signal(signal.SIGTTOU)
            until(lambda times=times: server.output.count("SIGTTOU came: 1 worker wanted.") == times)
        running.signal(signal.SIGHUP)
        settles(2, 1)
        running.signal(signal.SIGTTIN)
        server.wait_for("SIGTTIN came: 2 workers wanted")
        running.signal(signal.SIGTTIN)
        server.wait_for("SIGTTIN came: 3 workers wanted")
        running.signal(signal.SIGHUP)
        settles(3, 3)
        service.append("mysite/settings", "ASGI_DEPLOY = {'WORKERS': 4}\n")
        running.signal(signal.SIGHUP)
        settles(4, 4)
        assert running.stop() == 0


def test_a_worker_more_that_is_wanted_before_the_first_serves_is_not_forgotten(service: Service) -> None:
    service.append("mysite/asgi", WAITS)
    with service.running() as running:
        running.server.wait_for("^loading")
        running.signal(signal.SIGTTIN)
        running.server.wait_for("SIGTTIN came: 3 workers wanted")
        (service.folder / "go").touch()
        running.wait_for_workers(3)
        until(lambda: len(children(running.supervisor)) == 4, lambda: running.server.output)
        assert running.stop() == 0


# ------------------------------------------------------------------ ends that are held up


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


def test_a_log_that_nobody_reads_does_not_hold_up_the_supervisor(service: Service) -> None:
    reader, writer = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    command = [sys.executable, "manage.py", "runasgi", str(port), "--workers", "2"]
    process = subprocess.Popen(command, cwd=service.folder, env=clean_environment(), stdout=writer, stderr=writer)
    try:
        until(lambda: len(answering(port)) == 2)
        while select.select([], [writer], [], 0)[1]:
            os.write(writer, b"x" * select.PIPE_BUF)
        process.send_signal(signal.SIGTTIN)
        until(lambda: len(answering(port)) == 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def answering(port: int) -> set[bytes]:
    """The pids of those that answer ten requests."""
    found = set()
    for _ in range(10):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as sock:
            sock.sendall(b"GET /who HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
            found.add(answer.rpartition(b"\r\n")[2].split()[0])
    return found
