"""Limits of a request and of all together, at the ASGI protocol; on the wire: tests/test_served_limits.py."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from django_asgi_deploy.layers import limits
from django_asgi_deploy.layers.limits import BodyLimit, Deadline, InFlight
from django_asgi_deploy.types import Receive, Scope, Send
from tests.layers.asgi import Seen, exchange, http, websocket
from tests.utils import DEADLINE_SECONDS


def piece(body: bytes, more_body: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more_body}


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, or nothing if the client leaves."""
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length += len(message["body"])
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def posted(*pieces: bytes, headers: list[tuple[bytes, bytes]], app: Any = reading, **changes: Any) -> list[Any]:
    """What is sent for a body in these pieces, of which 10 bytes are allowed."""
    messages = [piece(each, number < len(pieces)) for number, each in enumerate(pieces, 1)]
    scope = http("/", method="POST", headers=headers, **changes)
    return asyncio.run(asyncio.wait_for(exchange(BodyLimit(app, 10), scope, *messages), DEADLINE_SECONDS))


CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("pieces", "headers", "expected"),
    [
        ([b"x" * 10], [(b"content-length", b"10")], 200),
        ([b"x" * 11], [(b"content-length", b"11")], 413),
        ([b"x" * 11], [(b"content-length", b"9" * 5000)], 413),
        ([b"x" * 10], CHUNKED, 200),
        ([b"x" * 5, b"x" * 5], CHUNKED, 200),
        ([b"x" * 11], CHUNKED, 413),
        ([b"x" * 6, b"x" * 6, b"x" * 6], CHUNKED, 413),
        ([b"x" * 11], [*CHUNKED, (b"content-length", b"3")], 413),
        ([b""], [], 200),
    ],
)
def test_a_body_of_as_much_as_is_allowed_passes_and_one_byte_more_does_not(
    pieces: list[bytes], headers: list[tuple[bytes, bytes]], expected: int
) -> None:
    start, *body = posted(*pieces, headers=headers)
    assert start["status"] == expected
    assert body[-1].get("more_body", False) is False
    if expected == 200:
        assert body[0]["body"] == str(sum(map(len, pieces))).encode()


def test_over_http_2_a_body_has_neither_header_and_is_counted_and_no_header_is_sent_that_http_2_forbids() -> None:
    start, *_ = posted(b"x" * 11, headers=[], http_version="2")
    assert start["status"] == 413
    assert b"connection" not in dict(start["headers"])


def test_the_413_comes_before_anything_is_read() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        assert sent[1]["more_body"] is True  # the response isn't over: the connection stays while the client sends
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = http("/", headers=[(b"content-length", b"11")])
    asyncio.run(BodyLimit(Seen(), 10)(scope, receive, send))
    assert sent[-1] == {"type": "http.response.body"}


def test_an_application_that_fails_because_its_client_seems_to_leave_is_not_heard() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 500, "headers": []})
        raise ConnectionError("the client left")

    start, *_ = posted(b"x" * 11, headers=CHUNKED, app=failing)
    assert start["status"] == 413


def test_an_application_that_answers_before_it_has_the_whole_body_sees_its_client_leave() -> None:
    seen = []

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"early"})

    assert [message.get("status") or message["body"] for message in posted(b"x" * 11, headers=CHUNKED, app=early)] == [
        200,
        b"early",
    ]
    assert seen == ["http.disconnect"]


def test_its_own_mistakes_are_not_swallowed() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("the application's own")

    with pytest.raises(LookupError):
        posted(b"x", headers=CHUNKED, app=broken)


def test_a_client_that_sends_on_and_on_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.2)

    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return piece(b"x", more_body=True)

    async def send(message: Any) -> None:
        pass

    scope = http("/", headers=[(b"content-length", b"1000000")])
    asyncio.run(asyncio.wait_for(BodyLimit(Seen(), 10)(scope, receive, send), DEADLINE_SECONDS))


# ------------------------------------------------------------------ time


