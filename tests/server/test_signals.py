"""The table in docs/signals.rst, where no other test has the row."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.service import Service, is_alive, open_request, read_until, until
from tests.utils import duration, run_server

pytestmark = pytest.mark.chaos


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def test_signals_that_are_the_supervisors_are_ignored_by_a_worker(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        for pid in workers:
            for sig in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGINT):
                os.kill(pid, sig)
        answered = set()
        until(lambda: answered.add(who(running)) or answered == set(workers), lambda: f"{answered} of {workers}")
        assert running.started == workers
        assert "wanted" not in running.server.output
        assert running.stop() == 0


def who(running) -> int:  # type: ignore[no-untyped-def]
    return int(running.server.get("/who").rpartition(b"\r\n\r\n")[2].split()[0])


def test_usr1_to_a_worker_shows_its_stacks_alone(service: Service) -> None:
    with service.running() as running:
        victim = running.wait_until_ready()[0]
        os.kill(victim, signal.SIGUSR1)
        running.server.wait_for("most recent call first")
        assert running.stop() == 0
        assert running.server.output.count("Current thread") == 1


def test_a_worker_that_is_asked_to_end_waits_two_seconds_at_most_for_a_supervisor_that_stands_still(
    service: Service,
) -> None:
    with service.running() as running:
        victim = running.wait_until_ready()[0]
        os.kill(running.supervisor, signal.SIGSTOP)
        asked_at = time.monotonic()
        os.kill(victim, signal.SIGTERM)
        until(lambda: not is_alive(victim))
        assert 1.5 < time.monotonic() - asked_at < 8  # it waits, as its successor could come
        os.kill(running.supervisor, signal.SIGCONT)
        running.wait_for_workers(3)
        assert running.stop() == 0


def test_ctrl_c_twice_in_a_terminal_ends_everything_at_once(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        with open_request(running, "/endless") as sock:
            read_until(sock, b"tick")
            os.killpg(running.supervisor, signal.SIGINT)
            running.server.wait_for("SIGINT came")
            os.killpg(running.supervisor, signal.SIGINT)
            assert duration(running.server.wait) < 5
        assert running.server.process.returncode == 0
        assert running.server.output.count("Stopped at once by a second signal.") == 1
        until(lambda: not any(map(is_alive, workers)))


@pytest.mark.parametrize("sig", [signal.SIGHUP, signal.SIGUSR1])
def test_the_only_worker_leaves_these_to_the_system(service: Service, sig: signal.Signals) -> None:
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0"]
    default = lambda: signal.signal(sig, signal.SIG_DFL)  # noqa: E731 - who runs this with nohup ignores SIGHUP
    with run_server(command, service.folder, preexec_fn=default) as server:
        server.wait_for("^Serving")
        server.process.send_signal(sig)
        assert server.wait() == -sig
