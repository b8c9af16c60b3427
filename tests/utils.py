"""Real projects in temporary folders, served by real processes, with deadlines."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DEADLINE_SECONDS = 60  # generous: machines are slow when many tests run at once

MANAGE = """
    import os, sys
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""
SETTINGS = """
    SECRET_KEY = "test"
    DEBUG = True
    ALLOWED_HOSTS = ["*"]
    ROOT_URLCONF = "mysite.urls"
    INSTALLED_APPS = ["django_asgi_deploy"]
    USE_TZ = True
"""
URLS = """
    import asyncio, logging, os, time
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        return HttpResponse("Hello")

    async def endless(request):
        from django.http import StreamingHttpResponse
        async def events():
            yield b"data: first\\n\\n"
            await asyncio.Event().wait()
        return StreamingHttpResponse(events())

    def hang(request):
        print("hanging", flush=True)
        time.sleep(60)

    urlpatterns = [path("", hello), path("endless", endless), path("hang", hang)]
"""
ASGI = """
    from django_asgi_deploy.asgi import get_asgi_application
    application = get_asgi_application("mysite.settings")
"""


class Site:
    """A Django project in a folder; files are given as indented text and written over the defaults."""

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        defaults = {"manage": MANAGE, "mysite/__init__": "", "mysite/settings": SETTINGS, "mysite/urls": URLS}
        for name, text in (defaults | {"mysite/asgi": ASGI}).items():
            self.write(name, text)
        for name, text in files.items():
            self.write(name.replace("__", "/"), text)

    def write(self, name: str, text: str) -> Path:
        file = self.folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def append(self, name: str, text: str) -> None:
        with (self.folder / f"{name}.py").open("a") as file:
            file.write(textwrap.dedent(text))

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.py").unlink()

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``manage.py runasgi ...`` until it ends by itself."""
        return run_to_end([sys.executable, "manage.py", "runasgi", *arguments], self.folder, environment)

    def serve(self, *arguments: str, **environment: str):
        """``manage.py runasgi 0 ...`` as a context manager giving the Server."""
        if not any(each in ("--bind", "--print-config") for each in arguments):
            arguments = ("127.0.0.1:0", *arguments)
        return run_server([sys.executable, "manage.py", "runasgi", *arguments], self.folder, environment)


def clean_environment(changes: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what would reach into the server under test."""
    foreign = ("DJANGO_", "ASGI_DEPLOY_", "WEB_CONCURRENCY", "PORT", "NO_COLOR", "PYTHONWARNINGS", "UVICORN_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONUNBUFFERED": "1"} | (changes or {})


def run_to_end(
    command: Sequence[str], folder: Path, environment: dict[str, str] | None = None, **options: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,  # type: ignore[call-overload]
    )


class Server:
    """A running server process and everything it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float = DEADLINE_SECONDS) -> re.Match[str]:
        """The first match of ``pattern`` in a line, now or later."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, seconds)
            match = found()
        assert match, f"no line matches {pattern!r} in:\n{self.output}"
        return match

    def wait_for_line(self, number: int, seconds: float = DEADLINE_SECONDS) -> None:
        """Until there are more than ``number`` lines, or will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.lines) > number or self._ended, seconds)

    @property
    def url(self) -> str:
        return self.wait_for(r"^Serving (https?://\S+)")[1]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE_SECONDS)

    def get(self, path: str = "/") -> bytes:
        """The raw answer to a GET on a connection of its own; HTTP/1.0, so that the body isn't chunked."""
        with self.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def stop(self, sig: signal.Signals = signal.SIGTERM, seconds: float = DEADLINE_SECONDS) -> int:
        """The exit status after ``sig``."""
        self.process.send_signal(sig)
        return self.wait(seconds)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        status = self.process.wait(seconds)
        self._reader.join(DEADLINE_SECONDS)
        return status


@contextmanager
def run_server(
    command: Sequence[str], folder: Path, environment: dict[str, str] | None = None, **options: object
) -> Iterator[Server]:
    """The server that ``command`` starts, ended at the latest when the block is left."""
    process: subprocess.Popen[str] = subprocess.Popen(
        command,
        cwd=folder,
        env=clean_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, **options},  # type: ignore[call-overload]
    )
    server = Server(process)
    try:
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        server._reader.join(DEADLINE_SECONDS)
        process.stdout.close()  # type: ignore[union-attr]


def duration(action) -> float:
    """Seconds that ``action`` took; for deadlines that are promised, with a wide margin."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def until(holds: Callable[[], bool], seconds: float = DEADLINE_SECONDS) -> None:
    """Ask again until it is true, for what nobody tells."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it didn't come true in time"
        time.sleep(0.02)
