"""What we know of uvicorn's protocols, driven through real connections: it fails where a version of uvicorn differs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from django_asgi_deploy.server import private

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
DEADLINE_SECONDS = 60
protocols = pytest.mark.parametrize("cls", [HttpToolsProtocol, H11Protocol])


class Application:
    """Takes one step of each request whenever ``go`` is released; ``received`` has the messages."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[str] = asyncio.Queue()
        self.received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            step = await self.steps.get()
            if step == "receive":
                self.received.put_nowait(await receive())
            elif step == "start":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            else:
                await send({"type": "http.response.body"})
                return


@asynccontextmanager
async def connection(cls: Any) -> AsyncIterator[tuple[Any, Application, asyncio.StreamReader, asyncio.StreamWriter]]:
    app, made = Application(), []

    def make() -> Any:
        config = uvicorn.Config(app, http=cls, log_config=None, access_log=False, lifespan="off", interface="asgi3")
        config.load()
        made.append(cls(config=config, server_state=ServerState(), app_state={}))
        return made[0]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    while not made:  # noqa: ASYNC110 # uvicorn sets no event
        await asyncio.sleep(0)
    try:
        yield made[0], app, reader, writer
    finally:
        writer.transport.abort()
        made[0].transport.abort()
        server.close()
        for task in list(made[0].tasks):
            task.cancel()
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 # uvicorn sets no event
            await asyncio.sleep(0.005)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await test()

    asyncio.run(limited())


@protocols
def test_a_request_is_answered_when_its_response_is_complete(cls: Any) -> None:
    async def test() -> None:
        async with connection(cls) as (protocol, app, reader, writer):
            assert private.is_answered(protocol)
            writer.write(GET)
            await until(lambda: not private.is_answered(protocol))
            app.steps.put_nowait("start")
            await reader.readuntil(b"\r\n\r\n")
            assert not private.is_answered(protocol)
            app.steps.put_nowait("end")
            await until(lambda: private.is_answered(protocol))

    run(test)


@protocols
def test_a_body_is_missing_until_its_end_and_waited_for_until_the_response(cls: Any) -> None:
    async def test() -> None:
        async with connection(cls) as (protocol, app, reader, writer):
            assert not private.is_body_missing(protocol)
            writer.write(HEAD + b"Content-Length: 6\r\n\r\nabc")
            await until(lambda: private.is_body_missing(protocol) and private.is_body_waited_for(protocol))
            app.steps.put_nowait("start")
            await reader.readuntil(b"\r\n\r\n")
            assert private.is_body_missing(protocol)
            assert not private.is_body_waited_for(protocol)
            writer.write(b"def")
            await until(lambda: not private.is_body_missing(protocol))

    run(test)


@protocols
def test_a_body_is_not_waited_for_while_the_application_has_enough_or_has_not_asked(cls: Any) -> None:
    async def test() -> None:
        async with connection(cls) as (protocol, app, _, writer):
            writer.write(HEAD + b"Content-Length: 500000\r\n\r\n" + b"x" * 200_000)
            await until(lambda: protocol.flow and protocol.flow.read_paused)
            assert not private.is_body_waited_for(protocol)
        async with connection(cls) as (protocol, app, reader, writer):
            writer.write(HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            await until(lambda: not private.is_answered(protocol))
            assert not private.is_body_waited_for(protocol)
            app.steps.put_nowait("receive")
            assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
            assert private.is_body_waited_for(protocol)

    run(test)


@protocols
def test_a_request_that_is_given_up_looks_to_the_application_as_a_client_that_left(cls: Any) -> None:
    async def test() -> None:
        async with connection(cls) as (protocol, app, reader, writer):
            writer.write(HEAD + b"Content-Length: 3\r\n\r\n")
            await until(lambda: not private.is_answered(protocol))
            assert private.give_up_request(protocol) is True
            app.steps.put_nowait("receive")
            assert (await app.received.get())["type"] == "http.disconnect"
            app.steps.put_nowait("start")
            app.steps.put_nowait("end")
            await until(lambda: not protocol.tasks)
            assert not reader._buffer  # type: ignore[attr-defined]  # nothing was sent

    run(test)


def test_requests_of_httptools_wait_in_a_queue_the_last_one_can_be_taken_out() -> None:
    async def test() -> None:
        async with connection(HttpToolsProtocol) as (protocol, app, reader, writer):
            writer.write(GET)
            await until(lambda: not private.is_answered(protocol))
            assert not private.has_earlier_requests(protocol)
            writer.write(GET + HEAD + b"Content-Length: 3\r\n\r\n")
            await until(lambda: private.has_earlier_requests(protocol) and private.is_body_missing(protocol))
            private.forget_queued_request(protocol)
            assert private.has_earlier_requests(protocol)
            assert private.start_queued_request(protocol) is True
            assert private.start_queued_request(protocol) is False
            for _ in range(2):
                app.steps.put_nowait("start")
                app.steps.put_nowait("end")
            for _ in range(2):
                await reader.readuntil(b"\r\n\r\n")

    run(test)


def test_the_scope_of_httptools_has_a_method_when_the_headers_are_complete() -> None:
    async def test() -> None:
        async with connection(HttpToolsProtocol) as (protocol, _, _, writer):
            assert not private.is_in_headers_httptools(protocol)
            writer.write(HEAD)
            await until(lambda: private.is_in_headers_httptools(protocol))
            assert private.is_midway_httptools(protocol)
            writer.write(b"Content-Length: 3\r\n\r\n")
            await until(lambda: not private.is_in_headers_httptools(protocol))
            assert private.is_midway_httptools(protocol)
            writer.write(b"abc")
            await until(lambda: not private.is_midway_httptools(protocol))

    run(test)


def test_h11_proposes_a_status_for_what_is_wrong() -> None:
    import h11

    found = []
    for sent in (b"GET / HTTP/1.1\r\nX: " + b"a" * 100, b"GARBAGE\r\n\r\n"):
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=50)
        parser.receive_data(sent)
        try:
            parser.next_event()
        except h11.RemoteProtocolError:
            found.append(private.h11_status_hint())
    assert found == [431, 400]
