"""Behind a proxy, by the tables of docs/proxy.rst, through a real server; the test is the proxy."""

import json
import socket
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tables import rows
from tests.utils import DEADLINE_SECONDS, Server, Site

URLS = """
    from django.http import HttpResponse, JsonResponse
    from django.shortcuts import redirect
    from django.templatetags.static import static
    from django.urls import path, reverse

    def page(request):
        return HttpResponse(f"{request.META['REMOTE_ADDR']} {request.build_absolute_uri()}")

    def place(request):
        return JsonResponse({
            "script_name": request.META["SCRIPT_NAME"],
            "path": request.path,
            "path_info": request.path_info,
            "link": reverse("place"),
            "static": static("site.css"),
        })

    def leave(request):
        return redirect("place")

    urlpatterns = [path("page", page), path("place/", place, name="place"), path("leave/", leave)]
"""
X_FORWARDED = [f"x-forwarded-{name}" for name in ("for", "proto", "host", "port", "prefix")]
ECHO = """
    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": f"{scope['client'][0]} {scope['scheme']} {scope['path']}"})
        await send({"type": "websocket.close"})
"""


def say(server: Server, *lines: str, path: str = "/page", host: str = "example.com") -> str:
    """The body, or the Location, of the answer to a GET with these header lines."""
    with server.connect() as sock:
        return ask(sock, *lines, path=path, host=host)


def ask(sock: socket.socket, *lines: str, path: str = "/page", host: str = "example.com") -> str:
    head = "\r\n".join([f"GET {path} HTTP/1.0", f"Host: {host}", *lines])
    sock.sendall(f"{head}\r\n\r\n".encode("latin-1"))
    answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    if "transfer-encoding: chunked" in head:
        body = "".join(body.split("\r\n")[1:-3:2])
    location = [line for line in head.splitlines() if line.lower().startswith("location: ")]
    return location[0].partition(" ")[2] if location else body


def site_in(folder: Path, options: dict[str, object]) -> Site:
    site = Site(folder, mysite__urls=URLS, mysite__echo=ECHO)
    site.append(
        "mysite/settings",
        f"""
        STATIC_URL = "static/"
        INSTALLED_APPS += ["django.contrib.staticfiles"]
        ASGI_DEPLOY = {options!r}
        """,
    )
    return site


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with site_in(tmp_path_factory.mktemp("default"), {"WEBSOCKET": "mysite.echo:application"}).serve() as server:
        yield server


@pytest.fixture(scope="module")
def x_forwarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with site_in(tmp_path_factory.mktemp("x"), {"FORWARDED_HEADERS": X_FORWARDED}).serve() as server:
        yield server


@pytest.fixture(scope="module")
def forwarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with site_in(tmp_path_factory.mktemp("rfc"), {"FORWARDED_HEADERS": ["Forwarded"]}).serve() as server:
        yield server


@pytest.mark.parametrize(("sent", "seen"), rows("proxy.rst", "With the default settings"))
def test_by_default_only_client_and_scheme_are_believed(default: Server, sent: list[str], seen: list[str]) -> None:
    assert [say(default, *sent)] == seen


@pytest.mark.parametrize(("sent", "seen"), rows("proxy.rst", "With all headers whose name begins with x-forwarded"))
def test_host_port_and_prefix_are_believed_when_named(x_forwarded: Server, sent: list[str], seen: list[str]) -> None:
    assert [say(x_forwarded, *sent)] == seen


@pytest.mark.parametrize(("sent", "seen"), rows("proxy.rst", "With forwarded alone"))
def test_forwarded_is_read_as_rfc_7239_says(forwarded: Server, sent: list[str], seen: list[str]) -> None:
    assert [say(forwarded, *sent)] == seen


def test_nobody_is_believed_who_is_not_a_proxy(tmp_path: Path) -> None:
    with site_in(tmp_path, {"TRUSTED_PROXIES": ["10.0.0.0/8"], "FORWARDED_HEADERS": X_FORWARDED}).serve() as server:
        lines = ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /evil"]
        assert say(server, *lines) == "127.0.0.1 http://example.com/page"


def test_with_a_star_the_client_is_the_last_one_because_the_others_may_be_his_own_words(tmp_path: Path) -> None:
    with site_in(tmp_path, {"TRUSTED_PROXIES": ["*"]}).serve() as server:
        assert say(server, "X-Forwarded-For: 6.6.6.6, 203.0.113.9") == "203.0.113.9 http://example.com/page"


def test_a_long_list_of_addresses_is_read_from_its_end(default: Server) -> None:
    lines = [f"X-Forwarded-For: {', '.join(['6.6.6.6'] * 1000)}"] * 5
    assert say(default, *lines, "X-Forwarded-For: 203.0.113.9").startswith("203.0.113.9 ")
    assert say(default, f"X-Forwarded-For: {'9' * 30000}").startswith("unknown ")


