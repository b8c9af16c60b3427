"""What the supervisor promises under faults, row by row (docs/reliability.rst).

``CHAOS_LONG=1`` makes the first row as long as its promise: ten thousand requests.
"""

import os
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest

from django_asgi_deploy.server.processes import is_stopped
from tests.chaos.load import Connection, Load
from tests.chaos.monkey import client_ports
from tests.chaos.service import Service, children, is_alive, open_request, read_to_end, read_until, until
from tests.utils import duration

pytestmark = pytest.mark.chaos

LONG = bool(os.environ.get("CHAOS_LONG"))
REQUESTS = 10_000 if LONG else 300


# ------------------------------------------------------------------ restarts


@pytest.mark.row("1")
def test_three_rolling_restarts_under_load_lose_nothing_and_replace_every_worker(service: Service) -> None:
    began_at = time.monotonic()
    with service.running() as running:
        pids = running.wait_until_ready()
        boot_seconds = time.monotonic() - began_at
        rolls = []
        with Load(running.server.port) as load:
            while True:
                load.wait_for_more(50)
                before = len(running.started)
                running.signal(signal.SIGHUP)
                rolls.append(duration(lambda before=before: running.wait_for_workers(before + 2)))
                until(lambda: not any(map(is_alive, running.started[:-2])), lambda: running.server.output)
                pids = running.started[-2:]
                if before >= 6 and len(load.outcomes) >= REQUESTS:
                    break
            load.wait_for(
                lambda outcomes: {pid for each in outcomes[-20:] for pid in [each.body.split()[0]]} <= {*map(str, pids)}
            )
        assert load.lost == [], load.summary()
        assert {kind for kind, _ in load.summary()} == {"kept", "new", "pipelined"}
        # Promised are 0.15 s, and boot + 2 s; there may be ten other tests on this machine.
        assert load.longest_gap() < 1
        assert median(rolls) < 3 * boot_seconds + 2
        assert running.stop() == 0


# ------------------------------------------------------------------ crashes


@pytest.mark.row("2")
def test_a_worker_killed_under_load_costs_only_what_it_held_and_is_replaced(service: Service) -> None:
    with service.running() as running, ExitStack() as opened:
        running.wait_until_ready()
        with Load(running.server.port) as load:
            load.wait_for_more(50)
            slow = [opened.enter_context(open_request(running, "/slow?s=2")) for _ in range(6)]
            victim = int(running.server.wait_for(r"^slow (\d+)")[1])
            os.kill(victim, signal.SIGSTOP)
            until(lambda: is_stopped(victim))
            held = client_ports(victim)
            os.kill(victim, signal.SIGKILL)
            until(lambda: not is_alive(victim))
            dead_at = time.monotonic()
            newest = running.wait_for_workers(3)[-1]
            assert time.monotonic() - dead_at < 5  # promised is 0.5 s
            load.wait_for(lambda outcomes: any(each.body.startswith(f"{newest} ") for each in outcomes))
            for sock in slow:
                assert (b"200 OK" in _received(sock)) is (sock.getsockname()[1] not in held)
            load.wait_for_more(50)
        lost = [each for each in load.lost if each.port not in held or each.sent_at > dead_at]
        assert lost == [], load.summary()
        line = running.server.wait_for(rf"Worker {victim} has left: (.*)")[1]
        assert "was ended by SIGKILL, which nobody here sent: probably out of memory" in line
        assert re.search(r"\(.* old, \d+ requests?, \d+ MiB\)", line)
        assert running.stop() == 0


def _received(sock: socket.socket) -> bytes:
    """Until the head of an answer is there, or none will be."""
    try:
        return read_until(sock, b"\r\n\r\n")
    except (ConnectionError, AssertionError):
        return b""


