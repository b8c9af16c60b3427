"""LIFESPAN and the signals: what is entered when, what arrives at requests, and what a failure leads to."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from django.dispatch import Signal

from django_asgi_deploy.layers.lifespan import Contexts, Lifespan
from tests.layers.asgi import Seen, exchange, http, lifespan, websocket

diary: list[str] = []
the_application = object()


def application() -> object:
    return the_application


@pytest.fixture(autouse=True)
def new_diary() -> None:
    diary.clear()


def manager(name: str, state: Any = None, fails: str = "") -> Callable[[Any], Any]:
    """What makes an asynchronous context manager that writes into the diary; ``fails``: "enter" or "leave"."""

    @asynccontextmanager
    async def managed(app: Any) -> AsyncIterator[Any]:
        diary.append(f"enter {name}")
        if fails == "enter":
            raise LookupError(f"{name} can't be entered")
        yield state
        diary.append(f"leave {name}")
        if fails == "leave":
            raise LookupError(f"{name} can't be left")

    return managed


def live(app: Any, state: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The answers to start-up and shutdown; in the diary, when it serves."""

    async def main() -> list[dict[str, Any]]:
        async with lifespan(app, state) as answers:
            if answers == COMPLETE[:1]:
                diary.append("serving")
        return answers

    return asyncio.run(main())


COMPLETE = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


# ------------------------------------------------------------------ order, and what is inside


def test_managers_are_entered_in_order_before_what_is_inside_and_left_in_reverse_after_it() -> None:
    app = Contexts(Seen("inside", diary), {"a": manager("a"), "b": manager("b")}, application)
    assert live(app, {}) == COMPLETE
    around = ["enter a", "enter b", "inside startup", "serving", "inside shutdown", "leave b", "leave a"]
    assert diary == around


def test_they_are_called_with_the_application() -> None:
    given = []

    @asynccontextmanager
    async def managed(app: object) -> AsyncIterator[None]:
        given.append(app)
        yield

    assert live(Contexts(Seen(), {"a": managed}, application)) == COMPLETE
    assert given == [the_application]


def test_synchronous_managers_are_entered_and_left_in_one_thread_that_is_not_the_event_loops() -> None:
    threads = []

    @contextmanager
    def managed(app: object) -> Iterator[None]:
        threads.append(threading.current_thread())
        yield
        threads.append(threading.current_thread())

    assert live(Contexts(Seen(), {"a": managed}, application)) == COMPLETE
    assert threads[0] is threads[1] is not threading.current_thread()


# ------------------------------------------------------------------ state


def states_seen(server_state: dict[str, Any] | None, request_state: dict[str, Any] | None) -> list[Any]:
    """What a request and a WebSocket find, when the server gives these to the lifespan and to them."""
    inside = Seen("inside", diary)
    app = Contexts(inside, {"a": manager("a", {"client": "A"})}, application)
    extra = {} if request_state is None else {"state": request_state}

    async def main() -> None:
        async with lifespan(app, server_state):
            await exchange(app, http("/", **extra))
            await exchange(app, websocket("/", **extra))

    asyncio.run(main())
    return [scope["state"] for scope in inside.scopes]


def test_what_they_yield_is_in_the_servers_state() -> None:
    state: dict[str, Any] = {"servers": 1}
    assert live(
        Contexts(Seen(), {"a": manager("a", {"client": "A"}), "b": manager("b", {"queue": "B"})}, application), state
    )
    assert state == {"servers": 1, "client": "A", "queue": "B"}


@pytest.mark.parametrize(
    ("server_state", "request_state"),
    [(None, None), ({}, None), ({}, {}), ({}, {"client": "A"})],
    ids=["no state at all", "not at requests", "empty at requests", "copied"],
)
def test_it_arrives_at_requests_under_every_kind_of_server(server_state: Any, request_state: Any) -> None:
    assert states_seen(server_state, request_state) == [{"client": "A"}] * 2


def test_a_request_has_a_state_of_its_own_and_keeps_what_the_server_put_there() -> None:
    first, second = states_seen(None, {"request": 7})
    assert first == {"client": "A", "request": 7}
    assert first is not second


