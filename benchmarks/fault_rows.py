"""What faults.py measures: for each row of docs/reliability.rst what happens, what was promised, and figures.

A measurement yields lines of text. Every loop is bounded; every process is ended where its block is left.
"""

import os
import re
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.chaos.load import Connection, Load  # noqa: E402 - after the path is set
from tests.chaos.service import (  # noqa: E402
    Running,
    Service,
    all_children,
    is_alive,
    open_request,
    read_to_end,
    read_until,
    until,
)
from tests.utils import run_server  # noqa: E402

RATE = 150  # requests a second, as the other servers had
RESTARTS = 3
BROKEN = "import this_is_missing\n"
ECHO = """
async def echo(request):
    return answer(str(len(request.body)))
async def pour(request):
    async def water():
        while True:
            yield b"w" * 65536
    return StreamingHttpResponse(water())
urlpatterns += [path("echo", echo), path("pour", pour)]
from django.conf import settings
settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
"""


@dataclass(frozen=True)
class Row:
    id: str
    what: str
    goal: str
    measure: Callable[[int], Iterator[str]]


def service() -> Service:
    return Service(Path(tempfile.mkdtemp(prefix="faults-")))


def in_seconds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} s (median of {len(values)}, at most {max(values):.2f})"


def counted(results: Iterator[str]) -> str:
    return ", ".join(f"{number:,} {result}" for result, number in sorted(Counter(results).items()))


# ------------------------------------------------------------------ restarts and crashes


def rolling_restart(rounds: int) -> Iterator[str]:
    results: list[str] = []
    gaps, rolls, boots = [], [], []
    for _ in range(2 * rounds):
        began = time.monotonic()
        with service().running() as running:
            running.wait_until_ready()
            boots.append(time.monotonic() - began)
            with Load(running.server.port, rate=RATE) as load:
                for _ in range(RESTARTS):
                    rolls.append(_restart(running, load))
                load.wait_for_more(3 * RATE)
            gaps.append(load.longest_gap())
            results += [f"{each.kind} {each.result}" for each in load.outcomes]
    lost = sum(not result.endswith(" ok") for result in results)
    yield f"{len(rolls)} restarts in {len(gaps)} samples, {len(results):,} requests, {lost} lost"
    yield counted(iter(results))
    yield f"longest time without an answer, of each sample: {' '.join(f'{gap * 1000:.0f}' for gap in gaps)} ms"
    yield f"all new workers serve after {in_seconds(rolls)}; a start takes {in_seconds(boots)}"


def _restart(running: Running, load: Load) -> float:
    load.wait_for_more(RATE)
    before, started = len(running.started), time.monotonic()
    running.signal(signal.SIGHUP)
    running.wait_for_workers(before + 2)
    seconds = time.monotonic() - started
    until(lambda: not any(map(is_alive, running.started[:-2])))
    return seconds


def killed_worker(rounds: int) -> Iterator[str]:
    seconds, lost = [], []
    for _ in range(rounds):
        with service().running() as running:
            victim = running.wait_until_ready()[0]
            with Load(running.server.port, rate=RATE) as load:
                load.wait_for_more(100)
                started = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                newest = running.wait_for_workers(3)[-1]
                load.wait_for(lambda outcomes, pid=newest: any(each.body.startswith(f"{pid} ") for each in outcomes))
                seconds.append(time.monotonic() - started)
            lost.append(len(load.lost))
    yield f"lost per kill: {' '.join(map(str, lost))}; the new worker has answered after {in_seconds(seconds)}"


def five_killed(rounds: int) -> Iterator[str]:
    lost = []
    for _ in range(rounds):
        with service().running() as running:
            steady = running.wait_until_ready()[0]
            with Load(running.server.port, rate=RATE) as load:
                for number in range(3, 8):
                    os.kill(max(running.started[-1:], key=lambda pid: pid != steady), signal.SIGKILL)
                    running.wait_for_workers(number)
            lost.append(len(load.lost))
    yield f"lost in five kills: {' '.join(map(str, lost))}; goes on, {rounds} times of {rounds}"


# ------------------------------------------------------------------ the end


def stop_under_load(rounds: int) -> Iterator[str]:
    results: list[str] = []
    for _ in range(rounds):
        with service().running() as running:
            running.wait_until_ready()
            with Load(running.server.port, rate=RATE) as load:
                load.wait_for_more(100)
                with open_request(running, "/slow?s=0.5") as sock:
                    running.server.wait_for(r"^slow \d+")
                    running.signal(signal.SIGTERM)
                    assert b"200 OK" in read_to_end(sock)
                assert running.server.wait() == 0
            results += [each.result for each in load.outcomes]
    yield f"{counted(iter(results))}; the open request of each was answered"


