"""What a supervised service does in peace: starts, reloads, recycles, says what it does. Under faults: tests/chaos."""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.chaos.load import Load
from tests.chaos.service import (
    TICKETS,
    Service,
    children,
    is_alive,
    least_serving,
    let_go,
    open_request,
    read_to_end,
    until,
)
from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, run_server, run_to_end


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def answers(running, number: int = 1) -> set[str]:  # type: ignore[no-untyped-def]
    return {running.server.get("/who").rpartition(b"\r\n\r\n")[2].decode() for _ in range(number)}


# ------------------------------------------------------------------ start


def test_the_banner_names_workers_supervisor_and_the_time_that_stopping_may_take(service: Service) -> None:
    with service.running("--drain-delay-seconds", "3", "--graceful-timeout-seconds", "20") as running:
        running.wait_until_ready()
        running.server.wait_for(rf"server .*; 2 workers, supervisor {running.supervisor}: WORKERS \(--workers\)")
        running.server.wait_for(r"stopping +takes up to 23 s .*: TimeoutStopSec=28, terminationGracePeriodSeconds: 28")


def test_each_worker_is_a_process_of_its_own_and_a_child_of_the_supervisor(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        for pid in workers:
            status = Path(f"/proc/{pid}/status")
            # It may serve before the process between it and the supervisor has ended.
            until(lambda: f"PPid:\t{running.supervisor}\n" in status.read_text(), status.read_text)  # noqa: B023
        with Load(running.server.port, each=2) as load:
            load.wait_for(lambda outcomes: len({each.body for each in outcomes}) == 2)
        assert {int(each.body.split()[0]) for each in load.outcomes} == set(workers)


def test_the_supervisor_never_imports_django_or_the_project(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        mapped = Path(f"/proc/{running.supervisor}/maps").read_text()
        assert "uvloop" not in mapped
        assert len(list(Path(f"/proc/{running.supervisor}/task").iterdir())) == 1
    imported = (
        "import sys, django_asgi_deploy.server.supervisor as s; print([m for m in sys.modules if m in ('django', "
    )
    imported += "'uvicorn', 'asyncio')])"
    assert run_to_end([sys.executable, "-c", imported], Path(__file__).parents[2]).stdout == "[]\n"


def test_one_worker_can_have_a_supervisor_too(service: Service) -> None:
    with service.serve("--supervisor", "on") as server:
        server.wait_for(r"one worker, supervisor \d+: SUPERVISOR \(--supervisor\)")
        server.wait_for("^Serving")
        assert b"200 OK" in server.get("/who")
        assert server.stop() == 0


def test_a_lifespan_that_fails_in_every_worker_ends_the_start_with_status_1(service: Service) -> None:
    service.write(
        "mysite/asgi",
        """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the queue can't be reached"})
        """,
    )
    with service.running() as running:
        assert running.server.wait() == 1
        running.server.wait_for("the queue can't be reached")
        running.server.wait_for("No worker could start.")
        assert "Serving" not in running.server.output


def test_a_worker_that_does_not_start_in_time_is_given_up_and_shows_where_it_hangs(service: Service) -> None:
    service.append("mysite/asgi", "import time\ntime.sleep(60)\n")
    with service.running("--boot-timeout-seconds", "1") as running:
        assert running.server.wait() == 1
        running.server.wait_for(r'File ".*asgi.py", line \d+ in <module>')
        running.server.wait_for(r"The project isn't loaded after 1 s \(BOOT_TIMEOUT_SECONDS\)")


def test_a_worker_that_has_left_is_said_to_have_answered_all_of_its_requests(service: Service) -> None:
    """Also those since its last beat, which comes twice a second."""
    with service.running() as running:
        running.wait_until_ready()
        for _ in range(5):
            running.server.get("/who")
        assert running.stop() == 0
        answered = [int(line.split(" old, ")[1].split()[0]) for line in running.server.lines if "has left: it" in line]
        assert len(answered) == 2
        assert sum(answered) == 5


# ------------------------------------------------------------------ preload


def test_a_thread_left_by_the_import_gets_each_worker_an_interpreter_and_a_reload_works_too(service: Service) -> None:
    service.append(
        "mysite/asgi",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='poller').start()\n",
    )
    with service.running() as running:
        workers = running.wait_until_ready()
        running.server.wait_for(
            r"Each worker gets an interpreter of its own: importing the project left 1 thread running \(poller\)"
        )
        service.write("mysite/version", "VERSION = 'second'\n")
        running.signal(signal.SIGHUP)
        running.wait_for_workers(4)
        until(lambda: not any(map(is_alive, workers)))
        assert {text.split()[1] for text in answers(running, 6)} == {"second"}
        newest = running.started[-1]
        os.kill(newest, signal.SIGKILL)
        running.wait_for_workers(5)
        assert running.stop() == 0


@pytest.mark.parametrize("preload", ["on", "off"])
def test_preload_can_be_chosen(service: Service, preload: str) -> None:
    with service.running("--preload", preload) as running:
        running.wait_until_ready()
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0
        assert ("PRELOAD is off" in running.server.output) is (preload == "off")


def test_without_the_process_that_forks_a_new_one_takes_its_place(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        # Without whoever has looked for findings, which is gone soon.
        (nursery,) = until(lambda: len(found := set(children(running.supervisor)) - set(workers)) == 1 and found)
        with Load(running.server.port, each=1) as load:
            os.kill(nursery, signal.SIGKILL)
            running.wait_for_workers(4)
            load.wait_for_more(20)
        assert load.lost == [], load.summary()
        running.server.wait_for(r"The process that workers are forked from has left \(SIGKILL\)")


# ------------------------------------------------------------------ before the first connection


def test_warm_up_runs_in_each_worker_before_it_serves(service: Service) -> None:
    service.write(
        "mysite/warm",
        """
        import os
        def sync():
            print(f"warm sync {os.getpid()}\\n", end="", flush=True)
        async def coroutine():
            print(f"warm async {os.getpid()}\\n", end="", flush=True)
        """,
    )
    arguments = ("--warmup", "/slow?s=0", "--warmup", "mysite.warm.sync", "--warmup", "mysite.warm:coroutine")
    with service.running(*arguments) as running:
        for pid in running.wait_until_ready():
            lines = running.server.lines
            warm = [lines.index(f"{what} {pid}") for what in ("slow", "warm sync", "warm async")]
            serves = next(number for number, line in enumerate(lines) if f"Worker {pid} serves" in line)
            assert warm == sorted(warm)
            assert warm[-1] < serves


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_a_warm_up_that_fails_ends_the_start_and_says_what_failed(service: Service, supervisor: str) -> None:
    service.append(
        "mysite/urls", "def broken(request): raise RuntimeError\nurlpatterns.append(path('broken', broken))\n"
    )
    with service.serve("--supervisor", supervisor, "--warmup", "/broken") as server:
        assert server.wait() == 1
        server.wait_for("WARMUP: /broken was answered with 500")
        assert "Serving" not in server.output


def test_a_warm_up_that_is_none_is_refused_before_anything_starts(service: Service) -> None:
    with service.running("--warmup", "mysite.version.VERSION") as running:
        assert running.server.wait() == 2
        running.server.wait_for(r"'mysite.version.VERSION' \(--warmup\) can't be called; expected a path such as /")


# ------------------------------------------------------------------ replacement


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--max-requests", "30", "--max-requests-jitter", "20"), r"it has answered \d+ requests"),
        (("--max-lifetime-seconds", "1"), r"it is [\d.]+ s old"),
        (("--max-rss-bytes", "1000000"), r"it holds \d+ MiB"),
    ],
)
def test_a_worker_that_has_served_enough_is_replaced_without_a_loss(
    service: Service, arguments: tuple[str, ...], reason: str
) -> None:
    with service.running(*arguments) as running:
        first = running.wait_until_ready()
        with Load(running.server.port, each=1) as load:
            for pid in first:
                running.server.wait_for(rf"Worker {pid} will be replaced: {reason}")
            running.wait_for_workers(4)
            until(lambda: not any(map(is_alive, first)), lambda: running.server.output)
            load.wait_for_more(10)
        assert load.lost == [], load.summary()
        running.server.wait_for(rf"Worker {first[0]} has left: {reason} \(.* old, \d+ requests?, \d+ MiB\)")
        assert least_serving(running, 2) == 2  # one at a time, the replacement first