class Client:
    """A request whose messages from both sides can be waited for."""

    def __init__(self, app: Any, scope: Scope) -> None:
        self.sent: list[Any] = []
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.incoming.put_nowait(piece(b""))
        self.task = asyncio.ensure_future(app(scope, self.incoming.get, self.send))

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    async def end(self) -> "Client":
        await asyncio.wait_for(asyncio.shield(self.task), DEADLINE_SECONDS)
        return self


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))  # type: ignore[arg-type]


def test_an_application_that_does_not_answer_in_time_is_cancelled_and_the_client_gets_504() -> None:
    cancelled = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        client = await Client(Deadline(slow, 0.05), http("/")).end()
        assert [client.status, client.sent[1]["body"]] == [504, b"504 Gateway Timeout"]
        assert cancelled == [True]

    run(main)


def test_a_response_that_has_begun_may_take_as_long_as_it_likes() -> None:
    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.3)
        await send({"type": "http.response.body", "body": b"late"})

    async def main() -> None:
        client = await Client(Deadline(streaming, 0.05), http("/")).end()
        assert [client.status, client.sent[1]["body"]] == [200, b"late"]

    run(main)


def test_the_504_does_not_wait_for_code_that_cannot_be_cancelled_and_what_that_sends_is_dropped() -> None:
    async def main() -> None:
        answered, ended = asyncio.Event(), asyncio.Event()

        async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await answered.wait()  # as a thread does that goes on
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"late"})
            ended.set()

        client = Client(Deadline(stubborn, 0.05), http("/"))
        while len(client.sent) < 2:  # noqa: ASYNC110 - what a client receives sets no event
            await asyncio.sleep(0.001)
        assert not ended.is_set()
        answered.set()
        await client.end()
        assert ended.is_set()
        assert [message.get("status") for message in client.sent] == [504, None]

    run(main)


def test_time_counts_from_the_last_piece_of_the_body() -> None:
    async def main() -> None:
        client = Client(Deadline(reading, 2), http("/", method="POST"))
        client.incoming.get_nowait()
        for _ in range(5):
            client.incoming.put_nowait(piece(b"x", more_body=True))
            await asyncio.sleep(0.5)
        client.incoming.put_nowait(piece(b"x"))
        assert (await client.end()).status == 200

    run(main)


