"""Every row of the tables in tests/malformed.py, sent to a real server of each HTTP implementation."""

import re
import socket
from collections.abc import Iterator

import pytest

from tests import malformed
from tests.malformed import BODIES, HEALTH_PATHS, ORIGINS, Row
from tests.utils import Server, Site

URLS = """
    from django.http import HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    @csrf_exempt
    def length(request):
        return HttpResponse(str(len(request.body)))

    @csrf_exempt
    def form(request):
        return HttpResponse(str(dict(request.POST)))

    urlpatterns = [path("", length), path("form", form)]
"""
SOCKETS = """
    async def application(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
"""


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp(request.param), mysite__urls=URLS, mysite__sockets=SOCKETS)
    options = {
        "MAX_BODY_BYTES": malformed.MAX_BODY_BYTES,
        "LIVE_PATH": malformed.LIVE_PATH,
        "WEBSOCKET": "mysite.sockets:application",
        "WEBSOCKET_ALLOWED_ORIGINS": malformed.WEBSOCKET_ALLOWED_ORIGINS,
    }
    site.append(
        "mysite/settings",
        f"DEBUG = False\nALLOWED_HOSTS = {malformed.ALLOWED_HOSTS}\nASGI_DEPLOY = {options}\n"
        'MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]\n',
    )
    with site.serve("--http", request.param) as server:
        server.wait_for("^Serving")
        yield server


def answers(server: Server, sent: bytes, expected: int) -> bytes:
    """What comes back: first ``expected`` answers; then the client says that it is done, and gets what is left."""
    with server.connect() as sock:
        sock.sendall(sent)
        received = b""
        while len(statuses(received)) < expected and (piece := sock.recv(65536)):
            received += piece
        try:
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                received += piece
        except OSError:  # the server has closed it already
            pass
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+)", received, re.M)]


@pytest.mark.parametrize("row", [*BODIES, *HEALTH_PATHS, *ORIGINS], ids=lambda row: row.title)
def test_malformed_input_gets_the_answer_that_the_documentation_says(server: Server, row: Row) -> None:
    received = answers(server, row.sent, len(row.statuses))
    assert statuses(received) == list(row.statuses)
    if "closed" in row.remark:
        assert b"connection: close" in received.lower()


def test_after_all_of_it_the_server_serves_and_has_shown_no_traceback(server: Server) -> None:
    assert statuses(answers(server, malformed.post("Content-Length: 3", body=b"abc"), 1)) == [200]
    assert "Traceback" not in server.output