def stop_with_idle(rounds: int) -> Iterator[str]:
    kinds: dict[str, Callable[[Running], list[Connection]]] = {
        "nothing open": lambda running: [],
        "50 idle connections": _idle,
        "50 silent connections": lambda running: [Connection(running.server.port) for _ in range(50)],
    }
    for name, prepare in kinds.items():
        seconds = []
        for _ in range(rounds):
            with service().running() as running:
                running.wait_until_ready()
                connections = prepare(running)
                seconds.append(_stop(running))
                for connection in connections:
                    connection.close()
        yield f"{name}: {in_seconds(seconds)}"


def _stop(running: Running) -> float:
    started = time.monotonic()
    assert running.stop() == 0
    return time.monotonic() - started


def _idle(running: Running) -> list[Connection]:
    connections = [Connection(running.server.port) for _ in range(50)]
    for connection in connections:
        connection.send("/who")
        connection.read()
    return connections


def stop_with_stream(rounds: int) -> Iterator[str]:
    for name, path, seconds, second in (
        ("a stream that listens", "/polite", 20, None),
        ("one that doesn't, GRACEFUL_TIMEOUT_SECONDS = 2", "/endless", 2, None),
        ("after a second SIGTERM", "/endless", 20, signal.SIGTERM),
    ):
        measured = []
        for _ in range(rounds):
            with service().running("--graceful-timeout-seconds", str(seconds)) as running:
                running.wait_until_ready()
                with open_request(running, path) as sock:
                    read_until(sock, b"tick")
                    running.signal(signal.SIGTERM)
                    started = time.monotonic()
                    if second:
                        running.server.wait_for("SIGTERM came")
                        running.signal(second)
                    assert running.server.wait() == 0
                    measured.append(time.monotonic() - started)
        yield f"{name}: {in_seconds(measured)}"


def stop_while_starting(rounds: int) -> Iterator[str]:
    for where, import_time, lifespan in (
        ("import", "time.sleep(60)", "pass"),
        ("lifespan", "pass", "await asyncio.Event().wait()"),
        ("lifespan that blocks the loop", "pass", "time.sleep(60)"),
    ):
        seconds = []
        for _ in range(rounds):
            site = service()
            site.write("mysite/asgi", HANGING.format(import_time=import_time, lifespan=lifespan))
            with site.running() as running:
                running.server.wait_for(f"^hanging in {'import' if where == 'import' else 'lifespan'}")
                seconds.append(_stop(running))
        yield f"hanging {where}: {in_seconds(seconds)}"


HANGING = """
import asyncio, time
print("hanging in import", flush=True)
{import_time}
async def application(scope, receive, send):
    await receive()
    print("hanging in lifespan", flush=True)
    {lifespan}
"""


# ------------------------------------------------------------------ stuck workers


def blocked(rounds: int) -> Iterator[str]:
    yield from _stuck(rounds, lambda running: running.server.wait_for(r"^blocking (\d+)")[1], "/block")


def stopped(rounds: int) -> Iterator[str]:
    def stop(running: Running) -> str:
        os.kill(running.started[0], signal.SIGSTOP)
        return str(running.started[0])

    yield from _stuck(rounds, stop, "/who")


def _stuck(rounds: int, make: Callable[[Running], str], path: str) -> Iterator[str]:
    said, replaced, results = [], [], []
    for _ in range(rounds):
        with service().running("--heartbeat-timeout-seconds", "4") as running, ExitStack() as stack:
            running.wait_until_ready()
            stack.enter_context(open_request(running, path))
            victim = make(running)
            started = time.monotonic()
            with Load(running.server.port, rate=RATE) as load:
                running.server.wait_for(rf"The event loop of worker {victim} has stood still")
                said.append(time.monotonic() - started)
                running.wait_for_workers(3)
                replaced.append(time.monotonic() - started)
            results += [each.result for each in load.outcomes if each.kind == "new"]
    yield f"stacks after {in_seconds(said)}, replaced after {in_seconds(replaced)} with HEARTBEAT_TIMEOUT_SECONDS = 4"
    yield f"new connections meanwhile: {counted(iter(results))}"


# ------------------------------------------------------------------ broken code


