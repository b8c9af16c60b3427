"""The example site under every ASGI server: the same looks at each, and the table of the differences is true."""

import hashlib
import json
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.programs import require_package
from tests.real import servers
from tests.real.projects import run
from tests.real.servers import ROOT_PATH, ROWS, SERVERS, WORKS, expected
from tests.utils import DEADLINE_SECONDS, Server, run_server

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("servers")]

TESTPROJECT = Path(__file__).parents[2] / "testproject"
DOCUMENT = Path(__file__).parents[2] / "docs" / "servers.rst"
PACKAGES = ["daphne", "hypercorn", "granian", "gunicorn", "uvicorn_worker"]

# Around everything, by ASGI_DEPLOY_MIDDLEWARE: says what the server tells the application.
OBSERVER = """
import asyncio, sys

class Observer:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def told():
            message = await receive()
            if scope["type"] == "lifespan" or message["type"].endswith(".disconnect"):
                say(f"{message['type']} {scope.get('path', '')}")
            return message
        if scope["type"] == "lifespan":
            scope.get("state", {})["mark"] = "kept"
        else:
            say(f"state {scope.get('state', {}).get('mark')}")
        try:
            await self.app(scope, told, send)
        except asyncio.CancelledError:
            say(f"cancelled {scope.get('path', '')}")
            raise
        finally:
            say(f"end {scope.get('path', '')}")

def say(text):
    sys.stdout.write(f"OBSERVED {text}\\n")
    sys.stdout.flush()
"""


class Site:
    """A running server, and a client of it."""

    def __init__(self, name: str, server: Server, port: int) -> None:
        self.name = name
        self.server = server
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=DEADLINE_SECONDS)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    for package in PACKAGES:
        require_package(package)
    folder = tmp_path_factory.mktemp("servers")
    (folder / "observer.py").write_text(OBSERVER)
    python_path = os.pathsep.join(filter(None, [str(folder), str(TESTPROJECT), os.environ.get("PYTHONPATH")]))
    environment = {
        "TESTPROJECT_DATABASE": str(folder / "db.sqlite3"),
        "TESTPROJECT_MEDIA_ROOT": str(folder / "media"),
        "PYTHONPATH": python_path,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ASGI_DEPLOY_MIDDLEWARE": json.dumps(["observer.Observer"]),
    }
    run([sys.executable, "manage.py", "migrate"], TESTPROJECT, environment)
    return environment


@contextmanager
def served(name: str, environment: dict[str, str], *arguments: str) -> Iterator[Site]:
    port = free_port()
    command = SERVERS[name][0].format(port=port).split()
    with run_server([*command, *arguments], TESTPROJECT, environment) as server:
        site = Site(name, server, port)
        wait_until_up(site)
        try:
            yield site
        finally:
            site.client.close()


