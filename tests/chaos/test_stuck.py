"""What stands still: an event loop, a process, the supervisor itself; and what only seems to."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from django_asgi_deploy.server.processes import is_stopped
from tests.chaos.load import Load
from tests.chaos.service import (
    TICKETS,
    Service,
    children,
    is_alive,
    let_go,
    limit_next_starts,
    open_request,
    read_until,
    until,
)

pytestmark = pytest.mark.chaos

PTRACE_ATTACH, PTRACE_DETACH = 16, 17

BLOCKS_BESIDE_A_THREAD = """
    import threading
    parked = threading.Event()

    def park():
        parked.set()
        time.sleep(60)

    async def stand_still(request):
        threading.Thread(target=park, daemon=True).start()
        parked.wait()
        print(f"blocking {os.getpid()}\\n", end="", flush=True)
        time.sleep(60)

    urlpatterns.append(path("stand-still", stand_still))
"""


def slowest(load: Load) -> float:
    """Seconds that the slowest answer took."""
    return max(each.ended_at - each.sent_at for each in load.outcomes)


@pytest.mark.row("4")
def test_a_loop_that_stands_still_is_shown_at_half_the_limit_and_replaced_at_the_whole_while_others_serve(
    service: Service,
) -> None:
    service.append("mysite/urls", BLOCKS_BESIDE_A_THREAD)
    with service.running("--heartbeat-timeout-seconds", "4") as running:
        running.wait_until_ready()
        with open_request(running, "/stand-still"):
            victim = int(running.server.wait_for(r"^blocking (\d+)")[1])
            with Load(running.server.port, each=1) as load:
                still = running.server.wait_for(
                    rf"The event loop of worker {victim} has stood still for ([\d.]+) s; its stacks:"
                )
                running.server.wait_for(r'File ".*urls.py", line \d+ in stand_still')
                running.server.wait_for(r'File ".*urls.py", line \d+ in park')  # of another thread
                running.wait_for_workers(3)
                left = running.server.wait_for(
                    rf"Worker {victim} has left: its event loop stood still for ([\d.]+) s \("
                )
                load.wait_for_more(20)
        assert load.lost == [], load.summary()
        assert slowest(load) < 2  # nobody has waited for the replacement
        assert 2 <= float(still[1]) < 4 <= float(left[1]) < 8
        assert running.stop() == 0


@pytest.mark.row("4b")
def test_a_stopped_worker_is_replaced_while_others_serve(service: Service) -> None:
    with service.running("--heartbeat-timeout-seconds", "3") as running:
        victim = running.wait_until_ready()[0]
        os.kill(victim, signal.SIGSTOP)
        until(lambda: is_stopped(victim))
        with Load(running.server.port, each=1) as load:
            running.server.wait_for(
                rf"The event loop of worker {victim} has stood still for .* s; "
                "it is stopped, as by SIGSTOP, and can't show its stacks"
            )
            running.server.wait_for(
                rf"Worker {victim} has left: its event loop stood still .*\(it is stopped, as by SIGSTOP\)"
            )
            running.wait_for_workers(3)
            load.wait_for_more(20)
        assert load.lost == [], load.summary()
        assert slowest(load) < 2
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


# ------------------------------------------------------------------ the supervisor itself


@pytest.mark.row("4")
def test_a_pause_of_everybody_is_held_against_nobody_although_workers_go_on_last(service: Service) -> None:
    """Longer than the limits for a loop that stands still and for one that is starting: that is what is tried."""
    service.write("mysite/tickets", TICKETS)
    let_go(service, 0, 1, 2, 3)
    with service.running("--warmup", "mysite.tickets.wait", "--heartbeat-timeout-seconds", "4") as running:
        workers = limit_next_starts(service, running, 4)
        running.signal(signal.SIGTTIN)
        running.server.wait_for("^ticket 4$")  # a third one that is starting
        with stopped(running.supervisor, *workers):
            time.sleep(5.5)
            os.kill(running.supervisor, signal.SIGCONT)
            running.server.wait_for("The supervisor itself stood still for .*; no deadline counts that")
            let_go(service, 4)
            time.sleep(1)
        assert running.wait_for_workers(5)[2:4] == workers
        assert b"200 OK" in running.server.get("/who")
        assert all(map(is_alive, running.started[2:])), running.server.output
        assert running.stop() == 0


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# ------------------------------------------------------------------ debuggers


DEBUGGED = """
    import sys

    async def agree(request):
        import ctypes
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1 % 2**64), 0, 0, 0)  # PR_SET_PTRACER: anybody may
        return await who(request)

    async def breaks(request):
        print(f"breaks {os.getpid()}\\n", end="", flush=True)
        breakpoint()
        return answer(str(os.getpid()))

    async def attached(request):
        sys.modules["pydevd"] = sys
        print(f"attached {os.getpid()}\\n", end="", flush=True)
        await asyncio.sleep(1)  # so that a beat can say so
        time.sleep(3)
        return answer(str(os.getpid()))

    urlpatterns += [path("agree", agree), path("breaks", breaks), path("attached", attached)]
"""


DEBUGGER = """
    import pathlib, time

    def stop():
        time.sleep(5)

    def warm_up():
        if pathlib.Path("debug").exists():
            print("starting\\n", end="", flush=True)
            breakpoint()
"""


@pytest.mark.row("4")
def test_a_worker_in_a_debugger_is_not_taken_for_a_stuck_one(service: Service) -> None:
    """One is traced, as by gdb and strace, with ptrace(2); one is in breakpoint(); one has been entered by pydevd.

    A fourth one is in breakpoint() while it starts.
    """
    service.append("mysite/urls", DEBUGGED)
    service.write("mysite/debugger", DEBUGGER)
    options = ["--heartbeat-timeout-seconds", "2", "--warmup", "mysite.debugger.warm_up"]
    with service.running(*options, workers=3, PYTHONBREAKPOINT="mysite.debugger.stop") as running:
        workers = limit_next_starts(service, running, 4)
        (service.folder / "debug").touch()
        running.signal(signal.SIGTTIN)
        running.server.wait_for("^starting$")
        traced = int(running.server.get("/agree").split()[-2])
        with traced_by_us(traced), open_request(running, "/breaks") as breaks:
            breaking = int(running.server.wait_for(r"^breaks (\d+)")[1])
            with open_request(running, "/attached") as attached:
                entered = int(running.server.wait_for(r"^attached (\d+)")[1])
                assert read_until(breaks, b"\r\n\r\n" + str(breaking).encode())
                assert read_until(attached, b"\r\n\r\n" + str(entered).encode())
        assert {traced, breaking, entered} == set(workers)
        until(lambda: running.server.get("/who").split()[-2] == str(traced).encode(), lambda: running.server.output)
        assert running.wait_for_workers(7)[3:6] == workers
        assert all(map(is_alive, running.started[3:])), running.server.output
        assert running.stop() == 0


@contextmanager
def traced_by_us(pid: int) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0:
        pytest.skip(f"processes may not trace others here: {os.strerror(ctypes.get_errno())}")
    try:
        os.waitpid(pid, 0)
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, pid, None, None)
