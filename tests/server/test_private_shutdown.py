"""What we touch of uvicorn's protocols when the server stops, driven with real connections."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from django_asgi_deploy.server import private, worker
from tests.server.test_tls import make_pair
from tests.utils import DEADLINE_SECONDS

WEBSOCKETS = ["websockets-sansio", "wsproto", "websockets"]
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SERVICE_RESTART = b"\x88\x02\x03\xf4"  # a close frame with the code 1012
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
IMPLEMENTATIONS = ["httptools", "h11"]


class Wire:
    """One connection of uvicorn's, with an application that answers when it is let go."""

    def __init__(self, **implementation: Any) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.config = uvicorn.Config(self.app, lifespan="off", log_config=None, interface="asgi3", **implementation)
        self.config.load()
        self.state = ServerState()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        await self.gate.wait()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "bytes": bytes(65536)})
                await asyncio.sleep(0)  # sending is no pause for uvicorn, not even to a client that has left
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def connection(self) -> Any:
        (only,) = self.state.connections
        return only

    def tell(self) -> None:
        private.close_after_last_request(self.connection)


@asynccontextmanager
async def wired(
    http: str = "httptools", ws: Any = "none"
) -> AsyncIterator[tuple[Wire, asyncio.StreamReader, asyncio.StreamWriter]]:
    wire = Wire(http=http, ws=ws)
    ours, theirs = socket.socketpair()

    def protocol() -> asyncio.Protocol:
        return wire.config.http_protocol_class(config=wire.config, server_state=wire.state, app_state={})  # type: ignore[call-arg]

    await asyncio.get_running_loop().connect_accepted_socket(protocol, theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        yield wire, reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        for task in wire.state.tasks:
            task.cancel()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await until(lambda: not wire.state.connections)


def run(test: Callable[[], Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await test()

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - of uvicorn's, which has no event for it
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_request_in_flight_is_answered_with_connection_close(implementation: str) -> None:
    async def test() -> None:
        async with wired(implementation) as (wire, reader, writer):
            writer.write(GET)
            await until(lambda: wire.running)
            assert private.is_busy(wire.connection)
            wire.tell()
            wire.gate.set()
            answer = await reader.read()
            assert answer.lower().count(b"connection: close") == 1
            assert answer.endswith(b"ok")

    run(test)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_idle_connection_answers_one_more_request(implementation: str) -> None:
    async def test() -> None:
        async with wired(implementation) as (wire, reader, writer):
            wire.gate.set()
            writer.write(GET)
            assert b"connection: close" not in (await reader.readuntil(b"ok")).lower()
            assert not private.is_busy(wire.connection)
            wire.tell()
            wire.tell()  # as often as one likes
            writer.write(GET)
            assert (await reader.read()).lower().count(b"connection: close") == 1
            assert wire.state.total_requests == 2

    run(test)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("told", ["before", "between", "after"])
def test_of_pipelined_requests_the_last_answer_closes(implementation: str, told: str) -> None:
    async def test() -> None:
        async with wired(implementation) as (wire, reader, writer):
            if told == "before":
                wire.tell()
            writer.write(GET * 2)
            await until(lambda: wire.running)
            if told == "between":
                wire.tell()
            writer.write(GET)
            await writer.drain()
            for _ in range(10):  # turns of the loop, for the third to arrive
                await asyncio.sleep(0.001)
            if told == "after":
                wire.tell()
            wire.gate.set()
            answers = (await reader.read()).lower()
            assert answers.count(b"200 ok") == 3
            assert answers.count(b"connection: close") == 1
            assert b"connection: close" in answers.rpartition(b"http/1.1 200 ok")[2]

    run(test)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_connection_that_is_receiving_a_head_or_a_body_is_busy(implementation: str) -> None:
    async def test() -> None:
        async with wired(implementation) as (wire, reader, writer):
            wire.gate.set()
            assert not private.is_busy(wire.connection)
            writer.write(b"GET / HTTP/1.1\r\nHost: local")
            await until(lambda: private.is_busy(wire.connection))
            wire.tell()
            writer.write(b"host\r\n\r\n")
            assert b"connection: close" in (await reader.read()).lower()

    run(test)


# ------------------------------------------------------------------ WebSockets

# uvicorn has one that it calls deprecated, and so do websockets, and serves it.
deprecated = pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::DeprecationWarning")


@deprecated
@pytest.mark.parametrize("implementation", WEBSOCKETS)
def test_a_websocket_is_busy_until_its_handshake_is_over(implementation: str) -> None:
    async def test() -> None:
        async with wired(ws=implementation) as (wire, reader, writer):
            writer.write(HANDSHAKE)
            await until(lambda: wire.running)
            assert private.is_busy(wire.connection)
            wire.tell()
            wire.gate.set()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await until(lambda: not private.is_busy(wire.connection))
            writer.transport.abort()

    run(test)


@deprecated
@pytest.mark.parametrize("implementation", WEBSOCKETS)
def test_a_websocket_whose_client_does_not_read_is_closed_however_often_it_is_told(implementation: str) -> None:
    async def test() -> None:
        async with wired(ws=implementation) as (wire, reader, writer):
            wire.gate.set()
            writer.write(HANDSHAKE)
            await until(lambda: wire.state.connections and wire.connection.transport.get_write_buffer_size())
            wire.tell()
            wire.tell()
            assert wire.connection.transport.is_closing()
            assert (await reader.read()).endswith(SERVICE_RESTART)

    run(test)


def test_a_connection_that_fails_to_close_is_cut_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """One protocol's trouble must not end a worker that answers others."""

    class Broken(WebSocketsSansIOProtocol):
        def shutdown(self) -> None:
            raise RuntimeError("no way out")

    async def test() -> None:
        async with wired(ws=Broken) as (wire, reader, writer):
            wire.gate.set()
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            worker._close(wire.connection, if_idle=False)
            await reader.read()
            await until(lambda: not wire.state.connections)

    run(test)
    assert "no way out" in caplog.text
    assert "cut: It couldn't be closed." in caplog.text


# ------------------------------------------------------------------ certificates


def test_a_fresh_context_has_what_is_in_the_certificates_files_now(tmp_path: Path) -> None:
    files = {"ssl_certfile": tmp_path / "cert.pem", "ssl_keyfile": tmp_path / "key.pem"}

    def put(pair: tuple[bytes, bytes]) -> None:
        for file, text in zip(files.values(), pair, strict=True):
            file.write_bytes(text)

    old, new = make_pair(tmp_path), make_pair(tmp_path)
    put(old)
    config = uvicorn.Config(Wire().app, **files)  # type: ignore[arg-type]
    config.load()
    assert config.ssl is not None
    put(new)
    assert [certificate_of(context) for context in (config.ssl, private.fresh_ssl_context(config))] == [old[0], new[0]]
    put((old[0], new[1]))
    with pytest.raises(ssl.SSLError):
        private.fresh_ssl_context(config)
    assert certificate_of(config.ssl) == old[0]


def certificate_of(context: ssl.SSLContext) -> bytes:
    """What a client would get, in PEM."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    client = trusting.wrap_bio(to_client, to_server)
    for side in (client, server, client):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    certificate = client.getpeercert(binary_form=True)
    assert certificate is not None
    return ssl.DER_cert_to_PEM_cert(certificate).encode()