def test_a_client_that_has_left_is_not_answered_and_the_application_may_take_its_time_to_end() -> None:
    async def ending(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await asyncio.sleep(0.3)

    async def main() -> None:
        client = Client(Deadline(ending, 0.1), http("/"))
        client.incoming.put_nowait({"type": "http.disconnect"})
        assert (await client.end()).sent == []

    run(main)


def test_a_cancellation_from_outside_is_not_taken_for_the_deadlines() -> None:
    async def main() -> None:
        client = Client(Deadline(_waiting, 30), http("/"))
        await asyncio.sleep(0)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert client.sent == []

    run(main)


async def _waiting(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("layer", [lambda app: Deadline(app, 0.01), lambda app: InFlight(app, 1, 0)])
def test_websockets_are_not_their_business(layer: Any) -> None:
    async def main() -> None:
        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(0.1)
            await send({"type": "websocket.accept"})

        app = layer(slow)
        answers = await asyncio.gather(exchange(app, websocket("/")), exchange(app, websocket("/")))
        assert answers == [[{"type": "websocket.accept"}]] * 2

    run(main)


# ------------------------------------------------------------------ number


class Gate:
    """An application whose requests wait until they are let out, and says in which order they came."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.open = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.append(scope["path"])
        await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


def test_the_rest_waits_for_its_turn_in_order() -> None:
    async def main() -> None:
        gate = Gate()
        app = InFlight(gate, 2, DEADLINE_SECONDS)
        clients = [Client(app, http(f"/{number}")) for number in range(6)]
        await asyncio.sleep(0.05)
        assert gate.inside == ["/0", "/1"]
        gate.open.set()
        for client in clients:
            assert (await client.end()).status == 200
        assert gate.inside == [f"/{number}" for number in range(6)]

    run(main)


@pytest.mark.parametrize(("seconds", "retry_after"), [(0, b"1"), (0.05, b"1"), (1.2, b"2")])
def test_who_has_waited_too_long_gets_503_and_is_told_when_to_come_back(seconds: float, retry_after: bytes) -> None:
    async def main() -> None:
        gate = Gate()
        app = InFlight(gate, 1, seconds)
        first, second = Client(app, http("/first")), Client(app, http("/second"))
        await second.end()
        assert second.status == 503
        assert dict(second.sent[0]["headers"])[b"retry-after"] == retry_after
        gate.open.set()
        assert (await first.end()).status == 200
        assert (await Client(app, http("/third")).end()).status == 200

    run(main)


POST = [(b"content-length", b"4")]


def test_a_body_that_comes_slowly_takes_no_place_before_its_end() -> None:
    async def main() -> None:
        app = InFlight(reading, 1, 0)
        messages: asyncio.Queue[Any] = asyncio.Queue()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        messages.put_nowait(piece(b"ab", more_body=True))
        slow = asyncio.create_task(app(http("/", method="POST", headers=POST), messages.get, send))
        await asyncio.sleep(0.02)
        start, _ = await exchange(app, http("/"))
        assert start["status"] == 200
        assert sent == []
        messages.put_nowait(piece(b"cd"))
        await slow
        assert (sent[0]["status"], sent[1]["body"]) == (200, b"4")
        assert app.places._value == 1

    run(main)


def test_who_finds_no_place_after_its_body_gets_503_and_the_application_sees_nobody() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] == "GET":
                await gate(scope, receive, send)
                return
            while not seen or seen[-1] != "http.disconnect":
                seen.append((await receive())["type"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise ConnectionError("as frameworks do when the client has left")

        gate = Gate()
        limit = InFlight(app, 1, 0)
        inside = Client(limit, http("/"))
        await asyncio.sleep(0.02)
        start, body = await exchange(limit, http("/", method="POST", headers=POST), piece(b"ab", True), piece(b"cd"))
        assert (start["status"], body["body"]) == (503, b"503 Service Unavailable")
        assert seen == ["http.request", "http.disconnect"]
        gate.open.set()
        assert (await inside.end()).status == 200
        assert limit.places._value == 1

    run(main)


def test_who_answers_before_the_end_of_the_body_takes_no_place_and_gives_none_back() -> None:
    async def main() -> None:
        async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await receive()
            await send({"type": "http.response.body"})

        app = InFlight(hasty, 1, 0)
        start, _ = await exchange(app, http("/", method="POST", headers=POST), piece(b"abcd"))
        assert start["status"] == 401
        assert app.places._value == 1

    run(main)


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({"method": "POST", "headers": [(b"content-length", b"0")]}, False),
        ({"method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}, True),
        ({"method": "POST", "headers": [], "http_version": "2"}, True),
        ({"method": "GET", "headers": [], "http_version": "2"}, False),
        ({"method": "POST", "headers": []}, False),
    ],
)
def test_only_a_request_that_may_have_a_body_waits_for_it(changes: dict[str, Any], waits: bool) -> None:
    async def main() -> None:
        gate = Gate()
        app = InFlight(gate, 1, 0)
        client = Client(app, http("/", **changes))
        await asyncio.sleep(0.02)
        assert app.places._value == int(waits)
        gate.open.set()
        await client.end()

    run(main)


def test_one_that_fails_or_is_cancelled_gives_its_place_back() -> None:
    async def main() -> None:
        async def fails(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/raises":
                raise LookupError
            await asyncio.Event().wait()

        app = InFlight(fails, 1, DEADLINE_SECONDS)
        with pytest.raises(LookupError):
            await Client(app, http("/raises")).task
        inside, waiting = Client(app, http("/waits")), Client(app, http("/waits"))
        await asyncio.sleep(0.02)
        for client in (waiting, inside):
            client.task.cancel()
            await asyncio.wait({client.task})
        assert app.places._value == 1

    run(main)


def test_a_line_in_the_log_names_the_request_and_cannot_be_broken(caplog: pytest.LogCaptureFixture) -> None:
    scope = http("/a\nforged", method="POST", headers=[(b"content-length", b"11")])
    asyncio.run(exchange(BodyLimit(reading, 10), scope, piece(b"x" * 11)))
    assert caplog.messages == [r"Content Too Large: POST '/a\nforged': 11 bytes, more than the 10 allowed"]