def broken_at_start(rounds: int) -> Iterator[str]:
    seconds, lines = [], []
    for _ in range(rounds):
        site = service()
        site.write("mysite/asgi", BROKEN)
        started = time.monotonic()
        with site.running() as running:
            assert running.server.wait() == 3
            seconds.append(time.monotonic() - started)
            lines.append(len(running.server.lines))
    yield f"status 3 after {in_seconds(seconds)}, {max(lines)} lines"


def broken_at_reload(rounds: int) -> Iterator[str]:
    results: list[str] = []
    breaks = 0
    for _ in range(rounds):
        site = service()
        site.write("mysite/models", "\n")
        with site.running() as running:
            running.wait_until_ready()
            with Load(running.server.port, rate=RATE) as load:
                for module in ("mysite/asgi", "mysite/settings", "mysite/urls", "mysite/models"):
                    _break_and_mend(site, running, module)
                    breaks += 1
                    load.wait_for_more(20)
            results += [each.result for each in load.outcomes]
    yield f"{breaks} broken versions, each mended: {counted(iter(results))}"


def _break_and_mend(site: Service, running: Running, module: str) -> None:
    file = site.folder / f"{module}.py"
    good = file.read_text() if file.exists() else ""
    serving, failed = len(running.started), running.server.output.count("goes on serving")
    site.write(module, BROKEN)
    running.signal(signal.SIGHUP)
    until(lambda: running.server.output.count("goes on serving") > failed, lambda: running.server.output)
    site.write(module, good)
    running.signal(signal.SIGHUP)
    running.wait_for_workers(serving + 2)


def port_in_use(rounds: int) -> Iterator[str]:
    for owner in ("another program", "another instance"):
        seconds = []
        for _ in range(rounds):
            with ExitStack() as stack:
                if owner == "another program":
                    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                    port = listener.getsockname()[1]
                else:
                    first = stack.enter_context(service().running())
                    first.wait_until_ready()
                    port = first.server.port
                started = time.monotonic()
                second = stack.enter_context(_runasgi(service(), port))
                assert second.wait() == 1
                seconds.append(time.monotonic() - started)
                assert f"127.0.0.1:{port} is in use by pid" in second.output
        yield f"{owner}: refused after {in_seconds(seconds)}, with address and pid, status 1"


@contextmanager
def _runasgi(site: Service, port: int, *arguments: str, **options: object) -> Iterator[object]:
    command = [sys.executable, "manage.py", "runasgi", str(port), "--workers", "2", *arguments]
    with run_server(command, site.folder, **options) as server:  # type: ignore[arg-type]
        yield server


# ------------------------------------------------------------------ bad clients


def endless_headers(rounds: int) -> Iterator[str]:
    head = b"GET /who HTTP/1.1\r\nHost: localhost\r\n"
    endless = {
        "header": (head + b"X-Big: ", b"u" * 65536),
        "headers": (head, b"X-Some: " + b"h" * 1000 + b"\r\n"),
        "URL": (b"GET /", b"u" * 65536),
    }
    with service().running() as running:
        workers = running.wait_until_ready()
        for name, (start, block) in endless.items():
            before = max(map(_resident_mb, workers))
            taken = [_pour(running, start, block) for _ in range(rounds)]
            status = Counter(answer for _, answer in taken).most_common(1)[0][0]
            grown = max(map(_resident_mb, workers)) - before
            most = max(sent for sent, _ in taken) / 1e6
            yield f"endless {name}: {status}, cut after at most {most:.1f} MB, memory +{grown:.0f} MB"