def test_recycling_under_load_is_no_early_end_and_never_leaves_fewer_than_are_wanted(service: Service) -> None:
    with service.running("--max-requests", "20", "--max-requests-jitter", "20") as running:
        running.wait_until_ready()
        with Load(running.server.port, each=2) as load:
            running.wait_for_workers(12)
        assert load.lost == [], load.summary()
        assert "soon after their start" not in running.server.output
        causes = {line.partition("has left: ")[2][:15] for line in running.server.lines if "has left" in line}
        assert causes == {"it has answered"}
        assert least_serving(running, 2) == 2
        assert running.stop() == 0


def test_two_workers_that_are_due_at_the_same_time_are_replaced_one_after_the_other(service: Service) -> None:
    service.write("mysite/tickets", TICKETS)
    let_go(service, 0, 1)
    with service.running("--warmup", "mysite.tickets.wait", "--max-requests", "30") as running:
        running.wait_until_ready()
        with Load(running.server.port, each=2) as load:
            until(lambda: running.server.output.count("will be replaced: it has answered") == 2)
        running.server.wait_for("^ticket 2$")
        let_go(service, 2, 3)
        newest = running.wait_for_workers(4)[2:]
        until(lambda: [pid for pid in running.started if is_alive(pid)] == newest, lambda: running.server.output)
        assert load.lost == [], load.summary()
        assert least_serving(running, 2) == 2
        lines = running.server.lines
        third = next(number for number, line in enumerate(lines) if f"Worker {newest[0]} serves" in line)
        assert lines.index("ticket 2") < third < lines.index("ticket 3")
        assert running.stop() == 0


