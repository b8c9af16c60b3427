"""What we touch of uvicorn's protocols when the server stops, driven with real connections."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from django_asgi_deploy.server import private
from tests.utils import DEADLINE_SECONDS

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
IMPLEMENTATIONS = ["httptools", "h11"]


class Wire:
    """One connection of uvicorn's, with an application that answers when it is let go."""

    def __init__(self, implementation: str) -> None:
        self.gate = asyncio.Event()
        self.running = 0
        self.config = uvicorn.Config(self.app, http=implementation, lifespan="off", log_config=None, interface="asgi3")
        self.config.load()
        self.state = ServerState()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    @property
    def connection(self) -> Any:
        (only,) = self.state.connections
        return only

    def tell(self) -> None:
        private.close_after_last_request(self.connection)


@asynccontextmanager
async def wired(implementation: str) -> AsyncIterator[tuple[Wire, asyncio.StreamReader, asyncio.StreamWriter]]:
    wire = Wire(implementation)
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
        while wire.state.connections:  # noqa: ASYNC110 - of uvicorn's, which has no event for it
            await asyncio.sleep(0)


def run(test: Callable[[], Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await test()

    asyncio.run(bounded())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - of uvicorn's, which has no event for it
        await asyncio.sleep(0)


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