@pytest.mark.parametrize("yielded", ["text", 3, ["client"]])
def test_what_is_yielded_must_be_a_dictionary(yielded: object) -> None:
    (answer,) = live(Contexts(Seen("inside", diary), {"'mysite.a' (settings)": manager("a", yielded)}, application))
    assert answer["type"] == "lifespan.startup.failed"
    assert (
        f"'mysite.a' (settings) failed to start:\n\nTypeError: it yields {yielded!r}; expected a dictionary"
        in (answer["message"])
    )
    assert diary == ["enter a", "leave a"]


def test_two_that_yield_the_same_name_are_a_mistake() -> None:
    (answer,) = live(Contexts(Seen(), {"a": manager("a", {"x": 1}), "b": manager("b", {"x": 2})}, application))
    assert "b failed to start:" in answer["message"]
    assert "it yields 'x', as a does already" in answer["message"]


# ------------------------------------------------------------------ failures


def test_a_failing_start_is_reported_with_the_users_frames_and_what_was_entered_is_left() -> None:
    managers = {"a": manager("a"), "mysite.b": manager("b", fails="enter"), "c": manager("c")}
    (answer,) = live(Contexts(Seen("inside", diary), managers, application))
    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"].startswith("mysite.b failed to start:\n\n  File ")
    assert answer["message"].endswith("LookupError: b can't be entered")
    assert "contextlib.py" not in answer["message"]
    assert diary == ["enter a", "enter b", "leave a"]


def test_if_leaving_fails_as_well_both_are_reported() -> None:
    managers = {"a": manager("a", fails="leave"), "b": manager("b", fails="enter")}
    (answer,) = live(Contexts(Seen(), managers, application))
    assert "LookupError: b can't be entered" in answer["message"]
    assert "a failed to stop:" in answer["message"]


def test_when_one_fails_to_stop_the_others_are_left_all_the_same() -> None:
    managers = {"a": manager("a"), "b": manager("b", fails="leave"), "c": manager("c", fails="leave")}
    _, answer = live(Contexts(Seen("inside", diary), managers, application))
    assert answer["type"] == "lifespan.shutdown.failed"
    assert answer["message"].count("failed to stop:") == 2
    assert diary[-3:] == ["leave c", "leave b", "leave a"]


@pytest.mark.parametrize("stage", ["startup", "shutdown"])
def test_a_failure_inside_is_passed_on_and_the_managers_are_left(stage: str) -> None:
    answers = live(Contexts(Seen("inside", diary, fails=stage), {"a": manager("a")}, application))
    assert answers[-1] == {"type": f"lifespan.{stage}.failed", "message": "the queue is away"}
    assert diary[-1] == "leave a"


def test_what_makes_no_context_manager_is_refused() -> None:
    async def forgotten_decorator(app: object) -> AsyncIterator[None]:
        yield

    (answer,) = live(Contexts(Seen(), {"a": forgotten_decorator}, application))
    assert (
        "expected a context manager, as functions with @contextlib.asynccontextmanager make them" in answer["message"]
    )


def test_a_start_that_is_cancelled_leaves_what_was_entered() -> None:
    @asynccontextmanager
    async def hanging(app: object) -> AsyncIterator[None]:
        diary.append("hanging")
        await asyncio.Event().wait()
        yield

    app = Contexts(Seen(), {"a": manager("a"), "b": hanging}, application)

    async def main() -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "lifespan.startup"})
        task = asyncio.ensure_future(app({"type": "lifespan"}, messages.get, messages.put))
        while "hanging" not in diary:  # noqa: ASYNC110 - there is no event for a diary
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    asyncio.run(main())
    assert diary == ["enter a", "hanging", "leave a"]


# ------------------------------------------------------------------ servers that send no lifespan