def free_port() -> int:
    """Below the range from which the kernel gives ports to clients: nobody takes it until the server does."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until_up(site: Site) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            site.client.get("/hello/sync/")
            return
        except httpx.TransportError:
            assert site.server.process.poll() is None, site.server.output
            assert time.monotonic() < end, site.server.output
            time.sleep(0.05)


@pytest.fixture(scope="module", params=list(SERVERS))
def site(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Site]:
    with served(request.param, environment) as site:
        yield site


# ------------------------------------------------------------------ what is looked at: each says "works", or what else


def page(site: Site) -> str:
    answer = site.client.get("/info/?q=gr%C3%BC%C3%9Fe", headers={"X-Word": "word"})
    seen = answer.json()
    assert answer.status_code == 200
    assert (seen["path"], seen["query_string"]) == ("/info/", "q=gr%C3%BC%C3%9Fe")
    assert (seen["remote_addr"], seen["headers"]["X-Word"]) == ("127.0.0.1", "word")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert seen["handler"] == "django_asgi_deploy.handlers.asgi.ASGIHandler"
    return WORKS


def form(site: Site) -> str:
    with httpx.Client(base_url=site.client.base_url, timeout=DEADLINE_SECONDS) as visitor:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', visitor.get("/form/").text)
        assert token
        fields = {"name": "Grüße", "colour": "green"}
        refused = visitor.post("/form/", data=fields)
        accepted = visitor.post("/form/", data=fields | {"csrfmiddlewaretoken": token[1]})
    assert refused.status_code == 403
    assert (accepted.status_code, accepted.json()) == (200, fields)
    return WORKS


def upload(site: Site) -> str:
    content = bytes(range(256)) * 4 * 4096
    with httpx.Client(base_url=site.client.base_url, timeout=DEADLINE_SECONDS) as visitor:
        visitor.get("/upload/")
        headers = {"X-CSRFToken": visitor.cookies["csrftoken"]}
        answer = visitor.post("/upload/", files={"file": ("four megabytes", content)}, headers=headers)
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["size"], seen["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    return WORKS


def streaming(site: Site) -> str:
    for kind in ("sync", "async"):
        with site.client.stream("GET", f"/stream/{kind}/?n=3&delay_ms=200") as answer:
            started = time.monotonic()
            times = [(line, time.monotonic() - started) for line in answer.iter_lines()]
        assert [line for line, _ in times] == ["line 1", "line 2", "line 3"]
        if times[-1][1] - times[0][1] < 0.2:
            return "everything at once"
    return WORKS


def server_sent_events(site: Site) -> str:
    with site.client.stream("GET", "/events/?n=2&interval_ms=100") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        lines = list(answer.iter_lines())
    assert [line for line in lines if line.startswith("id")] == ["id: 1", "id: 2"]
    return WORKS


def websocket(site: Site) -> str:
    with connect(f"ws://127.0.0.1:{site.port}/ws/echo/", open_timeout=DEADLINE_SECONDS) as socket:
        for said in ("Grüße", b"\0\xff", "x" * 100_000):
            socket.send(said)
            assert socket.recv(DEADLINE_SECONDS) == said
    return WORKS


def websocket_refused(site: Site) -> str:
    statuses = []
    for path, origin in (("/ws/other/", None), ("/ws/echo/", "https://evil.example")):
        with pytest.raises(InvalidStatus) as raised:
            connect(f"ws://127.0.0.1:{site.port}{path}", origin=origin, open_timeout=DEADLINE_SECONDS)  # type: ignore[arg-type]
        statuses.append(raised.value.response.status_code)
    return WORKS if statuses == [403, 403] else f"with {statuses[0]}"


def missing(site: Site) -> str:
    answer = site.client.get("/missing/")
    assert answer.status_code == 404
    assert "text/html" in answer.headers["Content-Type"]
    return WORKS


def error(site: Site) -> str:
    assert [site.client.get(path).status_code for path in ("/error/", "/hello/sync/")] == [500, 200]
    return WORKS


def static(site: Site) -> str:
    answer = site.client.get("/static/site/style.css")
    assert answer.content == (TESTPROJECT / "static" / "site" / "style.css").read_bytes()
    modified = {"If-Modified-Since": answer.headers["Last-Modified"]}
    assert site.client.get("/static/site/style.css", headers=modified).status_code == 304
    return WORKS


def redirect(site: Site) -> str:
    answer = site.client.get("/redirect/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/info/")
    assert site.client.get("/info").headers["Location"] == "/info/"
    return WORKS


def cookies(site: Site) -> str:
    with httpx.Client(base_url=site.client.base_url, timeout=DEADLINE_SECONDS) as visitor:
        first = visitor.get("/cookies/")
        assert [value.partition("=")[0] for value in first.headers.get_list("Set-Cookie")] == ["flavour", "topping"]
        assert visitor.get("/cookies/").json() == {"cookies": {"flavour": "vanilla", "topping": "cherry"}}
    return WORKS


def head(site: Site) -> str:
    """The lengths agree, and no body follows: the connection is usable for the next request."""
    length = site.client.get("/hello/sync/").headers["Content-Length"]
    with socket.create_connection(("127.0.0.1", site.port), DEADLINE_SECONDS) as sock:
        request = "{} /hello/sync/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n"
        sock.sendall(request.format("HEAD", "").encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        sock.sendall(request.format("GET", "Connection: close\r\n").encode())
        received += b"".join(iter(lambda: sock.recv(65536), b""))
    assert received.count(b"Hello") == 1
    return WORKS if f"content-length: {length}".encode() in received.split(b"\r\n\r\n")[0].lower() else "no length"


def leaving(path: str, has_answer: bool) -> Callable[[Site], str]:
    """What becomes of a request whose client goes away."""

    def look(site: Site) -> str:
        before = len(site.server.lines)
        with socket.create_connection(("127.0.0.1", site.port), DEADLINE_SECONDS) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            if has_answer:
                sock.recv(65536)
            else:
                time.sleep(0.3)  # nothing can be seen from outside when it has reached the view
        end = f"OBSERVED end {path.partition('?')[0]}"
        deadline = time.monotonic() + 8
        while time.monotonic() < deadline:
            if end in site.server.lines[before:]:
                return WORKS
            time.sleep(0.05)
        return "goes on"

    return look


LOOKS: dict[str, Callable[[Site], str]] = {
    "A page: path, query, headers, client address": page,
    "A form, with CSRF": form,
    "An upload of 4 MiB": upload,
    "Streaming, line by line": streaming,
    "Server-sent events": server_sent_events,
    "A WebSocket: text, bytes, long messages": websocket,
    "A WebSocket refused: by its path, by its origin": websocket_refused,
    "404": missing,
    "500, and the next request": error,
    "Static files, and 304": static,
    "Redirects": redirect,
    "Several cookies": cookies,
    "HEAD": head,
    "The client leaves while a view waits": leaving("/slow/async/?seconds=20", has_answer=False),
    "The client leaves a stream": leaving("/events/?interval_ms=100", has_answer=True),
}


@pytest.mark.parametrize("row", LOOKS)
def test_it_is_as_the_table_says(site: Site, row: str) -> None:
    assert LOOKS[row](site) == expected(row, site.name)


# ------------------------------------------------------------------ start and end, and a prefix: a process of its own


@pytest.mark.parametrize("name", SERVERS)
def test_start_end_and_prefix_are_as_the_table_says(name: str, environment: dict[str, str]) -> None:
    with served(name, environment, *SERVERS[name][1].split()) as site:
        seen = {"The server's own prefix, behind a proxy": root_path(site)}
        status = site.server.stop()
        lines = site.server.lines
    told = [line.split()[1] for line in lines if line.startswith("OBSERVED lifespan.")]
    states = {line for line in lines if line.startswith("OBSERVED state")}
    seen["Lifespan: start and end"] = WORKS if told == ["lifespan.startup", "lifespan.shutdown"] else f"told: {told}"
    seen["Lifespan state in each scope"] = WORKS if states == {"OBSERVED state kept"} else f"seen: {states}"
    seen["Status 0 after SIGTERM"] = {0: WORKS, -signal.SIGTERM: "ended by SIGTERM"}[status]
    assert seen == {row: expected(row, name) for row in seen}
    assert set(LOOKS) | set(seen) == set(ROWS)


def root_path(site: Site) -> str:
    """Whether /info/ is that page below the prefix, when a proxy takes the prefix away, and when it leaves it."""

    def is_below_it(path: str) -> bool:
        answer = site.client.get(path)
        here = ("script_name", ROOT_PATH), ("path_info", "/info/"), ("path", f"{ROOT_PATH}/info/")
        return answer.status_code == 200 and all(answer.json()[key] == value for key, value in here)

    match is_below_it("/info/"), is_below_it(f"{ROOT_PATH}/info/"):
        case True, True:
            return WORKS
        case True, False:
            return servers.REMOVED
        case _:
            return "not possible: gunicorn's ``--root-path`` isn't handed on"


def test_the_table_in_the_documentation_is_this_one() -> None:
    """If not, put in what ``python -m tests.real.servers`` prints."""
    assert servers.table() in DOCUMENT.read_text(encoding="utf-8")