def test_over_a_unix_socket_the_headers_are_believed_and_the_address_is_never_missing(tmp_path: Path) -> None:
    path = tmp_path / "asgi.sock"
    with site_in(tmp_path, {}).serve("--bind", f"unix:{path}") as server:
        server.wait_for("^Serving unix")

        def over_unix(*lines: str) -> str:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(DEADLINE_SECONDS)
                sock.connect(str(path))
                return ask(sock, *lines)

        assert over_unix() == " http://example.com/page"
        lines = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"]
        assert over_unix(*lines) == "203.0.113.9 https://example.com/page"


def test_a_websocket_knows_client_and_scheme_too(default: Server) -> None:
    lines = [
        "GET /ws HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
    ]
    with default.connect() as sock:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        received = b""
        while b"/ws" not in received:
            part = sock.recv(65536)
            assert part, received
            received += part
        assert b"203.0.113.9 wss /ws" in received


WRAPPED = """
    def wrapped(app):
        async def application(scope, receive, send):
            await app(scope, receive, send)
        return application
    application = wrapped(application)
"""


@pytest.mark.parametrize("wrapping", ["", WRAPPED], ids=["stock", "wrapped"])
def test_an_application_that_is_not_ours_is_behind_it_too(tmp_path: Path, wrapping: str) -> None:
    site = site_in(tmp_path, {"ROOT_PATH": "/shop", "HANDLER": "django"})
    site.write("mysite/asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()")
    site.append("mysite/asgi", f"\n{textwrap.dedent(wrapping)}")
    with site.serve() as server:
        assert say(server, "X-Forwarded-For: 203.0.113.9") == "203.0.113.9 http://example.com/shop/page"


# ------------------------------------------------------------------ under a prefix

PLACE = {
    "script_name": "/shop",
    "path": "/shop/place/",
    "path_info": "/place/",
    "link": "/shop/place/",
    "static": "/shop/static/site.css",
}


@pytest.mark.parametrize(
    "configured",
    ["ASGI_DEPLOY = {'ROOT_PATH': '/shop'}", "FORCE_SCRIPT_NAME = '/shop'"],
    ids=["ROOT_PATH", "FORCE_SCRIPT_NAME"],
)
def test_under_a_prefix_everything_is_right_whether_the_proxy_strips_it_or_not(tmp_path: Path, configured: str) -> None:
    site = site_in(tmp_path, {})
    site.append("mysite/settings", configured)
    with site.serve() as server:
        for path in ("/place/", "/shop/place/"):
            assert json.loads(say(server, path=path)) == PLACE
        for path in ("/leave/", "/shop/leave/"):
            assert say(server, path=path) == "/shop/place/"
        assert "Page not found" in say(server, path="/shopping/place/")


def test_a_prefix_and_force_script_name_that_differ_are_refused(tmp_path: Path) -> None:
    site = site_in(tmp_path, {"ROOT_PATH": "/shop"})
    site.append("mysite/settings", "FORCE_SCRIPT_NAME = '/store'")
    result = site.run("0")
    assert result.returncode == 2
    assert "ROOT_PATH = '/shop' (settings.ASGI_DEPLOY[\"ROOT_PATH\"]) and FORCE_SCRIPT_NAME = '/store' differ" in (
        result.stderr
    )


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--trusted-proxies", "10.0.0.1/8"], "an address in a network; the network is 10.0.0.0/8."),
        (["--trusted-proxies", "proxy.local"], 'expected an address, a network such as "10.0.0.0/8", "unix" or "*".'),
        (["--forwarded-headers", "x-forwarded"], "'x-forwarded': expected one of x-forwarded-for, x-real-ip,"),
        (
            ["--forwarded-headers", "forwarded", "--forwarded-headers", "x-forwarded-for"],
            "FORWARDED_HEADERS (--forwarded-headers): forwarded and x-forwarded-for all say who the client is;",
        ),
        (["--root-path", "shop"], "--root-path shop: 'shop': expected a prefix such as \"/api\"."),
        (["--root-path", "/shop/"], 'expected a prefix without a slash at the end, such as "/shop".'),
    ],
)
def test_a_mistake_is_quoted_with_what_was_expected(site: Site, arguments: list[str], expected: str) -> None:
    result = site.run(*arguments)
    assert result.returncode == 2
    assert expected in result.stderr


@pytest.mark.parametrize(
    ("name", "ours"), [("root_path", "ROOT_PATH"), ("forwarded_allow_ips", "TRUSTED_PROXIES"), ("proxy_headers", "T")]
)
def test_what_uvicorn_calls_it_names_ours(site: Site, name: str, ours: str) -> None:
    site.append("mysite/settings", f"ASGI_DEPLOY = {{'UVICORN': {{{name!r}: ''}}}}")
    assert f'UVICORN["{name}"]: use {ours}' in site.run("0").stderr


def test_forwarded_allow_ips_is_understood_and_said(tmp_path: Path) -> None:
    site = site_in(tmp_path, {})
    with site.serve(FORWARDED_ALLOW_IPS="10.0.0.0/8, 127.0.0.1") as server:
        server.wait_for("note +FORWARDED_ALLOW_IPS=10.0.0.0/8, 127.0.0.1 in the environment: taken for TRUSTED_PROXIES")
        assert say(server, "X-Forwarded-For: 203.0.113.9, 10.1.2.3").startswith("203.0.113.9 ")