def test_a_sighup_in_a_roll_is_obeyed_although_some_worker_has_always_served_enough(service: Service) -> None:
    service.write("mysite/warm", "import time\ndef slowly():\n    time.sleep(0.7)\n")
    with service.running("--warmup", "mysite.warm.slowly", "--max-lifetime-seconds", "1", workers=3) as running:
        running.wait_until_ready()
        running.signal(signal.SIGHUP)
        running.server.wait_for(r"\(version 2\)")
        running.signal(signal.SIGHUP)
        running.server.wait_for(r"\(version 3\)")
        assert running.stop() == 0


def test_ttin_and_ttou_change_the_number_of_workers(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        running.signal(signal.SIGTTIN)
        third = running.wait_for_workers(3)[-1]
        running.signal(signal.SIGTTOU)
        running.server.wait_for("has left: there are more workers than wanted")
        running.signal(signal.SIGTTOU)
        running.server.wait_for("SIGTTOU came: 1 worker wanted")
        until(lambda: sum(map(is_alive, running.started)) == 1, lambda: running.server.output)
        assert third in running.started


def test_the_number_of_workers_follows_the_settings_at_a_reload(service: Service) -> None:
    service.append("mysite/settings", "ASGI_DEPLOY = {'WORKERS': 2}\n")
    with service.serve() as server:
        server.wait_for("^Serving")
        service.append("mysite/settings", "ASGI_DEPLOY = {'WORKERS': 3}\n")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.output.count("(version 2).") == 3, lambda: server.output)


def test_a_websocket_is_closed_with_1012_when_its_worker_is_replaced(service: Service) -> None:
    require_package("websockets")
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    service.write(
        "mysite/echo",
        """
        async def echo(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": "heard"})
        """,
    )
    with service.running("--websocket", "mysite.echo:echo") as running:
        running.wait_until_ready()
        with connect(f"ws://127.0.0.1:{running.server.port}/", origin="http://127.0.0.1") as socket:  # type: ignore[arg-type]
            socket.send("hello")
            assert socket.recv() == "heard"
            running.signal(signal.SIGHUP)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=30)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


# ------------------------------------------------------------------ the end


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_during_the_drain_delay_it_serves_as_before_and_is_announced(service: Service, supervisor: str) -> None:
    service.append(
        "mysite/urls",
        """
        from django_asgi_deploy import shutdown
        async def ready(request):
            return answer(f"{shutdown.is_announced()} {shutdown.has_begun()}")
        urlpatterns.append(path("ready", ready))
        """,
    )
    with service.serve("--supervisor", supervisor, "--drain-delay-seconds", "3") as server:
        assert server.get("/ready").endswith(b"False False")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/ready").endswith(b"True False"), lambda: server.output)
        assert server.wait() == 0


