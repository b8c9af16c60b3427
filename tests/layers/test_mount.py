"""Several applications behind one."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_deploy.layers.forward import lifespan_of
from django_asgi_deploy.layers.mount import Mount
from django_asgi_deploy.types import Receive, Scope, Send
from tests.layers.asgi import Seen, exchange, http, lifespan, websocket


def routed(prefixes: list[str], scope: Scope) -> tuple[str, Scope]:
    """Which of the applications at ``prefixes``, or "fallback", gets the scope; and how."""
    apps = {prefix: Seen(prefix) for prefix in prefixes}
    fallback = Seen("fallback")
    asyncio.run(exchange(Mount(apps, fallback), scope))
    (seen,) = [each for each in (*apps.values(), fallback) if each.scopes]
    return seen.name, seen.scopes[0]


# ------------------------------------------------------------------ who gets it


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/users", "/api"),
        ("/api//users", "/api"),
        ("/apixyz", "fallback"),
        ("/ap", "fallback"),
        ("/", "fallback"),
        ("/x/api", "fallback"),
        ("//api", "fallback"),
        ("/API", "fallback"),
        ("/api/v2", "/api/v2"),
        ("/api/v2/users", "/api/v2"),
        ("/api/v20", "/api"),
        ("*", "fallback"),
    ],
)
@pytest.mark.parametrize("kind", [http, websocket])
def test_a_prefix_ends_at_a_slash_and_the_longest_wins(path: str, expected: str, kind: Any) -> None:
    assert routed(["/api", "/api/v2"], kind(path))[0] == expected


@pytest.mark.parametrize("prefix", ["/café", "/caf%C3%A9", "/café/"])
def test_prefix_and_path_are_compared_percent_decoded(prefix: str) -> None:
    name, scope = routed([prefix], http("/café/crème", raw_path=b"/caf%C3%A9/cr%C3%A8me"))
    assert name == prefix
    assert scope["root_path"] == "/café"
    assert scope["raw_path"] == b"/caf%C3%A9/cr%C3%A8me"


def test_an_encoded_slash_is_a_slash_because_servers_decode_the_path() -> None:
    name, scope = routed(["/api"], http("/api/users", raw_path=b"/api%2Fusers"))
    assert (name, scope["raw_path"]) == ("/api", b"/api%2Fusers")


parts = st.lists(st.sampled_from(["a", "b", "ab", "é"]), max_size=4)


@given(st.lists(parts.filter(bool), max_size=4, unique_by=tuple), parts, st.booleans())
def test_the_choice_is_that_of_comparing_the_parts_between_slashes(
    prefixes: list[list[str]], path: list[str], slash: bool
) -> None:
    fitting = [prefix for prefix in prefixes if path[: len(prefix)] == prefix]
    expected = "/" + "/".join(max(fitting, key=len)) if fitting else "fallback"
    text = "/" + "/".join(path) + ("/" if slash and path else "")
    assert routed(["/" + "/".join(prefix) for prefix in prefixes], http(text))[0] == expected


# ------------------------------------------------------------------ what it gets


@pytest.mark.parametrize("kind", [http, websocket])
def test_root_path_grows_by_the_prefix_and_path_and_raw_path_stay_whole(kind: Any) -> None:
    """As the ASGI specification has it: the path includes the root_path."""
    given = kind("/api/users")
    _, scope = routed(["/api"], given)
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/users", b"/api/users")
    assert given["root_path"] == ""  # the scope of those around is theirs


def test_below_a_root_path_the_prefix_is_looked_for_behind_it() -> None:
    name, scope = routed(["/api"], http("/site/api/users", root_path="/site"))
    assert name == "/api"
    assert (scope["root_path"], scope["path"]) == ("/site/api", "/site/api/users")
    assert routed(["/api"], http("/api/users", root_path="/api"))[0] == "fallback"


def test_a_path_without_the_servers_root_path_gets_it_in_front() -> None:
    """Some servers take root_path from their command line and leave the path as it came."""
    name, scope = routed(["/api"], http("/api/users", root_path="/my site"))
    assert name == "/api"
    assert (scope["root_path"], scope["path"]) == ("/my site/api", "/my site/api/users")
    assert scope["raw_path"] == b"/my%20site/api/users"


def test_a_root_path_of_one_slash_is_none() -> None:
    name, scope = routed(["/api"], http("/api/users", root_path="/"))
    assert (name, scope["root_path"], scope["path"]) == ("/api", "/api", "/api/users")


def test_mounts_within_mounts_add_up() -> None:
    seen = Seen("deep")
    asyncio.run(exchange(Mount({"/a": Mount({"/b": seen})}), http("/a/b/c")))
    assert (seen.scopes[0]["root_path"], seen.scopes[0]["path"]) == ("/a/b", "/a/b/c")


def test_the_fallback_gets_the_scope_itself() -> None:
    scope = http("/elsewhere")
    assert routed(["/api"], scope)[1] is scope


def test_servers_that_give_neither_root_path_nor_raw_path_are_served() -> None:
    scope = http("/api/users")
    del scope["root_path"], scope["raw_path"]
    name, seen = routed(["/api"], scope)
    assert (name, seen["root_path"], "raw_path" in seen) == ("/api", "/api", False)


def test_without_a_fallback_the_rest_is_404_and_a_denied_handshake() -> None:
    mount = Mount({"/api": Seen()})
    start, body = asyncio.run(exchange(mount, http("/")))
    assert (start["status"], body["body"]) == (404, b"Not Found")
    (close,) = asyncio.run(exchange(mount, websocket("/")))
    assert close["type"] == "websocket.close"


def test_the_application_at_the_slash_is_the_fallback() -> None:
    root = Seen("root")
    asyncio.run(exchange(Mount({"/": root, "/api": Seen()}), http("/elsewhere")))
    assert root.scopes


@pytest.mark.parametrize("prefix", ["api", "", "/a//b", "/a/../b", "https://example.com"])
def test_what_is_no_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match='expected a prefix such as "/api"'):
        Mount({prefix: Seen()})


@pytest.mark.parametrize("two", [["/api", "/api/"], ["/é", "/%C3%A9"]])
def test_two_applications_at_one_prefix_are_refused(two: list[str]) -> None:
    with pytest.raises(ValueError, match="there are two applications at"):
        Mount({prefix: Seen() for prefix in two})


def test_two_fallbacks_are_refused() -> None:
    with pytest.raises(ValueError, match="two applications at /"):
        Mount({"/": Seen()}, fallback=Seen())


# ------------------------------------------------------------------ lifespan


def live(app: Any, state: dict[str, Any] | None = None) -> list[Any]:
    """The answers to start-up and shutdown."""

    async def main() -> list[Any]:
        async with lifespan(app, state) as answers:
            pass
        return answers

    return asyncio.run(main())


COMPLETE = [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


def test_all_are_started_the_fallback_first_and_stopped_in_reverse() -> None:
    diary: list[str] = []
    apps = {name: Seen(name, diary) for name in ("/one", "/two")}
    assert live(Mount(apps, Seen("django", diary))) == COMPLETE
    started = ["django startup", "/one startup", "/two startup"]
    assert diary == [*started, "/two shutdown", "/one shutdown", "django shutdown"]


def test_one_that_fails_to_start_is_named_and_those_before_it_are_stopped() -> None:
    diary: list[str] = []
    apps = {"/one": Seen("one", diary), "/two": Seen("two", diary, "startup"), "/three": Seen("three", diary)}
    (answer,) = live(Mount(apps, Seen("django", diary)))
    assert answer["type"] == "lifespan.startup.failed"
    assert answer["message"] == "The application at /two failed to start: the queue is away"
    assert diary == ["django startup", "one startup", "two startup", "one shutdown", "django shutdown"]


def test_one_that_fails_to_stop_is_named_and_the_others_are_stopped() -> None:
    diary: list[str] = []
    apps = {"/one": Seen("one", diary), "/two": Seen("two", diary, "shutdown")}
    answers = live(Mount(apps, Seen("django", diary)))
    assert answers[1]["type"] == "lifespan.shutdown.failed"
    assert answers[1]["message"] == "The application at /two failed to stop: the queue is away"
    assert diary[-2:] == ["one shutdown", "django shutdown"]


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    """As Django's own handler does."""
    raise ValueError(f"not {scope['type']}")


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"


