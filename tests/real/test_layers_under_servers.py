"""LIFESPAN, health, limits and WEBSOCKET under other servers: each does it, Daphne too, which sends no lifespan."""

import asyncio
import http.client
import json
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.programs import require_package
from tests.real.listening import listening_server
from tests.utils import DEADLINE_SECONDS, Site, until

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

OPTIONS = {
    "LIFESPAN": ["mysite.life.client", "mysite.life.lock"],
    "LIVE_PATH": "/livez",
    "READY_PATH": "/readyz",
    "READY_CHECKS": ["cache"],
    "READY_TIMEOUT_SECONDS": DEADLINE_SECONDS,
    "MAX_BODY_BYTES": 1000,
    "REQUEST_TIMEOUT_SECONDS": 4,
    "MAX_IN_FLIGHT": 1,
    "IN_FLIGHT_TIMEOUT_SECONDS": 0,
    "WEBSOCKET": "mysite.sockets.application",
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
SOCKETS = """
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["state"]["client"]})
        await receive()
"""
URLS = """
    import os, time
    from django.http import HttpResponse, JsonResponse
    from django.urls import path

    def state(request):
        return JsonResponse(dict(request.scope["state"]))

    def slow(request):
        while not os.path.exists("go"):
            time.sleep(0.01)
        return HttpResponse("late")

    urlpatterns = [path("state", state), path("slow", slow)]
"""


def ask(port: int, path: str, method: str = "GET", **options: object) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path, **options)  # type: ignore[arg-type]
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


async def said_by_websocket(port: int, origin: str) -> str | bytes:
    async with connect(f"ws://127.0.0.1:{port}/ws", origin=origin) as websocket:  # type: ignore[arg-type]
        return await websocket.recv()


@pytest.mark.parametrize("name", SERVERS)
def test_the_layers_do_under_every_server_what_they_do_under_runasgi(name: str, tmp_path: Path) -> None:
    site = Site(tmp_path, mysite__life=LIFE, mysite__sockets=SOCKETS, mysite__urls=URLS)
    site.append("mysite/settings", f'ALLOWED_HOSTS = ["localhost", "127.0.0.1"]\nASGI_DEPLOY = {OPTIONS}\n')
    require_package(name.partition(" ")[0])

    def command(ports: list[int]) -> list[str]:
        arguments = [argument.format(port=ports[0]) for argument in SERVERS[name]]
        return [sys.executable, "-m", *arguments, "mysite.asgi:application"]

    with listening_server(command, 1, site.folder) as (server, (port,)):
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
        assert ask(port, "/state")[0] == 503  # the view still runs, and has the only place
        assert ask(port, "/livez")[0] == 200
        (tmp_path / "go").touch()
        until(lambda: ask(port, "/state")[0] == 200)
        assert asyncio.run(said_by_websocket(port, "http://localhost")) == "a client"
        with pytest.raises(InvalidStatus, match="403"):
            asyncio.run(said_by_websocket(port, "https://evil.example"))
        server.stop()
    said = [line for line in server.lines if line.endswith((" client", " lock"))]
    left = [] if name in NEVER_LEFT else ["leave lock", "leave client"]
    assert said == ["enter client", "enter lock", *left]
