"""What is written in one turn of the event loop leaves in one piece; nothing waits longer than that, or gets lost."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from django_asgi_deploy.server.writes import AT_ONCE_BYTES, BatchedTransport, Turn
from tests.utils import DEADLINE_SECONDS, Site

Scenario = Callable[[BatchedTransport, socket.socket], Awaitable[None]]


class Writes(asyncio.Protocol):
    """Notes when the transport asks to stop writing."""

    paused = False

    def pause_writing(self) -> None:
        self.paused = True


def connected(scenario: Scenario) -> Writes:
    """Runs ``scenario`` with a batched transport and the socket at its other end."""
    protocol = Writes()

    async def run() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        with theirs:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await scenario(BatchedTransport(transport, Turn(loop)), theirs)
            finally:
                transport.abort()
                await asyncio.sleep(0)

    asyncio.run(run())
    return protocol


def nothing_has_arrived(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


def test_writes_of_one_turn_are_sent_together_at_its_end() -> None:
    async def scenario(transport: BatchedTransport, theirs: socket.socket) -> None:
        transport.write(b"head, ")
        assert nothing_has_arrived(theirs)
        transport.write(b"body")
        assert transport.get_write_buffer_size() == 10
        received = await asyncio.get_running_loop().sock_recv(theirs, 100)
        assert received == b"head, body"
        assert transport.get_write_buffer_size() == 0

    connected(scenario)


def test_closing_sends_what_was_written() -> None:
    async def scenario(transport: BatchedTransport, theirs: socket.socket) -> None:
        transport.write(b"last words")
        transport.close()
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(theirs, 100) == b"last words"
        assert await loop.sock_recv(theirs, 100) == b""

    connected(scenario)


def test_aborting_sends_nothing() -> None:
    async def scenario(transport: BatchedTransport, theirs: socket.socket) -> None:
        transport.write(b"never to be sent")
        transport.abort()
        assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""

    connected(scenario)


def test_what_was_written_to_a_connection_that_is_lost_meanwhile_is_dropped() -> None:
    async def scenario(transport: BatchedTransport, theirs: socket.socket) -> None:
        transport.write(b"nobody reads this")
        transport._transport.abort()  # as the loop does when the client is gone
        await asyncio.sleep(0)
        transport.flush()

    connected(scenario)


def test_a_protocol_that_writes_much_without_a_pause_is_told_to_stop_in_the_same_turn() -> None:
    async def scenario(transport: BatchedTransport, theirs: socket.socket) -> None:
        for _ in range(100):
            if protocol_is_paused(transport):
                break
            transport.write(b"x" * (AT_ONCE_BYTES + 1))
        assert protocol_is_paused(transport)

    def protocol_is_paused(transport: BatchedTransport) -> bool:
        return transport.get_protocol().paused

    assert connected(scenario).paused


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_streams_head_doesnt_wait_for_its_first_part(site: Site, http: str, loop: str) -> None:
    """An EventSource opens at the head, before there is an event."""
    site.write(
        "mysite/urls",
        """
        import asyncio
        from django.http import StreamingHttpResponse
        from django.urls import path

        async def silent(request):
            async def parts():
                await asyncio.Event().wait()
                yield b""
            return StreamingHttpResponse(parts(), headers={"X-Last": "head"})

        urlpatterns = [path("silent", silent)]
        """,
    )
    with site.serve("--http", http, "--loop", loop) as server, server.connect() as sock:
        sock.sendall(b"GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            part = sock.recv(65536)
            assert part, received
            received += part
        assert b"x-last: head" in received.lower()


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_pipelined_requests_are_answered_in_order(site: Site, http: str) -> None:
    site.write(
        "mysite/urls",
        """
        from django.http import HttpResponse
        from django.urls import path

        urlpatterns = [path("<int:number>", lambda request, number: HttpResponse(f"answer {number};"))]
        """,
    )
    with site.serve("--http", http) as server, server.connect() as sock:
        for number in range(20):
            last = b"Connection: close\r\n" if number == 19 else b""
            sock.sendall(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (number, last))
        received = b"".join(iter(lambda: sock.recv(65536), b""))
        answers = [part.split(b";")[0] for part in received.split(b"answer ")[1:]]
        assert answers == [b"%d" % number for number in range(20)]