def _pour(running: Running, start: bytes, block: bytes) -> tuple[int, str]:
    """Bytes until the server cut it, 64 MB at most, and the status that it gave."""
    sent, answer = len(start), b""
    with running.server.connect() as sock:
        try:
            sock.sendall(start)
            while sent < 64e6:
                sock.sendall(block)
                sent += len(block)
        except OSError:
            pass
        with suppress(OSError):  # reset: more was sent than was read
            answer = sock.recv(4096)
    return sent, answer.split(b" ")[1].decode() if answer else "cut"


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def slow_clients(rounds: int) -> Iterator[str]:
    site = service()
    site.append("mysite/urls", ECHO)
    limits = ["header", "body", "send"]
    arguments = [word for name in limits for word in (f"--{name}-timeout-seconds", "3")]
    kinds = {
        "slow headers": b"GET /who HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        "silence": b"",
        "slow body": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        "a client that stops reading": b"GET /pour HTTP/1.1\r\nHost: localhost\r\n\r\n",
    }
    with site.running("--keep-alive-seconds", "3", *arguments) as running, ExitStack() as stack:
        running.wait_until_ready()
        with Load(running.server.port, rate=30) as load:
            sockets = {}
            started = time.monotonic()
            for kind, first in kinds.items():
                for _ in range(35):
                    sock = stack.enter_context(running.server.connect())
                    sock.sendall(first)
                    sockets[sock] = kind
            ports = {sock.getsockname()[1] for sock in sockets}
            until(lambda: ports <= _held_by_the_server(running.server.port))  # accepted, all of them
            closed = _closed_at(running, sockets, started)
        for kind in kinds:
            yield f"{kind}, limit 3 s: {len(closed[kind])} of 35 closed, after {in_seconds(closed[kind])}"
        slowest = max(each.ended_at - each.sent_at for each in load.outcomes)
        results = counted(each.result for each in load.outcomes)
        yield f"others meanwhile (140 slow ones): {results}, the slowest {slowest * 1000:.0f} ms"


def _closed_at(running: Running, sockets: dict[socket.socket, str], began: float) -> dict[str, list[float]]:
    """Seconds until the server had closed each, by kind. It is asked of the kernel: one of them doesn't read."""
    closed: dict[str, list[float]] = {kind: [] for kind in sockets.values()}
    left = dict(sockets)
    while left and time.monotonic() < began + 20:
        held = _held_by_the_server(running.server.port)
        for sock, kind in list(left.items()):
            if sock.getsockname()[1] not in held:
                closed[left.pop(sock)].append(time.monotonic() - began)
            elif kind.startswith("slow"):
                with suppress(OSError):  # it is being closed
                    sock.send(b"a")
        time.sleep(0.2)
    return closed


def _held_by_the_server(port: int) -> set[int]:
    """Ports of the clients whose connections a process at ``port`` has open; what it has closed has no inode."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[2][-4:], 16) for line in lines if int(line[1][-4:], 16) == port and line[9] != "0"}


def out_of_descriptors(rounds: int) -> Iterator[str]:
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))  # noqa: E731
    with (
        _runasgi(service(), 0, "--keep-alive-seconds", "600", preexec_fn=limit) as server,
        ExitStack() as stack,
    ):
        running = Running(server, 2)  # type: ignore[arg-type]
        workers = running.wait_until_ready()
        silent = [stack.enter_context(running.server.connect()) for _ in range(600)]
        running.server.wait_for("New connections wait: Too many open files")
        time.sleep(1)
        before, began, lines = sum(map(_cpu_seconds, workers)), time.monotonic(), len(running.server.lines)
        time.sleep(8)  # what is measured
        cores = (sum(map(_cpu_seconds, workers)) - before) / (time.monotonic() - began)
        for sock in silent:
            sock.close()
        began = time.monotonic()
        assert b"200 OK" in running.server.get("/who")
        seconds = time.monotonic() - began
        said = running.server.output.count("New connections wait")
        yield (
            f"{said} line{'s' * (said != 1)}, {len(running.server.lines) - lines} in the eight seconds, "
            f"{cores:.2f} cores busy; a request afterwards took {seconds:.2f} s"
        )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------ memory, the supervisor's own end, sharing


def memory(rounds: int) -> Iterator[str]:
    """Ours and gunicorn's, one after the other, so that they have the same machine."""
    servers = {
        "ours": our_memory,
        "gunicorn --preload, its own worker": lambda: gunicorns_memory("asgi"),
        "gunicorn --preload, uvicorn's worker": lambda: gunicorns_memory("uvicorn_worker.UvicornWorker"),
    }
    taken = [{name: measure() for name, measure in servers.items()} for _ in range(rounds)]
    for name in servers:
        megabytes, seconds = zip(*(each[name] for each in taken), strict=True)
        ratio = statistics.median(each["ours"][1] / each[name][1] for each in taken)
        beside = f"; ours takes {ratio:.2f} times that (median of the pairs)" if name != "ours" else ""
        yield f"{name}: {statistics.median(megabytes):.0f} MB, first answer after {in_seconds(seconds)}{beside}"


def our_memory() -> tuple[float, float]:
    site = six_apps()
    with free_port() as port:
        command = ["manage.py", "runasgi", str(port), "--workers", "4"]
    return measured(site, command, port, processes=7)


