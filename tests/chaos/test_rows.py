"""What the supervisor promises under faults, row by row (docs/reliability.rst).

``CHAOS_LONG=1`` makes the first row as long as its promise: ten thousand requests.
"""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.load import Connection, Load
from tests.chaos.service import Service, children, is_alive, open_request, read_to_end, read_until, until
from tests.utils import duration

pytestmark = pytest.mark.chaos

LONG = bool(os.environ.get("CHAOS_LONG"))
REQUESTS = 10_000 if LONG else 300


# ------------------------------------------------------------------ restarts


@pytest.mark.row("1")
def test_three_rolling_restarts_under_load_lose_nothing_and_replace_every_worker(service: Service) -> None:
    with service.running() as running:
        pids = running.wait_until_ready()
        with Load(running.server.port) as load:
            while True:
                load.wait_for_more(50)
                before = len(running.started)
                running.signal(signal.SIGHUP)
                running.wait_for_workers(before + 2)
                until(lambda: not any(map(is_alive, running.started[:-2])), lambda: running.server.output)
                pids = running.started[-2:]
                if before >= 6 and len(load.outcomes) >= REQUESTS:
                    break
            load.wait_for(
                lambda outcomes: {pid for each in outcomes[-20:] for pid in [each.body.split()[0]]} <= {*map(str, pids)}
            )
        assert load.lost == [], load.summary()
        assert {kind for kind, _ in load.summary()} == {"kept", "new", "pipelined"}
        assert running.stop() == 0


# ------------------------------------------------------------------ crashes


@pytest.mark.row("2")
def test_a_killed_worker_costs_only_what_it_was_answering_and_is_replaced(service: Service) -> None:
    with service.running() as running:
        first, other = running.wait_until_ready()
        with open_request(running, "/slow") as sock:
            victim = int(running.server.wait_for(r"^slow (\d+)")[1])
            os.kill(victim, signal.SIGKILL)
            with pytest.raises((ConnectionError, AssertionError)):
                read_until(sock, b"HTTP/1.1 200")
        assert victim in (first, other)
        with Load(running.server.port) as load:
            newest = running.wait_for_workers(3)[-1]
            load.wait_for(lambda outcomes: any(each.body.startswith(f"{newest} ") for each in outcomes))
        assert load.lost == [], load.summary()
        line = running.server.wait_for(rf"Worker {victim} has left: (.*)")[1]
        assert "was ended by SIGKILL, which nobody here sent: probably out of memory" in line
        assert re.search(r"\(.* old, \d+ requests?, \d+ MiB\)", line)
        assert running.stop() == 0


@pytest.mark.row("2b")
def test_workers_that_keep_ending_are_started_more_and_more_slowly_and_the_service_goes_on(service: Service) -> None:
    with service.running() as running:
        steady = running.wait_until_ready()[0]
        for number in range(3, 8):
            newest = max(running.started[-1:], key=lambda pid: pid != steady)
            os.kill(newest, signal.SIGKILL)
            running.wait_for_workers(number)
        running.server.wait_for(r"5 workers in a row ended soon after their start; the next starts in 1 s")
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0


@pytest.mark.row("2b")
def test_when_no_worker_can_start_any_more_it_ends_with_status_1(service: Service) -> None:
    service.write(
        "mysite/asgi",
        """
        import pathlib
        from django_asgi_deploy.asgi import get_asgi_application
        django = get_asgi_application("mysite.settings")
        async def application(scope, receive, send):
            if scope["type"] == "lifespan" and pathlib.Path("broken").exists():
                await receive()
                await send({"type": "lifespan.startup.failed", "message": "the queue is gone"})
                return
            await django(scope, receive, send)
        """,
    )
    with service.running() as running:
        workers = running.wait_until_ready()
        (service.folder / "broken").touch()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert running.server.wait() == 1
        running.server.wait_for("workers in a row didn't start; none is left")
        running.server.wait_for("the queue is gone")


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


# ------------------------------------------------------------------ stuck workers


@pytest.mark.row("4")
def test_a_worker_whose_loop_stands_still_shows_its_stacks_and_is_replaced(service: Service) -> None:
    with service.running("--heartbeat-timeout-seconds", "2") as running:
        running.wait_until_ready()
        with open_request(running, "/block"):
            victim = int(running.server.wait_for(r"^blocking (\d+)")[1])
            with Load(running.server.port, each=1) as load:
                running.server.wait_for(rf"The event loop of worker {victim} has stood still for .*; its stacks:")
                running.server.wait_for(r'File ".*urls.py", line \d+ in block')
                running.wait_for_workers(3)
                running.server.wait_for(rf"Worker {victim} has left: its event loop stood still")
        assert [each for each in load.lost if each.kind == "new"] == [], load.summary()
        assert running.stop() == 0


