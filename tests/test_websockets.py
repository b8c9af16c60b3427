"""WebSockets over a real server and a real client: testproject's echo, and what a stranger's page gets."""

import asyncio
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.utils import Server, run_server

TESTPROJECT = Path(__file__).parent.parent / "testproject"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    environment = {"TESTPROJECT_DATABASE": str(tmp_path_factory.mktemp("data") / "db.sqlite3")}
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0"]
    with run_server(command, TESTPROJECT, environment) as server:
        server.wait_for("^Serving")
        yield server


async def echoed(server: Server, path: str, *messages: str | bytes, origin: str | None = None) -> list[str | bytes]:
    async with connect(f"ws://127.0.0.1:{server.port}{path}", origin=origin) as websocket:  # type: ignore[arg-type]
        answers = []
        for message in messages:
            await websocket.send(message)
            answers.append(await websocket.recv())
        return answers


def status_of(server: Server, path: str, origin: str | None = None) -> int:
    """The status with which the handshake is refused."""
    with pytest.raises(InvalidStatus) as raised:
        asyncio.run(echoed(server, path, origin=origin))
    return raised.value.response.status_code


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:8000", "https://localhost"])
def test_the_application_of_the_setting_answers_text_and_bytes(server: Server, origin: str | None) -> None:
    """Without an Origin it is no browser; the own machine's pages are allowed while DEBUG is on."""
    assert asyncio.run(echoed(server, "/ws/echo/", "Grüße", b"\0\xff", origin=origin)) == ["Grüße", b"\0\xff"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_strangers_page_gets_403_and_a_line_in_the_log(server: Server, origin: str) -> None:
    assert status_of(server, "/ws/echo/", origin) == 403
    server.wait_for(f"A WebSocket handshake from '{origin}' to '/ws/echo/' is refused")


def test_another_path_is_refused_by_the_application(server: Server) -> None:
    assert status_of(server, "/ws/other/") == 403