def test_ctrl_c_in_a_terminal_reaches_all_and_is_answered_once(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        with open_request(running, "/slow?s=0.3") as sock:
            running.server.wait_for(r"^slow \d+")
            os.killpg(running.supervisor, signal.SIGINT)
            assert b"200 OK" in read_to_end(sock)
        assert running.server.wait() == 0
        assert "Traceback" not in running.server.output


def test_orphans_of_the_project_are_reaped(service: Service) -> None:
    service.append(
        "mysite/urls",
        """
        import subprocess
        def orphan(request):
            command = "sleep 0.1 & echo $!"
            pid = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True).stdout
            return answer(pid)
        urlpatterns.append(path("orphan", orphan))
        """.replace("stdout=subprocess.PIPE", "stdout=subprocess.PIPE, stderr=subprocess.DEVNULL"),
    )
    service.write("orphan.sh", "")
    with service.running() as running:
        running.wait_until_ready()
        pid = int(running.server.get("/orphan").rpartition(b"\r\n\r\n")[2])
        until(lambda: not Path(f"/proc/{pid}").exists())


# ------------------------------------------------------------------ what others see


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_the_pid_file_holds_the_pid_that_signals_go_to_and_is_gone_afterwards(
    service: Service, supervisor: str
) -> None:
    file = service.folder / "runasgi.pid"
    file.write_text("4194304\n")  # no such process: stale
    with service.serve("--supervisor", supervisor, "--pid-file", "runasgi.pid") as server:
        server.wait_for("^Serving")
        assert file.read_text() == f"{server.process.pid}\n"
        second = service.run("--bind", "127.0.0.1:0", "--supervisor", supervisor, "--pid-file", "runasgi.pid")
        assert second.returncode == 1
        assert f"PID_FILE runasgi.pid: process {server.process.pid} is running with it" in second.stderr
        assert server.stop() == 0
    assert not file.exists()


def test_a_pid_file_that_cannot_be_written_is_named(service: Service) -> None:
    done = service.run("--bind", "127.0.0.1:0", "--pid-file", "missing/runasgi.pid")
    assert done.returncode == 2
    assert "PID_FILE missing/runasgi.pid: No such file or directory" in done.stderr


@pytest.mark.real
def test_processes_have_titles_that_tell_their_roles(service: Service) -> None:
    require_package("setproctitle")
    with service.running("--process-name", "mysite") as running:
        workers = running.wait_until_ready()
        listed = subprocess.run(["ps", "-o", "args=", "-p", str(running.supervisor)], capture_output=True, text=True)
        assert listed.stdout.strip() == "mysite: runasgi, supervisor"
        title = Path(f"/proc/{workers[0]}/cmdline").read_text().rstrip("\0 ")
        assert title == "mysite: runasgi, worker of version 1"


def test_usr1_shows_what_all_workers_are_doing(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        running.signal(signal.SIGUSR1)
        until(lambda: running.server.output.count("most recent call first") >= 2, lambda: running.server.output)


def test_a_unix_socket_is_unlinked_at_the_end(service: Service) -> None:
    path = service.folder / "asgi.sock"
    with service.running("--bind", f"unix:{path}") as running:
        running.wait_until_ready()
        assert path.is_socket()
        assert running.stop() == 0
    assert not path.exists()


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--workers", "2", "--supervisor", "off"),
            r"SUPERVISOR = 'off' (--supervisor): WORKERS (--workers) needs the",
        ),
        (("--max-requests-jitter", "5"), "MAX_REQUESTS_JITTER (--max-requests-jitter) needs MAX_REQUESTS beside it"),
        (("--heartbeat-timeout-seconds", "1"), "expected a whole number, at least 2"),
    ],
)
def test_contradictions_are_refused(service: Service, arguments: tuple[str, ...], message: str) -> None:
    done = service.run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_web_concurrency_is_the_number_of_workers_and_the_banner_says_so(service: Service) -> None:
    with service.serve(WEB_CONCURRENCY="2") as server:
        server.wait_for(r"2 workers, supervisor \d+: WORKERS \(WEB_CONCURRENCY\)")
    with service.serve(WEB_CONCURRENCY="many") as server:
        server.wait_for("WEB_CONCURRENCY=many is ignored: expected a number of workers.")
        server.wait_for("one worker, pid")


# ------------------------------------------------------------------ one worker's own signals


def test_a_worker_that_is_asked_to_end_loses_nothing_and_is_replaced(service: Service) -> None:
    with service.running() as running:
        victim = running.wait_until_ready()[0]
        with Load(running.server.port) as load:
            load.wait_for_more(20)
            os.kill(victim, signal.SIGTERM)
            running.wait_for_workers(3)
            until(lambda: not is_alive(victim), lambda: running.server.output)
            load.wait_for_more(20)
        assert load.lost == [], load.summary()
        assert running.stop() == 0


# ------------------------------------------------------------------ systemd


def test_the_watchdog_is_told_in_time_by_the_supervisor_however_short_its_interval_is(
    service: Service, tmp_path: Path
) -> None:
    """Also while the project is loaded, when nothing else wakes it."""
    service.append("mysite/asgi", "import time\nprint('loading\\n', end='', flush=True)\ntime.sleep(60)\n")
    command = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh", sys.executable]
    command += ["manage.py", "runasgi", "127.0.0.1:0", "--workers", "2"]
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(environment["NOTIFY_SOCKET"])
        told.settimeout(DEADLINE_SECONDS)
        with run_server(command, service.folder, environment) as server:
            server.wait_for("^loading")
            beats = []
            while len(beats) < 12:
                assert told.recv(1000) == b"WATCHDOG=1"
                beats.append(time.monotonic())
            assert median(later - earlier for earlier, later in pairwise(beats)) < 0.4
            assert server.stop() == 0
