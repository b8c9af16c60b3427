"""LIFESPAN, health and limits on the wire: a real server, real sockets and signals."""

import http.client
import json
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.utils import DEADLINE_SECONDS, Server, Site, duration, until

URLS = """
    import asyncio, os, time
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    def hello(request):
        return HttpResponse("Hello")

    def state(request):
        return JsonResponse({key: str(value) for key, value in request.scope["state"].items()})

    def wait(request):
        print("in the view", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
        print("the view ends", flush=True)
        return HttpResponse("late")

    async def await_(request):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("the view is cancelled", flush=True)
            raise

    async def abandoned(request):
        from mysite.asgi import application
        return HttpResponse(str(application.handler.stats().abandoned))

    async def stream(request):
        async def parts():
            yield b"first "
            await asyncio.sleep(4)
            yield b"last"
        return StreamingHttpResponse(parts())

    @csrf_exempt
    def length(request):
        return HttpResponse(str(len(request.body)))

    views = [hello, state, wait, await_, abandoned, stream, length]
    urlpatterns = [path(view.__name__.strip("_"), view) for view in views]
"""


def configured(site: Site, **options: Any) -> Site:
    site.write("mysite/urls", URLS)
    site.append(
        "mysite/settings",
        f"DEBUG = False\nALLOWED_HOSTS = ['localhost']\nASGI_DEPLOY = {options}\n"
        "MIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n",
    )
    return site


@contextmanager
def serving(site: Site, *arguments: str) -> Iterator[Server]:
    with site.serve(*arguments) as server:
        server.wait_for("^Serving")
        yield server


