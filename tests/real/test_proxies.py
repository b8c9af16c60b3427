"""nginx and HAProxy in front, over TCP and over a unix socket, with whatever a client forges.

The client comes from 127.0.0.9, so that the proxies, at 127.0.0.1, can be told from it.
"""

import json
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.programs import require_program
from tests.real.listening import listening
from tests.test_proxy import PLACE, ask, site_in
from tests.test_served import make_certificate
from tests.utils import DEADLINE_SECONDS

pytestmark = pytest.mark.real

CLIENT = "127.0.0.9"
FORGED = {
    "nothing": [],
    "an address": ["X-Forwarded-For: 6.6.6.6"],
    "several lines": ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: 7.7.7.7"],
    "a trusted address": ["X-Forwarded-For: 127.0.0.1"],
    "IPv6 with a port": ["X-Forwarded-For: [2001:db8::1]:443"],
    "an unknown": ["X-Forwarded-For: unknown"],
    "an obfuscated identifier": ["X-Forwarded-For: _hidden, _SEVKISEK"],
    "garbage": ["X-Forwarded-For: ';!--\"<>=&{()}, , ,"],
    "a scheme": ["X-Forwarded-Proto: https"],
    "several schemes": ["X-Forwarded-Proto: https", "X-Forwarded-Proto: https, https"],
    "a host": ["X-Forwarded-Host: evil.example"],
    "a port and a prefix": ["X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil"],
    "Forwarded": ["Forwarded: for=6.6.6.6;proto=https;host=evil.example"],
    "X-Real-IP": ["X-Real-IP: 6.6.6.6"],
    "underscores": ["X_Forwarded_For: 6.6.6.6", "X_Forwarded_Proto: https"],
}

NGINX = """
    {user}
    daemon off;
    worker_processes 1;
    pid {folder}/nginx.pid;
    error_log stderr warn;
    events {{ worker_connections 64; }}
    http {{
        access_log off;
        client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
        uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
        upstream tcp {{ server 127.0.0.1:{upstream}; }}
        upstream unix {{ server unix:{socket}; }}
        upstream shop {{ server 127.0.0.1:{shop}; }}
        server {{
            listen 127.0.0.1:{ports[0]};
            listen 127.0.0.1:{ports[1]} ssl;
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            location / {{
                proxy_pass http://tcp;
                proxy_set_header X-Forwarded-For $remote_addr;
                {common}
            }}
        }}
        server {{
            listen 127.0.0.1:{ports[2]};
            location / {{
                proxy_pass http://tcp;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                {common}
            }}
        }}
        server {{
            listen 127.0.0.1:{ports[3]};
            location / {{
                proxy_pass http://unix;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                {common}
            }}
        }}
        server {{
            listen 127.0.0.1:{ports[4]};
            location /shop/ {{ proxy_pass http://shop/; {common} }}
        }}
        server {{
            listen 127.0.0.1:{ports[5]};
            location /shop/ {{ proxy_pass http://shop; {common} }}
        }}
    }}
"""
COMMON = """
                proxy_http_version 1.1;
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection "upgrade";
"""
HAPROXY = """
    defaults
        mode http
        timeout connect 10s
        timeout client 60s
        timeout server 60s
        option forwardfor
    frontend tcp
        bind 127.0.0.1:{ports[0]}
        http-request set-header X-Forwarded-Proto http
        default_backend tcp
    frontend unix
        bind 127.0.0.1:{ports[1]}
        http-request set-header X-Forwarded-Proto http
        default_backend unix
    frontend chain
        bind 127.0.0.1:{ports[2]}
        http-request set-header X-Forwarded-Proto http
        default_backend chain
    backend tcp
        server upstream 127.0.0.1:{upstream}
    backend unix
        server upstream unix@{socket}
    backend chain
        server nginx 127.0.0.1:{nginx}
"""


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """By name of a way to the site: the port where it begins."""
    nginx, haproxy = require_program("nginx"), require_program("haproxy")
    folder = tmp_path_factory.mktemp("proxies")
    folder.chmod(0o755)
    certificate, key = make_certificate(folder)
    options: dict[str, Any] = {"TRUSTED_PROXIES": ["127.0.0.1", "unix"]}
    site = site_in(folder / "site", options | {"WEBSOCKET": "mysite.echo:application"})
    shop = site_in(folder / "shop", options | {"ROOT_PATH": "/shop"})
    path = folder / "asgi.sock"
    with site.serve("--bind", "127.0.0.1:0", "--bind", f"unix:{path}") as server, shop.serve() as second:
        server.wait_for("^Serving unix")
        facts = {
            "folder": folder,
            "upstream": server.port,
            "shop": second.port,
            "socket": path,
            "certificate": certificate,
            "key": key,
            "common": COMMON,
            "user": "user root;" if os.geteuid() == 0 else "",  # by default nobody, who can't look into our folder
        }

        def start_nginx(ports: list[int]) -> list[str]:
            (folder / "nginx.conf").write_text(NGINX.format(ports=ports, **facts))
            return [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]

        def start_haproxy(ports: list[int]) -> list[str]:
            (folder / "haproxy.cfg").write_text(HAPROXY.format(ports=ports, nginx=found[2], **facts))
            return [haproxy, "-db", "-f", str(folder / "haproxy.cfg")]

        with listening(start_nginx, 6, folder) as found, listening(start_haproxy, 3, folder) as others:
            yield {
                "nginx": found[0],
                "nginx with TLS": found[1],
                "nginx that appends": found[2],
                "nginx to a unix socket": found[3],
                "nginx that strips the prefix": found[4],
                "nginx that leaves the prefix": found[5],
                "HAProxy": others[0],
                "HAProxy to a unix socket": others[1],
                "HAProxy to nginx": others[2],
            }


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS, source_address=(CLIENT, 0))


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize(
    "way",
    [
        "nginx",
        "nginx that appends",
        "nginx to a unix socket",
        "HAProxy",
        "HAProxy to a unix socket",
        "HAProxy to nginx",
    ],
)
def test_whatever_a_client_forges_it_is_known_for_what_it_is(proxies: dict[str, int], way: str, forged: str) -> None:
    with connect(proxies[way]) as sock:
        assert ask(sock, *FORGED[forged]) == f"{CLIENT} http://example.com/page"


def test_https_of_the_client_is_https_in_django(proxies: dict[str, int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(proxies["nginx with TLS"]), server_hostname="localhost") as sock:
        assert ask(sock, "X-Forwarded-Proto: http") == f"{CLIENT} https://example.com/page"


def test_a_websocket_through_tls_is_wss(proxies: dict[str, int]) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    head = ["GET /ws HTTP/1.1", "Host: localhost", *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    with context.wrap_socket(connect(proxies["nginx with TLS"]), server_hostname="localhost") as sock:
        sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        received = b""
        while b"/ws" not in received:
            part = sock.recv(65536)
            assert part, received
            received += part
    assert f"{CLIENT} wss /ws".encode() in received


@pytest.mark.parametrize("way", ["nginx that strips the prefix", "nginx that leaves the prefix"])
def test_links_redirects_and_static_urls_have_the_prefix(proxies: dict[str, int], way: str) -> None:
    with connect(proxies[way]) as sock:
        assert json.loads(ask(sock, path="/shop/place/")) == PLACE
    with connect(proxies[way]) as sock:
        assert ask(sock, path="/shop/leave/").endswith("/shop/place/")
