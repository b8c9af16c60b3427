"""Milliseconds and megabytes behind docs/reliability.rst: the faults of tests/chaos, measured instead of asserted.

    python benchmarks/faults.py [ROUNDS [ROW]]

Needs Linux, gunicorn and uvicorn-worker for row 8, and a machine that does nothing else.
Prints the rows of the table; every loop is bounded.
"""

import os
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chaos.load import Connection, Load  # noqa: E402 - after the path is set
from tests.chaos.service import Running, Service, children, is_alive, open_request, read_to_end, until  # noqa: E402
from tests.utils import run_server  # noqa: E402

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
    """Ours and gunicorn's, one after the other, so that both have the same machine."""
    ours, theirs = list(zip(*[(our_memory(), gunicorns_memory()) for _ in range(rounds)], strict=True))
    for name, measured in (("", ours), ("gunicorn --preload: ", theirs)):
        megabytes, seconds = zip(*measured, strict=True)
        yield f"{name}{statistics.median(megabytes):.0f} MB, first answer after {in_seconds(seconds)}"
    ratio = statistics.median(mine / other for (_, mine), (_, other) in zip(ours, theirs, strict=True))
    yield f"first answer: {ratio:.2f} times gunicorn's (median of the ratios of {rounds} pairs)"


def our_memory() -> tuple[float, float]:
    site = six_apps()
    with free_port() as port:
        command = ["manage.py", "runasgi", str(port), "--workers", "4"]
    return measured(site, command, port, processes=6)


def gunicorns_memory() -> tuple[float, float]:
    site = six_apps()
    site.write(
        "mysite/stock", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
    )
    with free_port() as port:
        command = ["-m", "gunicorn", "mysite.stock:application", "--preload", "--workers", "4"]
    command += ["--worker-class", "uvicorn_worker.UvicornWorker", "--bind", f"127.0.0.1:{port}"]
    return measured(site, command, port, processes=5)


def six_apps() -> Service:
    site = service()
    apps = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
    site.append("mysite/settings", f"INSTALLED_APPS += {[f'django.contrib.{name}' for name in apps]}\n")
    site.append(
        "mysite/settings", "SILENCED_SYSTEM_CHECKS = ['admin.E403', 'admin.E408', 'admin.E409', 'admin.E410']\n"
    )
    return site


@contextmanager
def free_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


def measured(site: Service, command: list[str], port: int, processes: int) -> tuple[float, float]:
    """Megabytes of all processes together when that many are there and have answered; seconds to the first answer."""
    started = time.monotonic()
    environment = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONDONTWRITEBYTECODE": ""}
    with run_server([sys.executable, *command], site.folder, environment) as server:
        while not answers(port):
            time.sleep(0.005)
        seconds = time.monotonic() - started
        pid = server.process.pid
        until(lambda: len(children(pid)) == processes - 1)
        with Load(port, each=1) as load:
            load.wait_for_more(200)
        until(lambda: len(children(pid)) == processes - 1)
        return sum(map(pss, [pid, *children(pid)])), seconds


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return b"200 OK" in sock.recv(4096)
    except OSError:
        return False


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


def in_seconds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s (median of {len(values)}, at most {max(values):.2f})"


def main(rounds: int, only: str = "") -> None:
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
        if not name.startswith(only):
            continue
        for line in measure():
            print(f"{name:32} {line}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, *sys.argv[2:3])