def get(server: Server, path: str, host: str = "localhost", **options: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(options.pop("method", "GET"), path, headers={"Host": host}, **options)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def release(site: Site) -> None:
    """The view "wait" goes on."""
    (site.folder / "go").touch()


class InBackground:
    """A request whose answer is asked for later."""

    def __init__(self, server: Server, path: str) -> None:
        self.answer: tuple[int, bytes] | None = None
        self.thread = threading.Thread(target=self._run, args=(server, path))
        self.thread.start()

    def _run(self, server: Server, path: str) -> None:
        self.answer = get(server, path)

    def result(self) -> tuple[int, bytes] | None:
        self.thread.join(DEADLINE_SECONDS)
        return self.answer


# ------------------------------------------------------------------ lifespan

LIFE = """
    import os
    from contextlib import asynccontextmanager, contextmanager
    from django.db import connection

    def say(*words):
        print(" ".join(map(str, words)) + "\\n", end="", flush=True)

    @asynccontextmanager
    async def client(app):
        say("enter client for", type(app).__name__)
        yield {"client": "a client"}
        say("leave client")

    @contextmanager
    def table(app):
        connection.ensure_connection()
        say("enter table")
        yield {"table": "a table"}
        say("leave table, connected:", connection.connection is not None)

    @asynccontextmanager
    async def pid(app):
        say("enter in", os.getpid())
        yield
        say("leave in", os.getpid())

    @asynccontextmanager
    async def broken(app):
        raise LookupError("the queue is away")
        yield

    @asynccontextmanager
    async def endless(app):
        say("starting")
        import asyncio
        await asyncio.Event().wait()
        yield
"""
APPS = """
    from django.apps import AppConfig

    class MySite(AppConfig):
        name = "mysite"

        def ready(self):
            from django_asgi_deploy.signals import shutdown, startup
            startup.connect(self.start)
            shutdown.connect(self.astop)

        def start(self, state, **kwargs):
            state["started"] = "by a receiver"

        async def astop(self, state, **kwargs):
            print("shutdown with " + state["client"], flush=True)
"""


def test_what_the_managers_yield_is_at_requests_and_they_are_left_in_reverse_after_the_last(site: Site) -> None:
    configured(site, LIFESPAN=["mysite.life.client", "mysite.life:table"])
    site.write("mysite/life", LIFE)
    site.write("mysite/apps", APPS)
    site.append(
        "mysite/settings",
        'INSTALLED_APPS += ["mysite.apps.MySite"]\n'
        'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}\n',
    )
    with serving(site) as server:
        status, body = get(server, "/state")
        assert (status, json.loads(body)) == (
            200,
            {"client": "a client", "table": "a table", "started": "by a receiver"},
        )
        assert server.stop() == 0
    said = [line for line in server.lines if re.match("enter|leave|shutdown", line)]
    assert said == [
        "enter client for Application",
        "enter table",
        "shutdown with a client",
        "leave table, connected: False",
        "leave client",
    ]


def test_a_failing_start_is_shown_with_the_users_lines_what_was_entered_is_left_and_the_status_is_1(site: Site) -> None:
    configured(site, LIFESPAN=["mysite.life.client", "mysite.life.broken"])
    site.write("mysite/life", LIFE)
    ended = site.run("127.0.0.1:0")
    output = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert 'mysite.life.broken (settings.ASGI_DEPLOY["LIFESPAN"]) failed to start:' in output
    assert 'raise LookupError("the queue is away")\nLookupError: the queue is away' in output
    assert "leave client" in output
    assert "Traceback" not in output
    assert "Serving" not in output


def test_a_start_that_hangs_ends_with_the_signal_and_what_was_entered_is_left(site: Site) -> None:
    configured(site, LIFESPAN=["mysite.life.client", "mysite.life.endless"])
    site.write("mysite/life", LIFE)
    with site.serve() as server:
        server.wait_for("^starting$")
        assert server.stop() == 0
    assert "leave client" in server.lines


SOCKETS = """
    async def application(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["socket"] = "a socket"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            print("the WebSocket application stops", flush=True)
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        print(f"the end of a WebSocket: {message}", flush=True)
"""


def test_the_lifespan_is_passed_on_to_the_websocket_application(site: Site) -> None:
    configured(site, WEBSOCKET="mysite.sockets.application", LIFESPAN=["mysite.life.client"])
    site.write("mysite/life", LIFE)
    site.write("mysite/sockets", SOCKETS)
    with serving(site) as server:
        assert json.loads(get(server, "/state")[1]) == {"client": "a client", "socket": "a socket"}
        assert server.stop() == 0
    assert server.lines.index("the WebSocket application stops") < server.lines.index("leave client")


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker needs fork()")
def test_each_worker_enters_them_once_and_leaves_them_once(site: Site) -> None:
    configured(site, LIFESPAN=["mysite.life.pid"])
    site.write("mysite/life", LIFE)
    with serving(site, "--workers", "2") as server:
        until(lambda: len(matches(server, r"^enter in (\d+)$")) == 2)
        assert server.stop() == 0
    entered, left = matches(server, r"^enter in (\d+)$"), matches(server, r"^leave in (\d+)$")
    assert len({*entered}) == 2
    assert sorted(entered) == sorted(left)


def matches(server: Server, pattern: str) -> list[str]:
    return [match[1] for line in server.lines if (match := re.match(pattern, line))]


# ------------------------------------------------------------------ WebSockets


def test_open_websockets_are_closed_with_1012_when_the_server_stops(site: Site) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    configured(site, WEBSOCKET="mysite.sockets.application")
    site.write("mysite/sockets", SOCKETS)
    with serving(site) as server, connect(f"ws://127.0.0.1:{server.port}/ws") as websocket:
        assert server.stop() == 0
        with pytest.raises(ConnectionClosed) as raised:
            websocket.recv(DEADLINE_SECONDS)
    assert raised.value.rcvd is not None
    assert raised.value.rcvd.code == 1012
    assert "'code': 1012" in server.wait_for("the end of a WebSocket: .*")[0]


# ------------------------------------------------------------------ health


def test_probes_are_answered_whatever_django_would_say_and_details_only_to_this_machine(site: Site) -> None:
    checks = ["database", "cache", "mysite.checks.queue"]
    configured(
        site, LIVE_PATH="/livez", READY_PATH="/readyz", READY_CHECKS=checks, READY_TIMEOUT_SECONDS=DEADLINE_SECONDS
    )
    site.append("mysite/settings", "SECURE_SSL_REDIRECT = True\n")
    site.append("mysite/settings", "MIDDLEWARE = ['django.middleware.security.SecurityMiddleware', *MIDDLEWARE]\n")
    site.write("mysite/checks", "def queue():\n    raise ConnectionError('the queue is away')\n")
    with serving(site) as server:
        assert [get(server, "/hello", host)[0] for host in ("10.1.2.3:8000", "localhost")] == [400, 301]
        assert get(server, "/livez", host="10.1.2.3:8000") == (200, b'{"live": true}\n')
        assert get(server, "/livez", host="10.1.2.3:8000", method="HEAD") == (200, b"")
        status, body = get(server, "/readyz", host="10.1.2.3:8000")
        found = {check["name"]: check for check in json.loads(body)["checks"]}
        assert status == 503
        assert found["cache"]["result"] == "ok"
        assert found["mysite.checks.queue"]["error"] == "ConnectionError: the queue is away"
        assert found["database"]["error"].startswith("ImproperlyConfigured: ")
        server.wait_for("Not ready: the check mysite.checks.queue fails: ConnectionError: the queue is away")


def test_while_draining_the_worker_is_alive_but_not_ready(site: Site) -> None:
    configured(site, LIVE_PATH="/livez", READY_PATH="/readyz", DRAIN_DELAY_SECONDS=30)
    with serving(site) as server:
        assert get(server, "/readyz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        until(lambda: get(server, "/readyz")[0] == 503)
        assert json.loads(get(server, "/readyz")[1]) == {"ready": False, "draining": True, "checks": []}
        assert get(server, "/livez")[0] == 200
        assert get(server, "/hello") == (200, b"Hello")  # who doesn't know yet is still served
        assert server.stop() == 0  # the second signal


def test_a_probe_is_green_while_every_thread_and_every_place_is_taken(site: Site) -> None:
    options = {"THREADS": 1, "MAX_IN_FLIGHT": 1, "REQUEST_TIMEOUT_SECONDS": 60}
    configured(site, READY_PATH="/readyz", READY_CHECKS=["cache"], READY_TIMEOUT_SECONDS=DEADLINE_SECONDS, **options)
    with serving(site) as server:
        waiting = InBackground(server, "/wait")
        server.wait_for("in the view")
        assert get(server, "/readyz")[0] == 200
        release(site)
        assert waiting.result() == (200, b"late")


# ------------------------------------------------------------------ limits


def test_a_synchronous_view_that_is_late_gets_504_at_once_and_its_thread_counts_as_abandoned_until_it_ends(
    site: Site,
) -> None:
    with serving(configured(site, REQUEST_TIMEOUT_SECONDS=3)) as server:
        status, body = get(server, "/wait")
        assert (status, body) == (504, b"504 Gateway Timeout")
        assert "the view ends" not in server.lines
        assert get(server, "/abandoned") == (200, b"1")
        server.wait_for("Gateway Timeout: GET '/wait': no answer within 3 seconds")
        release(site)
        server.wait_for("the view ends")
        while get(server, "/abandoned") != (200, b"0"):
            pass
        assert get(server, "/hello") == (200, b"Hello")
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_an_asynchronous_view_that_is_late_is_cancelled_and_a_stream_may_take_longer(site: Site) -> None:
    with serving(configured(site, REQUEST_TIMEOUT_SECONDS=3)) as server:
        stream = InBackground(server, "/stream")
        assert get(server, "/await")[0] == 504
        server.wait_for("the view is cancelled")
        assert stream.result() == (200, b"first last")
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_who_gets_no_place_in_time_gets_503(site: Site) -> None:
    with serving(configured(site, MAX_IN_FLIGHT=1, IN_FLIGHT_TIMEOUT_SECONDS=1)) as server:
        waiting = InBackground(server, "/wait")
        server.wait_for("in the view")
        assert get(server, "/hello") == (503, b"503 Service Unavailable")
        server.wait_for("Service Unavailable: GET '/hello': 1 requests are in flight")
        release(site)
        assert waiting.result() == (200, b"late")


def test_bodies_that_come_slowly_take_no_places(site: Site) -> None:
    with serving(configured(site, MAX_IN_FLIGHT=1, IN_FLIGHT_TIMEOUT_SECONDS=0)) as server:
        head = b"POST /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n"
        with server.connect() as first, server.connect() as second:
            for sock in (first, second):
                sock.sendall(head + b"a")
            assert get(server, "/hello")[0] == 200
            for sock in (first, second):
                sock.sendall(b"b")
                answer = b"".join(iter(partial(sock.recv, 65536), b""))
                assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_sends_all_of_a_body_that_is_too_large_still_gets_its_413(site: Site) -> None:
    """Closing at once would reset the connection, and the answer with it."""
    with serving(configured(site, MAX_BODY_BYTES=1000)) as server:
        size = 20_000_000
        with server.connect() as sock:
            sock.sendall(f"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size // 10_000):
                sock.sendall(bytes(10_000))
            received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in received.lower()


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_the_413_comes_at_once_and_no_100_before_it(site: Site, http: str) -> None:
    with serving(configured(site, MAX_BODY_BYTES=1000), "--http", http) as server:
        request = "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n"
        with server.connect() as sock:
            sock.sendall(request.encode())
            received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 413 ")


def test_bodies_up_to_the_limit_keep_their_connection(site: Site) -> None:
    with serving(configured(site, MAX_BODY_BYTES=1000)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        for _ in range(3):
            connection.request("POST", "/length", body=bytes(1000), headers={"Host": "localhost"})
            assert connection.getresponse().read() == b"1000"
            sock = connection.sock
        assert connection.sock is sock is not None
        connection.close()


def test_waiting_for_a_place_counts_for_the_deadline_too(site: Site) -> None:
    options = {"MAX_IN_FLIGHT": 1, "IN_FLIGHT_TIMEOUT_SECONDS": 60, "REQUEST_TIMEOUT_SECONDS": 3}
    with serving(configured(site, **options)) as server:
        waiting = InBackground(server, "/wait")
        server.wait_for("in the view")
        assert duration(lambda: get(server, "/hello")) < DEADLINE_SECONDS
        assert waiting.result() == (504, b"504 Gateway Timeout")
        release(site)
