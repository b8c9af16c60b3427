"""The servers that are compared, how each is started, and how one is known to be up."""

import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import processes
from environment import BIN, HERE, PYTHON, clean_environment
from errors import BenchmarkError

SITE = HERE / "site"
THREADS = 8
START_SECONDS = 30.0
REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """
    ``command``: the program in .venv-bench and its arguments; ``{port}`` stands for the port.

    ``keeps_connections``: whether it can run with CONN_MAX_AGE=60. Django's own ASGI handler can't: every request has
    a thread of its own, whose connection nobody uses again, until PostgreSQL has "too many clients".
    """

    name: str
    title: str
    command: tuple[str, ...]
    keeps_connections: bool = False
    is_ours: bool = False

    @property
    def is_installed(self) -> bool:
        return (BIN / self.command[0]).exists()


def _server(name: str, title: str, command: str, **facts: bool) -> Server:
    return Server(name, title, tuple(command.split()), **facts)


def _ours(command: str) -> Server:
    return _server("ours", "django-asgi-deploy", command, keeps_connections=True, is_ours=True)


UVICORN = "uvicorn {} --host 127.0.0.1 --port {{port}} --no-access-log --log-level warning"

# How ours is run: by the command, the way users do; what the command adds can be told apart by the other two.
OURS = {
    "runasgi": _ours("python manage.py runasgi 127.0.0.1:{port}"),
    "uvicorn": _ours(UVICORN.format("benchsite.asgi:application")),
    "handler": _ours(UVICORN.format("benchsite.handler:application --lifespan off")),
}
STOCK = _server("stock", "Django, uvicorn", UVICORN.format("benchsite.stock:application --lifespan off"))
RAW = _server("raw", "raw ASGI, uvicorn", UVICORN.format("benchsite.raw:application --lifespan off"))

GRANIAN = "granian --host 127.0.0.1 --port {port} --workers 1 --no-ws --log-level warning --interface"
GUNICORN = "gunicorn --bind 127.0.0.1:{port} --workers 1 --log-level warning"
PEERS = [
    _server("granian-asgi", "Django, granian ASGI", f"{GRANIAN} asgi benchsite.stock:application"),
    _server(
        "granian-wsgi",
        "Django, granian WSGI",
        f"{GRANIAN} wsgi --blocking-threads {THREADS} benchsite.wsgi:application",
        keeps_connections=True,
    ),
    _server("gunicorn-asgi", "Django, gunicorn asgi", f"{GUNICORN} --worker-class asgi benchsite.stock:application"),
    _server(
        "gunicorn-gthread",
        "Django, gunicorn gthread",
        f"{GUNICORN} --worker-class gthread --threads {THREADS} benchsite.wsgi:application",
        keeps_connections=True,
    ),
    _server(
        "hypercorn",
        "Django, hypercorn",
        "hypercorn --bind 127.0.0.1:{port} --workers 1 --worker-class uvloop --log-level warning"
        " benchsite.stock:application",
    ),
    _server("daphne", "Django, daphne", "daphne -v 0 -b 127.0.0.1 -p {port} benchsite.stock:application"),
]
NAMES = ["ours", "stock", *(peer.name for peer in PEERS)]


def chosen(names: list[str], ours: str) -> list[Server]:
    known = {"ours": OURS[ours], "stock": STOCK} | {peer.name: peer for peer in PEERS}
    return [known[name] for name in NAMES if name in names]


@dataclass(frozen=True)
class Conditions:
    """What every server of a run has in common."""

    package: Path  # the checkout that ours is taken from
    cores: processes.Cores
    database: str = ""
    file: str = ""
    settings: str = "benchsite.settings"
    max_age: int = 0

    def with_settings(self, settings: str) -> "Conditions":
        return replace(self, settings=settings)

    def with_max_age(self, seconds: int) -> "Conditions":
        return replace(self, max_age=seconds)

    def environment(self, is_ours: bool) -> dict[str, str]:
        return clean_environment() | {
            "BENCH_CONN_MAX_AGE": str(self.max_age),
            "BENCH_DATABASE": self.database,
            "BENCH_FILE": self.file,
            "BENCH_OURS": "1" if is_ours else "0",
            "DJANGO_SETTINGS_MODULE": self.settings,
            "PYTHONPATH": f"{SITE}:{self.package}",
        }


@dataclass(frozen=True)
class Running:
    server: Server
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def usage(self) -> processes.Usage:
        return processes.usage(self.process.pid)

    def tracebacks(self) -> list[str]:
        """The last line of each traceback in its log."""
        found = []
        inside = False
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("Traceback "):
                inside = True
            elif inside and line and not line.startswith((" ", "\t")):
                found.append(line)
                inside = False
        return found


@contextmanager
def running(server: Server, conditions: Conditions, path: str) -> Iterator[Running]:
    """The server, pinned to its core and answering ``path`` with 200; it is ended on the way out."""
    port = _free_port()
    program, *arguments = [part.format(port=port) for part in server.command]
    with tempfile.TemporaryDirectory(prefix="bench-log-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output, processes.pinned(conditions.cores.server):
            process = subprocess.Popen(
                [str(BIN / program), *arguments],
                cwd=SITE,
                env=conditions.environment(server.is_ours),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            started = Running(server, port, process, log)
            _wait_until_up(started, path)
            yield started
        finally:
            processes.stop(process)


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return candidate.getsockname()[1]


def _wait_until_up(started: Running, path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if started.process.poll() is not None:
            raise BenchmarkError(f"ended at start with status {started.process.returncode}: {_last_line(started.log)}")
        with suppress(OSError, http.client.HTTPException):
            status, body = started.get(path)
            if status != 200:
                raise BenchmarkError(f"answered {status} instead of 200: {_last_line(started.log) or body[:200]}")
            return
        time.sleep(0.05)
    raise BenchmarkError(f"did not answer within {START_SECONDS:g} s: {_last_line(started.log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "(it printed nothing)"


def migrate(conditions: Conditions) -> None:
    command = [str(PYTHON), "manage.py", "migrate", "--verbosity", "0"]
    environment = conditions.environment(is_ours=False)
    done = subprocess.run(command, cwd=SITE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"manage.py migrate failed: {done.stderr.strip().splitlines()[-1]}")
