"""LIFESPAN, health and limits under other servers: each does it, Daphne too, which sends no lifespan."""

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, Server, Site, run_server

pytestmark = pytest.mark.real

SERVERS = {
    "uvicorn": ["uvicorn", "--port", "{port}"],
    "uvicorn without lifespan": ["uvicorn", "--lifespan", "off", "--port", "{port}"],
    "gunicorn": ["gunicorn", "-k", "asgi", "-b", "127.0.0.1:{port}"],
    "hypercorn": ["hypercorn", "-b", "127.0.0.1:{port}"],
    "granian": ["granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"],
    "daphne": ["daphne", "-b", "127.0.0.1", "-p", "{port}"],
}
AT_THE_FIRST_REQUEST = ("daphne", "uvicorn without lifespan")
NEVER_LEFT = ("uvicorn without lifespan",)  # it closes its loop, and asks nobody
ATTEMPTS = 3  # a free port may be taken meanwhile

OPTIONS = {
    "LIFESPAN": ["mysite.life.client", "mysite.life.lock"],
    "LIVE_PATH": "/livez",
    "READY_PATH": "/readyz",
    "READY_CHECKS": ["cache"],
    "MAX_BODY_BYTES": 1000,
    "REQUEST_TIMEOUT_SECONDS": 1,
    "MAX_IN_FLIGHT": 10,
}
LIFE = """
    from contextlib import asynccontextmanager, contextmanager

    @asynccontextmanager
    async def client(app):
        print("enter client", flush=True)
        yield {"client": "a client"}
        print("leave client", flush=True)

    @contextmanager
    def lock(app):
        print("enter lock", flush=True)
        yield {"lock": "a lock"}
        print("leave lock", flush=True)
"""
URLS = """
    import time
    from django.http import HttpResponse, JsonResponse
    from django.urls import path

    def state(request):
        return JsonResponse(dict(request.scope["state"]))

    def slow(request):
        time.sleep(2)
        return HttpResponse("late")

    urlpatterns = [path("state", state), path("slow", slow)]
"""


@contextmanager
def serving(name: str, site: Site) -> Iterator[tuple[Server, int]]:
    module = name.partition(" ")[0]
    require_package(module)
    for attempt in range(1, ATTEMPTS + 1):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = [argument.format(port=port) for argument in SERVERS[name]]
        with run_server([sys.executable, "-m", *arguments, "mysite.asgi:application"], site.folder) as server:
            if is_up(server, port):
                yield server, port
                return
        assert attempt < ATTEMPTS, server.output


def is_up(server: Server, port: int) -> bool:
    deadline = time.monotonic() + 2 * DEADLINE_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def ask(port: int, path: str, method: str = "GET", **options: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path, **options)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", SERVERS)
def test_the_layers_do_under_every_server_what_they_do_under_runasgi(name: str, tmp_path: Path) -> None:
    site = Site(tmp_path, mysite__life=LIFE, mysite__urls=URLS)
    site.append("mysite/settings", f"ASGI_DEPLOY = {OPTIONS}\n")
    with serving(name, site) as (server, port):
        if name not in AT_THE_FIRST_REQUEST:
            server.wait_for("enter lock")
        status, body = ask(port, "/state")
        state = json.loads(body)
        assert (status, state["client"], state["lock"]) == (200, "a client", "a lock")
        assert ask(port, "/livez") == (200, b'{"live": true}\n')
        assert ask(port, "/livez", "HEAD") == (200, b"")
        assert ask(port, "/readyz")[0] == 200
        assert ask(port, "/state", "POST", body=bytes(1001))[0] == 413
        assert ask(port, "/state", "POST", body=iter([bytes(600)] * 2), encode_chunked=True)[0] == 413
        assert ask(port, "/slow") == (504, b"504 Gateway Timeout")
        assert ask(port, "/state")[0] == 200
        server.stop()
    said = [line for line in server.lines if line.endswith((" client", " lock"))]
    left = [] if name in NEVER_LEFT else ["leave lock", "leave client"]
    assert said == ["enter client", "enter lock", *left]
