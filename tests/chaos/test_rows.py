"""What the supervisor promises under faults, row by row (docs/reliability.rst).

``CHAOS_LONG=1`` makes the first row as long as its promise: ten thousand requests.
"""

import os
import re
import signal
import socket
import time
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import pytest

from django_asgi_deploy.server.processes import is_stopped
from tests.chaos.load import Connection, Load
from tests.chaos.monkey import client_ports
from tests.chaos.service import (
    Running,
    Service,
    children,
    is_alive,
    open_request,
    read_to_end,
    read_until,
    until,
    watch_of,
)
from tests.utils import DEADLINE_SECONDS, duration

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


@pytest.mark.row("3a")
def test_after_sigterm_new_connections_are_refused_although_a_worker_is_stuck(service: Service) -> None:
    with service.running() as running:
        running.wait_until_ready()
        with open_request(running, "/block"):
            running.server.wait_for(r"^blocking \d+")
            running.signal(signal.SIGTERM)
            assert duration(lambda: until(lambda: _refuses(running.server.port))) < 10
            assert is_alive(running.supervisor)  # which waits for the one that is stuck
            running.signal(signal.SIGTERM)
            assert running.server.wait() == 0


@pytest.mark.row("3b")
@pytest.mark.parametrize("number", [0, 50])
def test_sigterm_does_not_wait_for_idle_or_silent_connections(service: Service, number: int) -> None:
    with service.running() as running, ExitStack() as stack:
        running.wait_until_ready()
        for _ in range(number):
            idle, silent = (stack.enter_context(closing(Connection(running.server.port))) for _ in range(2))
            idle.send("/who")
            assert idle.read()[0] == 200
            assert not silent.closes
        assert duration(lambda: running.stop()) < 3
        assert running.server.process.returncode == 0


SOCKETS = """
    import asyncio

    async def deaf(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        finally:
            print("the application was cut\\n", end="", flush=True)

    async def flood(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": bytes(65536)}))
            if not (await asyncio.wait([sending], timeout=0.3))[0]:
                print("the client doesn't read\\n", end="", flush=True)
            await sending
"""
SERVICE_RESTART = b"\x88\x02\x03\xf4"  # a close frame with the code 1012