async def chokes(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    raise KeyError(message["body"])


@pytest.mark.parametrize("app", [refuses, returns, chokes])
def test_an_application_without_a_lifespan_is_fine(app: Any) -> None:
    diary: list[str] = []
    assert live(Mount({"/plain": app, "/one": Seen("one", diary)})) == COMPLETE
    assert diary == ["one startup", "one shutdown"]


def test_an_error_after_the_first_message_is_logged_because_it_may_be_a_mistake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        live(Mount({"/plain": chokes, "/refusing": refuses}))
    (record,) = caplog.records
    assert record.getMessage() == "The application at /plain has no lifespan, or failed in it: it raised"
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


def test_one_that_raises_while_it_is_up_is_named_at_the_end() -> None:
    async def falls(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise OSError("the connection is gone")

    answers = live(Mount({"/falling": falls}))
    assert answers[1]["message"] == "The application at /falling failed to stop: OSError: the connection is gone"


def test_one_that_takes_every_scope_for_a_websocket_has_no_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    async def confused(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    assert live(Mount({"/confused": confused})) == COMPLETE
    assert caplog.text == ""


def test_one_that_passes_by_the_messages_it_does_not_know_has_no_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    async def looping(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "websocket.disconnect":
            pass

    assert live(Mount({"/looping": looping})) == COMPLETE
    assert caplog.text == ""


def test_what_the_applications_leave_in_the_state_is_merged() -> None:
    state: dict[str, Any] = {"server": 1}
    one, two = object(), object()
    apps = {"/one": Seen(state={"one": one}), "/two": Seen(state={"two": two})}
    assert live(Mount(apps), state) == COMPLETE
    assert state == {"server": 1, "one": one, "two": two}


def test_where_two_use_one_key_each_finds_its_own_value() -> None:
    state: dict[str, Any] = {}
    apps = {"/one": Seen(state={"db": "one's", "pool": 1}), "/two": Seen(state={"db": "two's"})}
    fallback = Seen()
    mount = Mount(apps, fallback)

    async def main() -> None:
        async with lifespan(mount, state):
            for path in ("/one", "/two", "/"):
                await exchange(mount, http(path, state=dict(state)))  # as servers do it: a copy for each request

    asyncio.run(main())
    assert apps["/one"].scopes[0]["state"] == {"db": "one's", "pool": 1}
    assert apps["/two"].scopes[0]["state"]["db"] == "two's"
    assert fallback.scopes[0]["state"]["pool"] == 1


def test_a_server_without_state_gives_none_to_the_mounted() -> None:
    with_state = Seen(state={"db": 1})
    assert live(Mount({"/one": with_state}))[0]["type"] == "lifespan.startup.complete"  # KeyError: as if none


def test_an_application_keeps_one_task_from_start_to_end() -> None:
    """Cancel scopes and task groups must be left in the task that entered them."""
    tasks = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        for what in ("startup", "shutdown"):
            await receive()
            tasks.append(asyncio.current_task())
            await send({"type": f"lifespan.{what}.complete"})

    assert live(Mount({"/noting": noting})) == COMPLETE
    assert tasks[0] is tasks[1]


# ------------------------------------------------------------------ inside frameworks that forward no lifespan


def test_lifespan_of_starts_and_stops_around_the_block_and_gives_the_state() -> None:
    diary: list[str] = []

    async def main() -> None:
        async with lifespan_of(Seen("django", diary, state={"db": 1})) as state:
            assert state == {"db": 1}
            diary.append("serving")

    asyncio.run(main())
    assert diary == ["django startup", "serving", "django shutdown"]


@pytest.mark.parametrize("what", ["start", "stop"])
def test_lifespan_of_raises_what_failed(what: str) -> None:
    async def main() -> None:
        async with lifespan_of(Seen(fails={"start": "startup", "stop": "shutdown"}[what])):
            pass

    with pytest.raises(RuntimeError, match=f"The application failed to {what}: the queue is away"):
        asyncio.run(main())


def test_lifespan_of_stops_also_after_an_error_in_the_block() -> None:
    diary: list[str] = []

    async def main() -> None:
        async with lifespan_of(Seen("django", diary)):
            raise OSError("the framework's own")

    with pytest.raises(OSError, match="own"):
        asyncio.run(main())
    assert diary == ["django startup", "django shutdown"]
