"""The layers in front of Django under six servers: what a proxy says, and where a site is."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import require_package
from tests.real.listening import listening
from tests.test_proxy import PLACE, ask, site_in
from tests.utils import DEADLINE_SECONDS, until

pytestmark = pytest.mark.real

APPLICATION = "mysite.asgi:application"
SERVERS = {
    "runasgi": ("manage.py runasgi 127.0.0.1:{port} --bind unix:{socket}", ""),
    "uvicorn": ("-m uvicorn {app} --port {port}", "-m uvicorn {app} --uds {socket}"),
    "gunicorn": ("-m gunicorn -k asgi -b 127.0.0.1:{port} -b unix:{socket} {app}", ""),
    "granian": ("-m granian --interface asgi --port {port} {app}", "-m granian --interface asgi --uds {socket} {app}"),
    "hypercorn": ("-m hypercorn -b 127.0.0.1:{port} -b unix:{socket} {app}", ""),
    "daphne": ("-m daphne -p {port} {app}", "-m daphne -u {socket} {app}"),
}


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port and the unix socket of a site under a prefix."""
    name = str(request.param)
    if name != "runasgi":
        require_package(name)
    folder = tmp_path_factory.mktemp(name)
    site = site_in(folder, {"ROOT_PATH": "/shop"})
    path = folder / "asgi.sock"
    over_tcp, over_unix = SERVERS[name]

    def command(template: str, ports: list[int]) -> list[str]:
        port = ports[0] if ports else 0
        return [sys.executable, *template.format(app=APPLICATION, port=port, socket=path).split()]

    with listening(lambda ports: command(over_tcp, ports), 1, site.folder) as ports:
        if not over_unix:
            yield ports[0], path
            return
        with listening(lambda _: command(over_unix, []), 0, site.folder):
            yield ports[0], path


def over_tcp(served: tuple[int, Path]) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served[0]), DEADLINE_SECONDS)


def over_unix(served: tuple[int, Path]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE_SECONDS)
    until(lambda: sock.connect_ex(str(served[1])) == 0)
    return sock


@pytest.mark.parametrize("connect", [over_tcp, over_unix])
def test_the_client_behind_the_proxy_is_known(served: tuple[int, Path], connect) -> None:
    with connect(served) as sock:
        seen = ask(sock, "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https")
        assert seen == "203.0.113.9 https://example.com/shop/page"


def test_the_address_of_who_connects_to_a_unix_socket_is_empty_not_missing(served: tuple[int, Path]) -> None:
    with over_unix(served) as sock:
        assert ask(sock) == " http://example.com/shop/page"


@pytest.mark.parametrize("path", ["/place/", "/shop/place/"])
def test_the_prefix_is_right_whether_it_was_stripped_or_not(served: tuple[int, Path], path: str) -> None:
    with over_tcp(served) as sock:
        assert json.loads(ask(sock, path=path)) == PLACE
    with over_tcp(served) as sock:
        assert ask(sock, path=path.replace("place", "leave")).endswith("/shop/place/")