def open_websocket(running: Running) -> socket.socket:
    """One that can take a few kilobytes before its client reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(DEADLINE_SECONDS)
    sock.connect(("127.0.0.1", running.server.port))
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    return sock


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
    output = cut_at_the_deadline(service, "/endless")
    assert "Cancel 1 running task(s)" in output


@pytest.mark.row("3c")
def test_an_endless_generator_that_is_synchronous_is_cut_at_the_deadline(service: Service) -> None:
    service.append(
        "mysite/urls",
        """
        def sync_ticks():
            try:
                while True:
                    yield "data: tick\\n\\n"
                    time.sleep(0.05)
            finally:
                print("the source is closed\\n", end="", flush=True)

        def endless_sync(request):
            return StreamingHttpResponse(sync_ticks(), content_type="text/event-stream")

        urlpatterns.append(path("endless-sync", endless_sync))
        """,
    )
    cut_at_the_deadline(service, "/endless-sync")


def cut_at_the_deadline(service: Service, path: str) -> str:
    """What the server has said, to its end, that had to cut an endless stream."""
    with service.running("--graceful-timeout-seconds", "1") as running:
        running.wait_until_ready()
        with open_request(running, path) as sock:
            read_until(sock, b"tick")
            started = time.monotonic()
            running.signal(signal.SIGTERM)
            assert not read_to_end(sock).endswith(b"0\r\n\r\n")
            assert 1 <= time.monotonic() - started < 10
        assert running.server.wait() == 0
        running.server.wait_for("the source is closed")
    return running.server.output


@pytest.mark.row("3c")
def test_at_a_reload_a_stream_that_listens_ends_and_another_one_is_cut_at_the_deadline(service: Service) -> None:
    with service.running("--graceful-timeout-seconds", "2") as running:
        old = running.wait_until_ready()
        with open_request(running, "/endless") as deaf, open_request(running, "/polite") as polite:
            read_until(deaf, b"tick")
            read_until(polite, b"tick")
            running.signal(signal.SIGHUP)
            assert read_to_end(polite).endswith(b"0\r\n\r\n")
            running.wait_for_workers(4)
            assert not read_to_end(deaf).endswith(b"0\r\n\r\n")
        until(lambda: not any(map(is_alive, old)), lambda: running.server.output)
        running.server.wait_for(r"Cancel 1 running task\(s\)")
        said = "has left: version 2 takes its place"
        until(lambda: running.server.output.count(said) == 2, lambda: running.server.output)
        assert running.stop() == 0


@pytest.mark.row("3c")
def test_a_websocket_whose_application_goes_on_is_told_and_cut_at_the_deadline(service: Service) -> None:
    service.write("mysite/sockets", SOCKETS)
    with service.running("--websocket", "mysite.sockets:deaf", "--graceful-timeout-seconds", "1") as running:
        running.wait_until_ready()
        with open_websocket(running) as sock:
            read_until(sock, b"\r\n\r\n")
            started = time.monotonic()
            running.signal(signal.SIGTERM)
            assert read_to_end(sock) == SERVICE_RESTART
            assert running.server.wait() == 0
            assert 1 <= time.monotonic() - started < 10
        running.server.wait_for(r"Cancel 1 running task\(s\)")
        running.server.wait_for("the application was cut")


@pytest.mark.row("3c")
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_a_websocket_whose_client_does_not_read_costs_no_other_request_its_answer(
    service: Service, sig: signal.Signals
) -> None:
    service.write("mysite/sockets", SOCKETS)
    arguments = ("--websocket", "mysite.sockets:flood", "--graceful-timeout-seconds", "2", "--supervisor", "on")
    with service.running(*arguments, workers=1) as running, ExitStack() as stack:
        (worker,) = running.wait_until_ready()
        stack.enter_context(open_websocket(running))
        running.server.wait_for("^the client doesn't read")
        slow = [stack.enter_context(open_request(running, "/slow?s=0.5")) for _ in range(3)]
        until(lambda: running.server.output.count(f"slow {worker}") == 3, lambda: running.server.output)
        running.signal(sig)
        for sock in slow:
            assert b"200 OK" in read_to_end(sock)
        until(lambda: not is_alive(worker), lambda: running.server.output)
        assert running.server.wait() == 0 if sig == signal.SIGTERM else running.stop() == 0
        assert "Traceback" not in running.server.output


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
        assert duration(lambda: running.stop()) < 3
        assert running.server.process.returncode == 0


# ------------------------------------------------------------------ broken projects


RAISES = """
    def connect():
        raise LookupError("no address for the queue")

    application = connect()
"""


@pytest.mark.row("5")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_asgi_module_that_raises_ends_the_start_with_status_3_and_the_users_frames(
    service: Service, workers: int
) -> None:
    service.write("mysite/asgi", RAISES)
    started = time.monotonic()
    with service.running(workers=workers) as running:
        assert running.server.wait() == 3
        assert time.monotonic() - started < 10
        assert "no address for the queue" in running.server.output
        own = re.findall(r"(\w+/asgi\.py)\D*(\d+).*?(<module>|connect)", running.server.output)
        assert own == [("mysite/asgi.py", "5", "<module>"), ("mysite/asgi.py", "3", "connect")], running.server.output
        assert "importlib" not in running.server.output
        assert "site-packages" not in running.server.output
        assert len(running.server.lines) < 12, running.server.output


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
def test_without_the_supervisor_workers_finish_what_is_open_and_leave_the_port_to_another_instance(
    service: Service,
) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        port = running.server.port
        with open_request(running, "/slow?s=1") as sock:
            running.server.wait_for(r"^slow \d+")
            os.kill(running.supervisor, signal.SIGKILL)
            killed_at = time.monotonic()
            until(lambda: _refuses(port))
            assert time.monotonic() - killed_at < 5
            with service.serve("--bind", f"127.0.0.1:{port}", "--workers", "2") as second:
                assert b"200 OK" in read_until(sock, b"200 OK")
                until(lambda: not any(map(is_alive, workers)), lambda: running.server.output)
                assert time.monotonic() - killed_at < 10
                second.wait_for("^Serving")
                assert b"200 OK" in second.get("/who")
                assert second.stop() == 0
        running.server.wait_for("The supervisor is gone; worker")


STUCK = """
    import ctypes, os, time

    def in_c(request):
        print(f"in C {os.getpid()}\\n", end="", flush=True)
        ctypes.PyDLL(None).sleep(60)  # with the GIL

    urlpatterns.append(path("in-c", in_c))
