"""Every layer under other servers: each does it, Daphne too, which sends no lifespan."""

import asyncio
import http.client
import json
import sys
from collections.abc import Callable
from http.client import HTTPMessage as Message
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.programs import require_package
from tests.real.listening import listening_server
from tests.utils import DEADLINE_SECONDS, Server, Site, until

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
    "MOUNTS": {"/api": "mysite.mounted:application"},
    "ACCESS_LOG": "json",
    "REQUEST_ID_HEADER": "x-request-id",
    "METRICS_PATH": "/metrics",
}
SETTINGS = """
    from pathlib import Path
    DEBUG = False
    ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    INSTALLED_APPS += ["django.contrib.staticfiles"]
    STATIC_URL = "static/"
    STATIC_ROOT = Path(__file__).parent.parent / "collected"
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "loggers": {"django_asgi_deploy.access": {"handlers": ["console"], "level": "INFO"}},
    }
"""
MOUNTED = """
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            print("enter mount", flush=True)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("leave mount", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = f"{scope['root_path']} {scope['state']['client']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": body})
"""
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

    def seen(request):
        return JsonResponse({"client": request.META["REMOTE_ADDR"], "secure": request.is_secure()})

    urlpatterns = [path("seen", seen), path("state", state), path("slow", slow)]
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


def command_of(name: str) -> Callable[[list[int]], list[str]]:
    def command(ports: list[int]) -> list[str]:
        arguments = [argument.format(port=ports[0]) for argument in SERVERS[name]]
        return [sys.executable, "-m", *arguments, "mysite.asgi:application"]

    return command


@pytest.mark.parametrize("name", SERVERS)
def test_the_layers_do_under_every_server_what_they_do_under_runasgi(name: str, tmp_path: Path) -> None:
    site = Site(tmp_path, mysite__life=LIFE, mysite__sockets=SOCKETS, mysite__urls=URLS, mysite__mounted=MOUNTED)
    site.append("mysite/settings", SETTINGS)
    site.append("mysite/settings", f"ASGI_DEPLOY = {OPTIONS}\n")
    (tmp_path / "collected").mkdir()
    (tmp_path / "collected" / "site.css").write_text("body { color: red }")
    for package in (name.partition(" ")[0], "prometheus_client", "servestatic"):
        require_package(package)
    with listening_server(command_of(name), 1, site.folder) as (server, (port,)):
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
        assert ask(port, "/api/x") == (200, b"/api a client")
        serves_a_static_file(port)
        believes_a_proxy_what_it_is_said_to_set(port)
        writes_a_line_with_the_id_that_it_returns(port, server)
        status, body = ask(port, "/metrics")
        assert status == 200
        assert b'django_asgi_requests_total{method="GET",route="/seen",status="200"} 1.0' in body
        server.stop()
    said = [line for line in server.lines if line.endswith((" client", " lock", " mount"))]
    left = [] if name in NEVER_LEFT else ["leave mount", "leave lock", "leave client"]
    assert said == ["enter client", "enter lock", "enter mount", *left]


def serves_a_static_file(port: int) -> None:
    status, headers, body = whole_answer(port, "/static/site.css")
    assert (status, body) == (200, b"body { color: red }")
    assert whole_answer(port, "/static/site.css", {"If-None-Match": headers["ETag"]})[0] == 304
    assert whole_answer(port, "/static/site.css", {"Range": "bytes=0-3"})[::2] == (206, b"body")
    status, headers, body = whole_answer(port, "/static/site.css", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "19", b"")
    assert ask(port, "/static/../mysite/settings.py")[0] == 404


def believes_a_proxy_what_it_is_said_to_set(port: int) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    status, _, body = whole_answer(port, "/seen", forwarded)
    assert (status, json.loads(body)) == (200, {"client": "203.0.113.9", "secure": True})


def writes_a_line_with_the_id_that_it_returns(port: int, server: Server) -> None:
    headers = whole_answer(port, "/state?token=s3cret", {"X-Request-ID": "from-the-proxy"})[1]
    assert headers["X-Request-ID"] == "from-the-proxy"
    line = json.loads(server.wait_for(r'^(\{.*"path": "/state\?token.*)$')[1])
    assert (line["path"], line["status"], line["request_id"]) == ("/state?token=***", 200, "from-the-proxy")


def whole_answer(
    port: int, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, Message, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", AT_THE_FIRST_REQUEST)
def test_a_mount_is_started_at_the_first_request_though_nothing_else_needs_a_start(name: str, tmp_path: Path) -> None:
    mounted = MOUNTED.replace("""scope['state']['client']""", "''")
    site = Site(tmp_path, mysite__mounted=mounted)
    site.append("mysite/settings", "ASGI_DEPLOY = {'MOUNTS': {'/api': 'mysite.mounted:application'}}\n")
    require_package(name.partition(" ")[0])
    with listening_server(command_of(name), 1, site.folder) as (server, (port,)):
        assert ask(port, "/")[0] == 200
        server.wait_for("^enter mount$")
        assert ask(port, "/api") == (200, b"/api ")
        server.stop()
    assert server.lines.count("enter mount") == 1
