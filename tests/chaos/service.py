"""A site under the supervisor, and its processes."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.utils import DEADLINE_SECONDS, Server, Site

URLS = """
    import asyncio, os, time
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path
    from django_asgi_deploy.shutdown import until_shutdown
    from mysite.version import VERSION

    def answer(text):
        return HttpResponse(text, headers={"Content-Length": len(text)})

    async def who(request):
        return answer(f"{os.getpid()} {VERSION}")

    async def slow(request):
        print(f"slow {os.getpid()}\\n", end="", flush=True)
        await asyncio.sleep(float(request.GET.get("s", "1")))
        return answer(f"{os.getpid()} {VERSION}")

    async def block(request):
        print(f"blocking {os.getpid()}\\n", end="", flush=True)
        time.sleep(60)

    async def ticks():
        try:
            while True:
                yield "data: tick\\n\\n"
                await asyncio.sleep(0.05)
        finally:
            print("the source is closed\\n", end="", flush=True)

    async def endless(request):
        return StreamingHttpResponse(ticks(), content_type="text/event-stream")

    async def polite(request):
        return StreamingHttpResponse(until_shutdown(ticks()), content_type="text/event-stream")

    urlpatterns = [path("", who), path("who", who), path("slow", slow), path("block", block),
                   path("endless", endless), path("polite", polite)]
"""
SETTINGS = """
    SECRET_KEY = "test"
    DEBUG = False
    ALLOWED_HOSTS = ["*"]
    ROOT_URLCONF = "mysite.urls"
    INSTALLED_APPS = ["django_asgi_deploy", "mysite"]
    USE_TZ = True
"""

# Each worker takes a ticket, and serves when it is let go.
TICKETS = """
    import pathlib, time

    def wait():
        number = 0
        while True:
            try:
                pathlib.Path(f"ticket{number}").touch(exist_ok=False)
                break
            except FileExistsError:
                number += 1
        print(f"ticket {number}\\n", end="", flush=True)
        while not pathlib.Path(f"go{number}").exists():
            time.sleep(0.01)
"""


class Service(Site):
    """Files as Site has them; ``running`` starts the supervisor with two workers unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, mysite__urls=URLS, mysite__settings=SETTINGS, mysite__version="VERSION = 1\n")

    @contextmanager
    def running(self, *arguments: str, workers: int = 2, **environment: str) -> Iterator["Running"]:
        # Edits within a second, of files of one size, would leave stale bytecode.
        environment = {"PYTHONDONTWRITEBYTECODE": "1", **environment}
        with self.serve("--workers", str(workers), *arguments, **environment) as server:
            yield Running(server, workers)


class Running:
    def __init__(self, server: Server, workers: int) -> None:
        self.server = server
        self.supervisor = server.process.pid
        self.number = workers

    def wait_until_ready(self) -> list[int]:
        """The pids of the first workers, when all of them serve."""
        self.server.wait_for("^Serving")
        return self.wait_for_workers(self.number)

    @property
    def started(self) -> list[int]:
        """The pids of all workers that have ever served, in their order."""
        return [int(match[1]) for line in self.server.lines if (match := re.search(r"Worker (\d+) serves", line))]

    def wait_for_workers(self, number: int) -> list[int]:
        """The pids of the first ``number`` workers that have served."""
        return until(lambda: self.started[:number] if len(self.started) >= number else None, lambda: self.server.output)

    def signal(self, sig: signal.Signals) -> None:
        os.kill(self.supervisor, sig)

    def stop(self) -> int:
        return self.server.stop()


def until(condition: Callable[[], object], explain: Callable[[], str] = str, seconds: float = DEADLINE_SECONDS):  # type: ignore[no-untyped-def]
    """The first true value of ``condition``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.01)
    return value


def limit_next_starts(service: Service, running: Running, seconds: int) -> list[int]:
    """BOOT_TIMEOUT_SECONDS for what starts from now on: the first start may take long on a busy machine.

    Returns the pids of the new version's workers.
    """
    before = running.wait_until_ready()
    service.append("mysite/settings", f"ASGI_DEPLOY = {{'BOOT_TIMEOUT_SECONDS': {seconds}}}\n")
    running.signal(signal.SIGHUP)
    newest = running.wait_for_workers(2 * running.number)[running.number :]
    until(lambda: not any(map(is_alive, before)), lambda: running.server.output)
    return newest


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def all_children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def children(supervisor: int) -> list[int]:
    """Those that load the project, or have loaded it: without the watch for the supervisor's end."""
    return [pid for pid in all_children(supervisor) if not _is_watch(pid)]


def watch_of(supervisor: int) -> int:
    """The watch for the supervisor's end."""
    (pid,) = until(lambda: [pid for pid in all_children(supervisor) if _is_watch(pid)])
    return pid


def _is_watch(pid: int) -> bool:
    """Whether it is a fork of the supervisor, and so has its command line."""
    try:
        return b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def open_request(running: Running, path: str) -> socket.socket:
    """A connection on which a request for ``path`` has been sent."""
    sock = running.server.connect()
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return sock


def read_until(sock: socket.socket, text: bytes) -> bytes:
    received = b""
    while text not in received:
        chunk = sock.recv(65536)
        assert chunk, received
        received += chunk
    return received


def read_to_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def let_go(service: Service, *numbers: int) -> None:
    for number in numbers:
        (service.folder / f"go{number}").touch()


def least_serving(running: Running, wanted: int) -> int:
    """How many served at the worst moment since there were so many as wanted."""
    serving, worst = 0, None
    for line in running.server.lines[:]:
        if re.search(r"Worker \d+ serves", line):
            serving += 1
        elif re.search(r"Worker \d+ has left", line) and "asked to stop" not in line:
            serving -= 1
        if serving >= wanted or worst is not None:
            worst = serving if worst is None else min(worst, serving)
    assert worst is not None
    return worst