"""


@pytest.mark.row("9")
def test_nothing_that_is_stuck_outlives_the_supervisor_or_keeps_the_port(service: Service) -> None:
    """A blocked loop, a library that holds the GIL, a process that is stopped, a version that hangs in its import."""
    service.append("mysite/urls", STUCK)
    with service.running(workers=4) as running:
        workers = running.wait_until_ready()
        port = running.server.port
        with ExitStack() as stack:
            stuck = set()
            for path, said in (("/block", "blocking"), ("/in-c", "in C")):
                stack.enter_context(open_request(running, path))
                stuck.add(int(running.server.wait_for(rf"^{said} (\d+)")[1]))
            stopped, well = sorted(set(workers) - stuck)
            os.kill(stopped, signal.SIGSTOP)
            good = (service.folder / "mysite/asgi.py").read_text()
            service.append("mysite/asgi", "import time\nprint('hanging', flush=True)\ntime.sleep(60)\n")
            running.signal(signal.SIGHUP)
            running.server.wait_for("^hanging")
            service.write("mysite/asgi", good)
            processes = [*children(running.supervisor), watch_of(running.supervisor)]
            os.kill(running.supervisor, signal.SIGKILL)
            killed_at = time.monotonic()
            until(lambda: _refuses(port))
            assert time.monotonic() - killed_at < 10
            with service.serve("--bind", f"127.0.0.1:{port}") as second:
                assert b"200 OK" in second.get("/who")
                assert second.stop() == 0
            until(lambda: not any(map(is_alive, processes)), lambda: running.server.output)
            assert time.monotonic() - killed_at < 20
        assert {*stuck, stopped, well} < set(processes)
        running.server.wait()
        said = [int(pid) for pid in re.findall(r"Process (\d+) is still there 3 s after", running.server.output)]
        assert {*stuck, stopped} < set(said)
        assert len(said) == 4, running.server.output
        assert f"The supervisor is gone; worker {well} leaves" in running.server.output


@pytest.mark.row("9")
def test_a_first_start_that_is_stuck_does_not_outlive_the_supervisor(service: Service) -> None:
    service.write(
        "mysite/asgi",
        """
        import os, time
        async def application(scope, receive, send):
            print(f"hanging {os.getpid()}\\n", end="", flush=True)
            time.sleep(60)
        """,
    )
    with service.running() as running:
        hanging = re.compile(r"^hanging (\d+)", re.MULTILINE)
        pids = until(lambda: len(found := hanging.findall(running.server.output)) == 2 and found)
        until(lambda: set(map(int, pids)) < set(children(running.supervisor)))
        os.kill(running.supervisor, signal.SIGKILL)
        until(lambda: not any(is_alive(int(pid)) for pid in pids), lambda: running.server.output, seconds=15)


@pytest.mark.row("9")
def test_the_watch_for_the_supervisors_end_is_replaced_and_ends_with_the_service(service: Service) -> None:
    with service.running() as running:
        workers = running.wait_until_ready()
        first = watch_of(running.supervisor)
        os.kill(first, signal.SIGTERM)  # as to all processes of the group: not its business
        os.kill(first, signal.SIGINT)
        assert is_alive(first)
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_alive(first))
        os.kill(workers[0], signal.SIGKILL)
        running.wait_for_workers(3)
        second = watch_of(running.supervisor)
        assert second != first
        os.kill(second, signal.SIGSTOP)  # nor does the end wait for it
        assert running.stop() == 0
        assert not is_alive(second)


def _refuses(port: int) -> bool:
    try:
        Connection(port).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass  # reset: it was being closed
    return False
