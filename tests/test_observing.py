"""The access log and request ids, from the lines of a real server."""

import asyncio
import json
import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_asgi_deploy import lines
from django_asgi_deploy.layers import accesslog
from django_asgi_deploy.layers.observe import Observed
from django_asgi_deploy.logging import JSONFormatter, RequestIDFilter, get_request_id
from tests.layers.asgi import Seen, exchange, http
from tests.tables import rows
from tests.test_proxy import say
from tests.utils import Server, Site

URLS = """
    import asyncio, logging, os, time
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    logger = logging.getLogger("mysite")

    def hello(request, number):
        logger.warning("at work")
        return HttpResponse("Hello")

    async def asynchronous(request):
        logger.warning("at work, too")
        return HttpResponse("Hello")

    def broken(request):
        raise RuntimeError("the view's own mistake")

    async def endless(request):
        async def parts():
            yield b"first"
            await asyncio.Event().wait()
        return StreamingHttpResponse(parts())

    async def silent(request):
        print("silent", flush=True)
        await asyncio.Event().wait()

    def hold(request):
        print("held", flush=True)
        end = time.monotonic() + 30
        while not os.path.exists("let_go") and time.monotonic() < end:
            time.sleep(0.01)
        return HttpResponse("held")

    async def queue(request):
        from django_asgi_deploy.asgi import Application
        (application,) = Application.made
        while not application.handler.stats().waiting:
            await asyncio.sleep(0.01)
        return HttpResponse("somebody waits")

    urlpatterns = [
        path("queue", queue), path("hello/<int:number>/", hello), path("async", asynchronous), path("broken", broken),
        path("endless", endless), path("silent", silent), path("hold", hold),
    ]
"""
LOGGING = """
    ALLOWED_HOSTS = ["*"]
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "django_asgi_deploy.logging.RequestIDFilter"}},
        "formatters": {
            "plain": {"format": "{request_id} {name} {levelname} {message}", "style": "{"},
            "bare": {"format": "{levelname} {message}", "style": "{"},
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "plain"},
            "access": {"class": "logging.StreamHandler", "formatter": "bare"},
        },
        "loggers": {"django_asgi_deploy.access": {"handlers": ["access"], "level": "DEBUG", "propagate": False}},
        "root": {"handlers": ["console"], "level": "INFO"},
    }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("observed"), mysite__urls=URLS)
    site.append("mysite/settings", LOGGING)
    options = ["--access-log", "json", "--request-id-header", "X-Request-ID", "--threads", "1"]
    with site.serve(*options) as server:
        yield server


def logged(server: Server, path: str) -> dict[str, object]:
    """The line of the access log for a path that is asked for once."""
    match = server.wait_for(rf'^(INFO|DEBUG) (\{{.*"path": "{re.escape(path)}".*\}})$')
    return {"level": match[1], **json.loads(match[2])}


def test_a_json_line_has_all_there_is_to_know(server: Server) -> None:
    say(server, "User-Agent: curl/8", "X-Forwarded-For: 203.0.113.9", "X-Request-ID: abc", path="/hello/1/?page=2")
    line = logged(server, "/hello/1/?page=2")
    duration, waited, time = line.pop("duration_ms"), line.pop("wait_ms"), str(line.pop("time"))
    assert line == {
        "level": "INFO",
        "client": "203.0.113.9",
        "method": "GET",
        "path": "/hello/1/?page=2",
        "protocol": "HTTP/1.0",
        "status": 200,
        "bytes": 5,
        "left": False,
        "user_agent": "curl/8",
        "request_id": "abc",
        "pid": server.process.pid,
    }
    assert isinstance(duration, float)
    assert isinstance(waited, float)
    assert 0 <= waited <= duration
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)


def test_a_view_that_raises_is_a_500(server: Server) -> None:
    say(server, path="/broken")
    assert logged(server, "/broken")["status"] == 500


def test_waiting_for_a_thread_is_told_apart_from_the_work(server: Server, tmp_path: Path) -> None:
    """There is one thread, which the first request has."""
    folder = Path(f"/proc/{server.process.pid}/cwd").resolve()
    with server.connect() as first, server.connect() as second:
        first.sendall(b"GET /hold HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        server.wait_for("^held$")
        second.sendall(b"GET /hello/22/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert say(server, path="/queue") == "somebody waits"
        (folder / "let_go").touch()
        assert b"held" in b"".join(iter(lambda: first.recv(65536), b""))
        assert b"Hello" in b"".join(iter(lambda: second.recv(65536), b""))
    line = logged(server, "/hello/22/")
    assert 0 < float(str(line["wait_ms"])) <= float(str(line["duration_ms"]))


@pytest.mark.parametrize(("path", "status", "size"), [("/endless", 200, 5), ("/silent", 499, 0)])
def test_a_client_that_leaves_is_one_line_for_debugging(server: Server, path: str, status: int, size: int) -> None:
    with server.connect() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        if path == "/silent":
            server.wait_for("^silent$")
        else:
            received = b""
            while b"first" not in received:
                received += sock.recv(65536)
    line = logged(server, path)
    assert (line["level"], line["status"], line["bytes"], line["left"]) == ("DEBUG", status, size, True)
    assert sum(path in each for each in server.lines) == 1


def test_nobody_can_write_a_line_of_his_own(server: Server) -> None:
    agent = 'x"}\x85\u2028{"forged": "\\'
    raw = agent.encode().decode("latin-1")
    say(server, f"User-Agent: {raw}", path="/hello/3/%0d%0aINFO%20forged?a=%0Aforged")
    line = logged(server, "/hello/3/%0d%0aINFO%20forged?a=%0Aforged")
    assert line["user_agent"] == agent
    assert not any(each.startswith(("forged", "INFO forged")) for each in server.lines)


def test_secrets_in_a_query_are_masked(server: Server) -> None:
    say(server, path="/hello/4/?token=s3cret&keyword=cats&code=s3cret")
    assert logged(server, "/hello/4/?token=***&keyword=cats&code=***")["status"] == 200
    assert "s3cret" not in "\n".join(line for line in server.lines if "/hello/4/" in line)


@pytest.mark.parametrize("style", ["json", "{path} {referer}"])
def test_what_the_project_names_is_masked_in_path_and_referer(site: Site, style: str) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'ACCESS_LOG_MASKED': ['iban']}\n")
    with site.serve("--access-log", style) as server:
        say(server, "Referer: http://localhost/?iban=AT61", path="/?iban=AT61&page=2")
        server.wait_for(re.escape("/?iban=***&page=2"))
        assert "AT61" not in server.output


def test_what_cannot_be_a_parameters_name_is_refused(site: Site) -> None:
    result = site.run("--access-log-masked", "iban=")
    assert result.returncode == 2
    assert '\'iban=\': expected the name of a parameter, such as "iban" or "user[email]"' in result.stderr
    site.append("mysite/settings", "ASGI_DEPLOY = {'ACCESS_LOG_MASKED': 'iban'}\n")
    assert """ASGI_DEPLOY["ACCESS_LOG_MASKED"] = 'iban': expected a list of names.""" in site.run().stderr


@pytest.mark.parametrize("path", ["/hello/5/", "/async"])
def test_the_projects_own_lines_have_the_requests_id(server: Server, path: str) -> None:
    say(server, f"X-Request-ID: of{path.replace('/', '.')}", path=path)
    server.wait_for(rf"^of{path.replace('/', '.')} mysite WARNING at work")


def test_lines_outside_of_a_request_have_a_dash(server: Server) -> None:
    server.wait_for("^- uvicorn.error INFO Application startup complete")


@pytest.mark.parametrize(("sent", "answered"), rows("logging.rst", "Request ids"))
def test_a_request_id_is_taken_if_it_is_a_plain_one(server: Server, sent: list[str], answered: list[str]) -> None:
    sized = [re.sub(r"<(\d+) characters>", lambda match: "x" * int(match[1]), line) for line in sent + answered]
    *lines, expected = sized
    returned = returned_id(server, *lines)
    if expected == "a new one":
        assert re.fullmatch("[0-9a-f]{32}", returned)
    else:
        assert returned == expected


def returned_id(server: Server, *lines: str) -> str:
    with server.connect() as sock:
        head = "\r\n".join(["GET /async HTTP/1.0", "Host: localhost", *lines])
        sock.sendall(f"{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    (found,) = re.findall(r"(?im)^x-request-id: (.*?)\r?$", answer)
    return str(found)


def test_the_id_of_somebody_who_is_no_proxy_is_ignored(tmp_path: Path) -> None:
    site = Site(tmp_path, mysite__urls=URLS)
    options = ["--trusted-proxies", "10.0.0.0/8", "--request-id-header", "x-request-id", "--access-log", "off"]
    with site.serve(*options) as server:
        assert returned_id(server, "X-Request-ID: mine") != "mine"
        assert "GET" not in server.output


def test_lines_that_were_asked_for_appear_whatever_the_roots_level_is(tmp_path: Path) -> None:
    site = Site(tmp_path)
    handlers = "'handlers': {'console': {'class': 'logging.StreamHandler'}}"
    root = "'root': {'handlers': ['console'], 'level': 'WARNING'}"
    site.append("mysite/settings", f"LOGGING = {{'version': 1, {handlers}, {root}}}\n")
    with site.serve("--access-log", "{path} {status}") as server:
        say(server, path="/?once")
        server.wait_for(r"^/\?once 200$")
        assert "Started server process" not in server.output


def test_a_websocket_is_one_line_when_it_ends(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(
        "mysite/echo",
        """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "12345"})
            await send({"type": "websocket.close"})
        """,
    )
    site.append("mysite/settings", "ASGI_DEPLOY = {'WEBSOCKET': 'mysite.echo:application'}")
    log = '{method} {path} {protocol} {status} {bytes} "{referer}"'
    with site.serve("--access-log", log) as server, server.connect() as sock:
        lines = [
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        head = ["GET /ws?token=s3cret HTTP/1.1", "Host: localhost", "Referer: http://x/?key=s3cret", *lines]
        sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        server.wait_for(r'^INFO:     GET /ws\?token=\*\*\* WebSocket 101 5 "http://x/\?key=\*\*\*"$')
        assert "s3cret" not in server.output


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{path} {stauts}", "there is no field {stauts}; expected {time}, {client}, "),
        ("{path", "a single { at character 1; write it twice to mean itself"),
        ("jsno", 'expected auto, text, json, off, or a format such as "{path} {status}"'),
    ],
)
def test_a_format_that_cannot_work_is_refused_with_the_fields_there_are(site: Site, value: str, expected: str) -> None:
    result = site.run("--access-log", value)
    assert result.returncode == 2
    assert f"--access-log {value}: " in result.stderr
    assert expected in result.stderr


# ------------------------------------------------------------------ in process


def test_each_field_that_a_format_may_have_is_made() -> None:
    assert list(accesslog.FIELDS) == list(lines.FIELDS)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("page=2", "page=2"),
        ("access_token=x&page=2", "access_token=***&page=2"),
        ("user%5Bpassword%5D=x", "user%5Bpassword%5D=***"),
        ("%70assword=x", "%70assword=***"),
        ("a=1;sig=y;b=2&c=3", "a=1;sig=***&c=3"),
        ("password=half;half", "password=***"),
        ("X-Amz-Signature=x&X-Amz-Credential=y", "X-Amz-Signature=***&X-Amz-Credential=***"),
        ("keyword=cats&zipcode=1010&monkey=1&design=2", "keyword=cats&zipcode=1010&monkey=1&design=2"),
        ("token=&token", "token=&token"),
        ("a=1&&b=2&", "a=1&&b=2&"),
    ],
)
def test_a_parameter_is_masked_by_its_name(query: str, shown: str) -> None:
    assert accesslog.Mask().in_query(query) == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("iban=AT61&page=2", "iban=***&page=2"),
        ("IBAN=AT61;rest", "IBAN=***"),
        ("%69ban=AT61", "%69ban=***"),
        ("my_iban=1&iban2=2&iban", "my_iban=1&iban2=2&iban"),
        ("user%5BEmail%5D=a%40b&user[email]=a@b", "user%5BEmail%5D=***&user[email]=***"),
        ("token=x&page=2", "token=***&page=2"),
    ],
)
def test_a_parameter_that_the_project_names_is_masked_too(query: str, shown: str) -> None:
    """By its whole name, in whatever case; those that look like secrets are masked as before."""
    assert accesslog.Mask(["Iban", "user[email]"]).in_query(query) == shown


@pytest.mark.parametrize("style", ["auto", "text", "json", "{path} {user_agent}"])
def test_whatever_the_bytes_a_line_is_one_line(style: str, caplog: pytest.LogCaptureFixture) -> None:
    """All 256 of them, in every place that a client can write to."""
    every = bytes(range(256))
    scope = http(
        "/", raw_path=every, query_string=every, headers=[(b"user-agent", every)], method=every.decode("latin-1")
    )
    with caplog.at_level(logging.DEBUG, "django_asgi_deploy.access"):
        asyncio.run(exchange(Observed(Seen(), [accesslog.AccessLog(style)]), scope))
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage().splitlines()) == 1
    assert json.loads(JSONFormatter().format(record))["status"] == 200
    assert pickle.loads(pickle.dumps(record)).request_fields["status"] == 200  # as handlers to other processes do


def test_an_event_loop_that_ended_too_early_silences_no_other(caplog: pytest.LogCaptureFixture) -> None:
    observed = Observed(Seen(), [accesslog.AccessLog("{path}")])
    loop = asyncio.new_event_loop()

    async def end_at_once() -> None:
        loop.call_soon(loop.stop)
        await asyncio.sleep(0)
        await exchange(observed, http("/first"))

    task = loop.create_task(end_at_once())
    loop.run_forever()
    assert task.done()
    loop.close()
    with caplog.at_level(logging.INFO, "django_asgi_deploy.access"):
        asyncio.run(exchange(observed, http("/second")))
    assert [record.getMessage() for record in caplog.records] == ["/first", "/second"]


def test_an_observer_that_fails_does_not_fail_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def observe(seen: object) -> None:
        raise LookupError("no room")

    start, _ = asyncio.run(exchange(Observed(Seen(), [observe]), http("/")))
    assert start["status"] == 200
    assert "A request couldn't be noted" in caplog.text


def test_without_a_request_there_is_no_id() -> None:
    record = logging.LogRecord("mysite", logging.INFO, __file__, 1, "at work", None, None)
    assert RequestIDFilter().filter(record)
    assert record.request_id == "-"  # type: ignore[attr-defined]
    assert get_request_id() is None
    assert json.loads(JSONFormatter().format(record))["message"] == "at work"
