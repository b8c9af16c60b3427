"""Milliseconds and megabytes behind docs/reliability.rst: the faults of tests/chaos, measured instead of asserted.

    python benchmarks/faults.py [ROUNDS]

Needs Linux, and a machine that does nothing else. Prints the rows of the table; every loop is bounded.
"""

import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chaos.load import Connection, Load  # noqa: E402 - after the path is set
from tests.chaos.service import Running, Service, is_alive, open_request, read_to_end, read_until, until  # noqa: E402

REQUESTS = 10_000


def service() -> Service:
    return Service(Path(tempfile.mkdtemp(prefix="faults-")))


def rolling_restart() -> Iterator[str]:
    with service().running() as running:
        running.wait_until_ready()
        with Load(running.server.port) as load:
            seconds, restarts, began = [], 0, time.monotonic()
            while len(load.outcomes) < REQUESTS:
                load.wait_for_more(100)
                before, started = len(running.started), time.monotonic()
                running.signal(signal.SIGHUP)
                running.wait_for_workers(before + 2)
                seconds.append(time.monotonic() - started)
                restarts += 1
                until(lambda: not any(map(is_alive, running.started[:-2])))
            gap = load.longest_gap(since=began)
        kinds = ", ".join(f"{number} {kind} {result}" for (kind, result), number in sorted(load.summary().items()))
        yield f"{restarts} restarts, {len(load.outcomes)} requests, {len(load.lost)} lost ({kinds})"
        yield f"longest time without an answer {gap * 1000:.0f} ms; all new workers serve after {in_seconds(seconds)}"


def killed_worker(rounds: int) -> Iterator[str]:
    seconds, lost = [], []
    for _ in range(rounds):
        with service().running() as running:
            victim = running.wait_until_ready()[0]
            with Load(running.server.port) as load:
                load.wait_for_more(100)
                started = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                newest = running.wait_for_workers(3)[-1]
                load.wait_for(lambda outcomes, pid=newest: any(each.body.startswith(f"{pid} ") for each in outcomes))
                seconds.append(time.monotonic() - started)
            lost.append(len(load.lost))
    yield f"lost per kill: {' '.join(map(str, lost))}; the new worker has answered after {in_seconds(seconds)}"


def stop(rounds: int, prepare: Callable[[Running], list[Connection]]) -> str:
    seconds = []
    for _ in range(rounds):
        with service().running() as running:
            running.wait_until_ready()
            connections = prepare(running)
            started = time.monotonic()
            assert running.stop() == 0
            seconds.append(time.monotonic() - started)
            for connection in connections:
                connection.close()
    return in_seconds(seconds)


def idle(running: Running) -> list[Connection]:
    connection = Connection(running.server.port)
    connection.send("/who")
    connection.read()
    return [connection]


def stop_under_load(rounds: int) -> Iterator[str]:
    total: dict[str, int] = {}
    for _ in range(rounds):
        with service().running() as running:
            running.wait_until_ready()
            with Load(running.server.port) as load:
                load.wait_for_more(100)
                with open_request(running, "/slow?s=0.5") as sock:
                    running.server.wait_for(r"^slow \d+")
                    running.signal(signal.SIGTERM)
                    assert b"200 OK" in read_to_end(sock)
                running.server.wait()
            for each in load.outcomes:
                total[each.result] = total.get(each.result, 0) + 1
    yield ", ".join(f"{number} {result}" for result, number in sorted(total.items()))


def blocked(rounds: int) -> Iterator[str]:
    seconds = []
    for _ in range(rounds):
        with service().running("--heartbeat-timeout-seconds", "4") as running:
            running.wait_until_ready()
            with open_request(running, "/block"):
                running.server.wait_for("^blocking")
                started = time.monotonic()
                running.wait_for_workers(3)
                seconds.append(time.monotonic() - started)
    yield f"replaced after {in_seconds(seconds)} with HEARTBEAT_TIMEOUT_SECONDS = 4"


def memory(rounds: int) -> Iterator[str]:
    megabytes, first = [], []
    for _ in range(rounds):
        started = time.monotonic()
        with service().running(workers=4) as running:
            running.server.wait_for("^Serving")
            read_until(open_request(running, "/who"), b"200 OK")
            first.append(time.monotonic() - started)
            running.wait_until_ready()
            with Load(running.server.port, each=1) as load:
                load.wait_for_more(200)
            children = Path(f"/proc/{running.supervisor}/task/{running.supervisor}/children").read_text().split()
            megabytes.append(sum(pss(int(pid)) for pid in [running.supervisor, *children]))
    yield f"{statistics.median(megabytes):.0f} MB, first answer after {in_seconds(first)}"


def pss(pid: int) -> float:
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def without_supervisor(rounds: int) -> Iterator[str]:
    seconds = []
    for _ in range(rounds):
        with service().running() as running:
            workers = running.wait_until_ready()
            started = time.monotonic()
            os.kill(running.supervisor, signal.SIGKILL)
            until(lambda pids=workers: not any(map(is_alive, pids)))
            seconds.append(time.monotonic() - started)
    yield f"workers gone after {in_seconds(seconds)}"


def in_seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s (median of {len(values)}, at most {max(values):.2f})"


def main(rounds: int) -> None:
    rows: list[tuple[str, Callable[[], Iterator[str]]]] = [
        ("1   rolling restart", rolling_restart),
        ("2   kill -9 of a worker", lambda: killed_worker(rounds)),
        ("3a  SIGTERM under load", lambda: stop_under_load(rounds)),
        ("3b  SIGTERM, nothing open", lambda: iter([stop(rounds, lambda running: [])])),
        ("3b  SIGTERM, idle connection", lambda: iter([stop(rounds, idle)])),
        ("3b  SIGTERM, silent connection", lambda: iter([stop(rounds, lambda run: [Connection(run.server.port)])])),
        ("4   blocked event loop", lambda: blocked(rounds)),
        ("8   memory of four workers", lambda: memory(rounds)),
        ("9   kill -9 of the supervisor", lambda: without_supervisor(rounds)),
    ]
    for name, measure in rows:
        for line in measure():
            print(f"{name:32} {line}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