@pytest.mark.row("4b")
def test_a_stopped_worker_is_replaced(service: Service) -> None:
    with service.running("--heartbeat-timeout-seconds", "2") as running:
        victim = running.wait_until_ready()[0]
        os.kill(victim, signal.SIGSTOP)
        running.server.wait_for(rf"Worker {victim} has left: its event loop stood still .*it is stopped, as by SIGSTOP")
        running.wait_for_workers(3)
        assert running.stop() == 0


def test_what_workers_are_forked_from_is_replaced_when_it_is_stuck(service: Service) -> None:
    with service.running("--boot-timeout-seconds", "10") as running:
        workers = running.wait_until_ready()
        (nursery,) = until(lambda: len(found := set(children(running.supervisor)) - set(workers)) == 1 and found)
        os.kill(nursery, signal.SIGSTOP)
        os.kill(workers[0], signal.SIGKILL)
        running.server.wait_for(r"The process that workers are forked from has left \(SIGKILL\)")
        running.server.wait_for(r"A worker has left: didn't serve within 10 s \(BOOT_TIMEOUT_SECONDS\)")
        newest = running.wait_for_workers(4)[2:]
        until(lambda: [pid for pid in running.started if is_alive(pid)] == newest, lambda: running.server.output)
        assert b"200 OK" in running.server.get("/who")
        assert running.stop() == 0


def test_a_pause_of_the_supervisor_itself_is_not_held_against_the_workers(service: Service) -> None:
    with service.running("--heartbeat-timeout-seconds", "4") as running:
        workers = running.wait_until_ready()
        for pid in (running.supervisor, *workers):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)  # longer than the limit: that is what is tried
        for pid in (*workers, running.supervisor):
            os.kill(pid, signal.SIGCONT)
        running.server.wait_for("The supervisor was stopped for .*; deadlines begin anew")
        assert b"200 OK" in running.server.get("/who")
        assert running.started == workers, running.server.output
        assert running.stop() == 0


# ------------------------------------------------------------------ broken projects


@pytest.mark.row("5")
def test_an_asgi_module_that_raises_ends_the_start_with_status_3_and_the_users_frames(service: Service) -> None:
    service.write("mysite/asgi", "import this_is_missing\n")
    with service.running() as running:
        assert running.server.wait() == 3
        assert "No module named 'this_is_missing'" in running.server.output
        assert len(running.server.lines) < 10, running.server.output


BREAKS = {
    "asgi": ("mysite/asgi", "import this_is_missing\n"),
    "settings": ("mysite/settings", "import this_is_missing\n"),
    "urls": ("mysite/urls", "import this_is_missing\n"),
    "models": ("mysite/models", "import this_is_missing\n"),
    "dependency": ("dependency", "import this_is_missing\n"),
}


@pytest.mark.row("5b")
def test_each_part_of_the_code_is_new_after_a_reload_and_a_broken_one_never_replaces_a_good_one(
    service: Service,
) -> None:
    service.write("dependency", "NUMBER = 1\n")
    service.write("mysite/models", "NUMBER = 1\n")
    service.append("mysite/settings", "NUMBER = 1\n")
    service.append(
        "mysite/urls",
        """
        import dependency, mysite.models, mysite.asgi
        from django.conf import settings
        URLS = 1
        async def versions(request):
            numbers = [dependency.NUMBER, mysite.models.NUMBER, mysite.asgi.NUMBER, settings.NUMBER, URLS]
            return answer(" ".join(map(str, numbers)))
        urlpatterns.append(path("versions", versions))
        """,
    )
    service.append("mysite/asgi", "NUMBER = 1\n")
    parts = {
        "dependency": "dependency",
        "models": "mysite/models",
        "asgi": "mysite/asgi",
        "settings": "mysite/settings",
    }
    with service.running() as running, Load(running.server.port, each=1) as load:
        running.wait_until_ready()
        expected = dict.fromkeys([*parts, "urls"], 1)
        for name, module in [*parts.items(), ("urls", "mysite/urls")]:
            good = (service.folder / f"{module}.py").read_text()
            started = len(running.started)
            version = 2 * len(running.server.output)  # any new number
            service.write(module, BREAKS[name][1])
            seen = running.server.output.count("goes on serving")
            running.signal(signal.SIGHUP)
            until(
                lambda seen=seen: running.server.output.count("goes on serving") > seen, lambda: running.server.output
            )
            assert len(running.started) == started, running.server.output
            expected[name] = version
            variable = "URLS" if name == "urls" else "NUMBER"
            service.write(module, good.replace(f"{variable} = 1\n", f"{variable} = {version}\n"))
            running.signal(signal.SIGHUP)
            running.wait_for_workers(started + 2)
            answer = " ".join(str(expected[each]) for each in [*parts, "urls"]).encode()
            until(lambda answer=answer: running.server.get("/versions").endswith(answer), lambda: running.server.output)
        assert "this_is_missing" in running.server.output
    assert load.lost == [] or {each.result for each in load.lost} == {"refused"}, load.summary()


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