@pytest.mark.row("2b")
def test_workers_that_keep_ending_are_started_more_and_more_slowly_and_the_service_goes_on(service: Service) -> None:
    with service.running() as running:
        steady = running.wait_until_ready()[0]
        for number in range(3, 8):
            newest = max(running.started[-1:], key=lambda pid: pid != steady)
            os.kill(newest, signal.SIGKILL)
            if number < 7:
                running.wait_for_workers(number)
        running.server.wait_for(r"5 workers in a row ended soon after their start; the next starts in 1 s")
        assert duration(lambda: running.wait_for_workers(7)) > 0.5  # the line is read later than it is written
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0


FAILS_IF_BROKEN = """
    import pathlib
    from django_asgi_deploy.asgi import get_asgi_application
    django = get_asgi_application("mysite.settings")
    async def application(scope, receive, send):
        if scope["type"] == "lifespan" and pathlib.Path("broken").exists():
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the queue is gone"})
            return
        await django(scope, receive, send)
"""


@pytest.mark.row("2b")
def test_when_no_worker_can_start_any_more_it_ends_with_status_1(service: Service) -> None:
    service.write("mysite/asgi", FAILS_IF_BROKEN)
    with service.running() as running:
        workers = running.wait_until_ready()
        (service.folder / "broken").touch()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert running.server.wait() == 1
        running.server.wait_for("workers in a row didn't start; none is left")
        running.server.wait_for("the queue is gone")


@pytest.mark.row("2b")
def test_it_ends_only_then_and_not_while_a_single_worker_serves(service: Service) -> None:
    service.write("mysite/asgi", FAILS_IF_BROKEN)
    with service.running() as running:
        victim, steady = running.wait_until_ready()
        (service.folder / "broken").touch()
        os.kill(victim, signal.SIGKILL)
        running.server.wait_for("6 workers in a row ended soon after their start; the next starts in 2 s")
        assert running.server.get("/who").endswith(f"{steady} 1".encode())
        assert running.stop() == 0


@pytest.mark.row("2b")
def test_with_nobody_left_the_next_start_is_not_waited_for_as_long_as_in_a_crash_loop(service: Service) -> None:
    service.write("mysite/asgi", FAILS_IF_BROKEN)
    with service.running(workers=10) as running:
        *others, last = running.wait_until_ready()
        (service.folder / "broken").touch()
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        running.server.wait_for(r"\d+ workers in a row ended soon after their start; the next starts in (16|30) s")
        until(lambda: len(children(running.supervisor)) == 2, lambda: running.server.output)  # nobody is starting
        (service.folder / "broken").unlink()
        os.kill(last, signal.SIGKILL)
        running.server.wait_for("No worker serves any more; the next one starts without the rest of the pause")
        assert duration(lambda: running.wait_for_workers(11)) < 8
        assert running.stop() == 0


@pytest.mark.row("2b")
def test_ends_of_all_at_once_are_no_row_and_all_are_replaced_at_once(service: Service) -> None:
    with service.running(workers=8) as running:
        for pid in (first := running.wait_until_ready()):
            os.kill(pid, signal.SIGKILL)
        running.wait_for_workers(16)
        assert not any(map(is_alive, first))
        assert "in a row" not in running.server.output
        assert running.stop() == 0


# ------------------------------------------------------------------ the end