def gunicorns_memory(worker: str) -> tuple[float, float]:
    site = six_apps()
    site.write(
        "mysite/stock", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
    )
    with free_port() as port:
        command = ["-m", "gunicorn", "mysite.stock:application", "--preload", "--workers", "4"]
    command += ["--worker-class", worker, "--bind", f"127.0.0.1:{port}"]
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
        until(lambda: len(all_children(pid)) == processes - 1)
        with Load(port, each=1) as load:
            load.wait_for_more(200)
        until(lambda: len(all_children(pid)) == processes - 1)
        return sum(map(pss, [pid, *all_children(pid)])), seconds


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
    for name, path, wait in (
        ("nothing in flight", "", ""),
        ("a request of 1 s in flight", "/slow?s=1", "^slow"),
    ):
        refused, gone = [], []
        for _ in range(rounds):
            with service().running() as running, ExitStack() as stack:
                workers = running.wait_until_ready()
                sock = stack.enter_context(open_request(running, path)) if path else None
                running.server.wait_for(wait)
                started = time.monotonic()
                os.kill(running.supervisor, signal.SIGKILL)
                until(lambda run=running: _refuses(run.server.port))
                refused.append(time.monotonic() - started)
                if sock:
                    read_until(sock, b"200 OK")
                until(lambda pids=workers: not any(map(is_alive, pids)))
                gone.append(time.monotonic() - started)
        yield f"{name}: refused after {in_seconds(refused)}, workers gone after {in_seconds(gone)}"


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.05).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False


def sharing(rounds: int) -> Iterator[str]:
    for _ in range(rounds):
        with service().running("--keep-alive-seconds", "600", workers=4) as running, ExitStack() as stack:
            running.wait_until_ready()
            clients = [stack.enter_context(open_request(running, "/who")) for _ in range(400)]
            pids = [read_until(client, b" 1").rpartition(b"\r\n")[2].split()[0] for client in clients]
        yield f"{', '.join(map(str, sorted(Counter(pids).values())))}"


ROWS = [
    Row(
        "1",
        f"Rolling restart, SIGHUP three times, {RATE} requests/s",
        "0 lost of 10,000 or more, kept-alive, new and pipelined; no gap above 150 ms; all new workers serve within "
        "start + 2 s",
        rolling_restart,
    ),
    Row("2", "``kill -9`` of a worker", "Only what was in flight there; back within 0.5 s", killed_worker),
    Row("2b", "Five in a row", "Survives; backs off and says so; ends with 1 only if no worker can start", five_killed),
    Row(
        "3a", "SIGTERM under load", "All accepted is answered; new ones refused, never reset; status 0", stop_under_load
    ),
    Row("3b", "SIGTERM with idle or silent connections", "Within 1 s", stop_with_idle),
    Row(
        "3c",
        "SIGTERM with an endless stream",
        "Told, cut at GRACEFUL_TIMEOUT_SECONDS; a second signal ends at once",
        stop_with_stream,
    ),
    Row("3d", "SIGTERM while it starts", "Within 1 s", stop_while_starting),
    Row(
        "4",
        "A blocked event loop",
        "Stacks at half of HEARTBEAT_TIMEOUT_SECONDS, replaced at the whole; others take every new connection",
        blocked,
    ),
    Row("4b", "SIGSTOP of a worker", "As 4", stopped),
    Row("5", "``asgi.py`` raises at the start", "Status 3 at once, one short message with own frames", broken_at_start),
    Row("5b", "Broken code at SIGHUP", "The old version serves, 0 lost; mended: new code", broken_at_reload),
    Row("6", "Port in use; a second instance", "Refused, with address and owner, status 1", port_in_use),
    Row("7", "Endless header, headers, URL", "431 or 414 at MAX_HEADER_BYTES, closed", endless_headers),
    Row("7s", "Slow headers, silence, slow body, no reading", "Closed at the limit; 140 starve nobody", slow_clients),
    Row("7f", "Out of file descriptors", "Recovers, quiet, one line", out_of_descriptors),
    Row(
        "8",
        "Memory of four workers (PSS); first answer",
        "At most 100 MB; first answer within 1.2 times gunicorn --preload's",
        memory,
    ),
    Row(
        "9",
        "``kill -9`` of the supervisor",
        "Listener closed at once, in-flight finished, gone in 3 s",
        without_supervisor,
    ),
    Row("10", "400 long-lived connections, four workers", "No worker above 1.5 times the mean (150)", sharing),
]