def untold(managers: dict[str, Any], inside: Seen, *scopes: Any) -> list[Any]:
    """The first message that each of the scopes gets, all at once."""
    app = Contexts(inside, managers, application)

    async def main() -> list[Any]:
        return [sent[0] for sent in await asyncio.gather(*(exchange(app, scope) for scope in scopes))]

    return asyncio.run(main())


def test_the_first_requests_start_it_together_and_once() -> None:
    inside = Seen("inside", diary)
    answers = untold({"a": manager("a", {"client": "A"})}, inside, http("/"), http("/"), websocket("/"))
    assert [answer.get("status", answer["type"]) for answer in answers] == [200, 200, "websocket.accept"]
    assert [scope["state"] for scope in inside.scopes] == [{"client": "A"}] * 3
    assert diary[:2] == ["enter a", "inside startup"]
    assert diary.count("enter a") == 1


def test_if_that_fails_they_get_503_and_the_next_request_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    times = []

    @asynccontextmanager
    async def late(app: object) -> AsyncIterator[None]:
        times.append(1)
        if len(times) == 1:
            raise LookupError("the queue is away")
        yield

    app = Contexts(Seen(), {"late": late}, application)

    async def main() -> list[Any]:
        answers = await asyncio.gather(exchange(app, http("/")), exchange(app, websocket("/")))
        return [*answers, await exchange(app, http("/"))]

    (refused, _), (closed,), (start, _) = asyncio.run(main())
    assert (refused["status"], closed["type"], start["status"]) == (503, "websocket.close", 200)
    assert len(times) == 2
    (message,) = caplog.messages
    assert message.startswith("The application failed to start: late failed to start:")
    assert "the queue is away" in message


# ------------------------------------------------------------------ signals


def test_the_signals_are_sent_to_receivers_of_both_kinds_with_the_state() -> None:
    startup, shutdown = Signal(), Signal()

    def receive(sender: object, signal: Signal, state: dict[str, Any], **kwargs: Any) -> None:
        diary.append("startup" if signal is startup else "shutdown")
        state["sync"] = sender

    async def areceive(sender: object, signal: Signal, state: dict[str, Any], **kwargs: Any) -> None:
        state["async"] = sender

    for signal in (startup, shutdown):
        signal.connect(receive)
        signal.connect(areceive)
    state: dict[str, Any] = {}

    async def stop() -> None:
        diary.append("stopped")

    assert live(Lifespan(startup, shutdown, "sender", stop), state) == COMPLETE
    assert state == {"sync": "sender", "async": "sender"}
    assert diary == ["startup", "serving", "shutdown", "stopped"]


def test_the_state_of_a_receiver_arrives_at_requests_also_where_the_server_has_none() -> None:
    startup, inside = Signal(), Seen()

    def receive(state: dict[str, Any], **kwargs: Any) -> None:
        state["client"] = "A"

    own = Lifespan(startup, Signal(), "sender")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (own if scope["type"] == "lifespan" else inside)(scope, receive, send)

    startup.connect(receive)
    asyncio.run(exchange(Contexts(app, {}, application), http("/")))
    assert inside.scopes[0]["state"] == {"client": "A"}


def test_a_receiver_that_raises_keeps_the_worker_from_starting() -> None:
    startup = Signal()

    def receive(**kwargs: Any) -> None:
        raise LookupError("the queue is away")

    startup.connect(receive)
    (answer,) = live(Lifespan(startup, Signal(), "sender"))
    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"].startswith("A receiver of the signal startup failed to start:\n\n  File ")


def test_a_receiver_that_raises_at_the_end_is_named_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    shutdown = Signal()

    def receive(**kwargs: Any) -> None:
        raise LookupError("the queue is away")

    def other(**kwargs: Any) -> None:
        diary.append("other")

    shutdown.connect(receive)
    shutdown.connect(other)
    with caplog.at_level(logging.CRITICAL, "django.dispatch"):
        _, answer = live(Lifespan(Signal(), shutdown, "sender"))
    assert answer["type"] == "lifespan.shutdown.failed"
    assert f"The receiver {__name__}.{receive.__qualname__} of the signal shutdown failed to stop:" in answer["message"]
    assert diary == ["serving", "other"]