@pytest.mark.row("3a")
def test_sigterm_under_load_answers_everything_accepted_and_refuses_the_rest(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        with Load(running.server.port, each=3) as load:
            load.wait_for_more(100)
            with open_request(running, "/slow?s=0.5") as sock:
                running.server.wait_for(r"^slow \d+")
                running.signal(signal.SIGTERM)
                assert b"200 OK" in read_to_end(sock)
            assert running.server.wait() == 0
            load.wait_for(lambda outcomes: outcomes[-1].result == "refused")
        assert {result for _, result in load.summary()} == {"ok", "refused"}, load.summary()


@pytest.mark.row("3b")
@pytest.mark.parametrize("kind", ["nothing", "idle", "silent"])
def test_sigterm_does_not_wait_for_idle_or_silent_connections(service: Service, kind: str) -> None:
    with service.running() as running:
        running.wait_until_ready()
        connection = Connection(running.server.port) if kind != "nothing" else None
        if connection and kind == "idle":
            connection.send("/who")
            assert connection.read()[0] == 200
        assert duration(lambda: running.stop()) < 5
        assert running.server.process.returncode == 0
        if connection:
            connection.close()


@pytest.mark.row("3c")
def test_a_stream_that_listens_ends_cleanly_when_draining_begins(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        with open_request(running, "/polite") as sock:
            read_until(sock, b"tick")
            running.signal(signal.SIGTERM)
            assert read_to_end(sock).endswith(b"0\r\n\r\n")
        assert running.server.wait() == 0
        running.server.wait_for("the source is closed")


@pytest.mark.row("3c")
def test_a_stream_that_does_not_listen_is_cut_at_the_deadline(service: Service) -> None:
    with service.running("--graceful-timeout-seconds", "1") as running:
        running.wait_until_ready()
        with open_request(running, "/endless") as sock:
            read_until(sock, b"tick")
            started = time.monotonic()
            running.signal(signal.SIGTERM)
            assert not read_to_end(sock).endswith(b"0\r\n\r\n")
            assert time.monotonic() - started >= 1
        assert running.server.wait() == 0
        running.server.wait_for("the source is closed")
        running.server.wait_for(r"Cancel 1 running task\(s\)")


@pytest.mark.row("3c")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(service: Service, second: signal.Signals) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        with open_request(running, "/endless") as sock:
            read_until(sock, b"tick")
            running.signal(signal.SIGTERM)
            running.server.wait_for("SIGTERM came")
            assert duration(lambda: running.server.stop(second)) < 5
        assert running.server.process.returncode == 0
        until(lambda: not any(map(is_alive, workers)))


@pytest.mark.row("3d")
@pytest.mark.parametrize("where", ["import", "lifespan", "blocked lifespan"])
def test_sigterm_while_it_starts_ends_it(service: Service, where: str) -> None:
    hang = {"import": "", "lifespan": "await asyncio.Event().wait()", "blocked lifespan": "time.sleep(60)"}[where]
    service.write(
        "mysite/asgi",
        f"""
        import asyncio, time
        async def application(scope, receive, send):
            await receive()
            print("hanging\\n", end="", flush=True)
            {hang or "pass"}
        if {not hang}:
            print("hanging\\n", end="", flush=True)
            time.sleep(60)
        """,
    )
    with service.running() as running:
        running.server.wait_for("^hanging")
        assert duration(lambda: running.stop()) < 5
        assert running.server.process.returncode == 0


# ------------------------------------------------------------------ broken projects


@pytest.mark.row("5")
def test_an_asgi_module_that_raises_ends_the_start_with_status_3_and_the_users_frames(service: Service) -> None:
    service.write("mysite/asgi", "import this_is_missing\n")
    with service.running() as running:
        assert running.server.wait() == 3
        assert "No module named 'this_is_missing'" in running.server.output
        assert len(running.server.lines) < 10, running.server.output


# ------------------------------------------------------------------ memory, and the supervisor's own end


@pytest.mark.row("8")
def test_workers_share_what_was_imported_before_they_were_forked(service: Service) -> None:
    with service.running(workers=4) as running:
        workers = running.wait_until_ready()
        with Load(running.server.port, each=1) as load:
            load.wait_for_more(100)
        for pid in workers:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            resident, proportional = (int(re.search(rf"^{name}: +(\d+)", rollup, re.M)[1]) for name in ("Rss", "Pss"))
            assert proportional < resident / 2, rollup
        assert running.stop() == 0


@pytest.mark.row("9")
def test_without_the_supervisor_workers_finish_what_is_open_and_leave(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        port = running.server.port
        with open_request(running, "/slow?s=0.5") as sock:
            running.server.wait_for(r"^slow \d+")
            os.kill(running.supervisor, signal.SIGKILL)
            until(lambda: _refuses(port))
            assert b"200 OK" in read_until(sock, b"200 OK")
        until(lambda: not any(map(is_alive, workers)), lambda: running.server.output)
        running.server.wait_for("The supervisor is gone; worker")


def _refuses(port: int) -> bool:
    try:
        Connection(port).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass  # reset: it was being closed
    return False
