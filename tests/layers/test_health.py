"""LIVE_PATH and READY_PATH at the ASGI protocol: what is answered, to whom, and how often a check runs."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from django_asgi_deploy.layers import health
from django_asgi_deploy.layers.health import Health, Readiness
from django_asgi_deploy.types import Scope
from tests.layers.asgi import Seen, exchange, http, websocket
from tests.utils import DEADLINE_SECONDS, duration

LOCAL = {"client": ("127.0.0.1", 1234)}
FOREIGN = {"client": ("203.0.113.7", 1234)}
HANG_SECONDS = 0.2  # the deadline of checks that hang


def is_local(scope: Scope) -> bool:
    return scope.get("client") == LOCAL["client"]


def failing() -> None:
    raise ConnectionError("no route to db.internal:5432")


def app_with(draining: bool = False, **checks: Callable[[], Any]) -> Health:
    readiness = Readiness(checks, HANG_SECONDS)
    return Health(Seen("behind"), "/livez", "/readyz", readiness, lambda: draining, is_local)


async def asked(app: Any, path: str = "/readyz", **changes: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    start, body = await asyncio.wait_for(exchange(app, http(path, **changes)), DEADLINE_SECONDS)
    return start["status"], dict(start["headers"]), body["body"]


def ask(app: Any, path: str = "/readyz", **changes: Any) -> tuple[int, Any]:
    status, headers, body = asyncio.run(asked(app, path, **changes))
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"cache-control"] == b"no-store"
    return status, json.loads(body)


# ------------------------------------------------------------------ what is answered


def test_live_is_answered_whatever_the_checks_say_and_while_draining() -> None:
    assert ask(app_with(draining=True, database=failing), "/livez") == (200, {"live": True})


def test_ready_names_each_check_with_its_result_and_milliseconds() -> None:
    status, content = ask(app_with(database=lambda: None, queue=lambda: True, broken=failing), **LOCAL)
    assert (status, content["ready"], content["draining"]) == (503, False, False)
    assert [(check["name"], check["result"]) for check in content["checks"]] == [
        ("database", "ok"),
        ("queue", "ok"),
        ("broken", "failed"),
    ]
    assert all(check["milliseconds"] >= 0 for check in content["checks"])
    assert content["checks"][2]["error"] == "ConnectionError: no route to db.internal:5432"


@pytest.mark.parametrize("client", [FOREIGN, {"client": None}, {"client": ("", 0)}, {}])
def test_what_is_wrong_is_told_to_trusted_clients_only(client: dict[str, Any]) -> None:
    _, content = ask(app_with(database=failing), **client)
    assert "error" not in content["checks"][0]
    assert "internal" not in json.dumps(content)


def test_without_checks_it_is_ready() -> None:
    assert ask(app_with()) == (200, {"ready": True, "draining": False, "checks": []})


def test_a_check_that_returns_false_fails_and_one_that_returns_nothing_passes() -> None:
    _, content = ask(app_with(no=lambda: False, nothing=lambda: None, empty=list), **LOCAL)
    assert [check["result"] for check in content["checks"]] == ["failed", "ok", "ok"]


def test_while_draining_it_is_not_ready_and_nothing_is_checked() -> None:
    def never() -> None:
        pytest.fail("a check ran")

    assert ask(app_with(draining=True, database=never)) == (503, {"ready": False, "draining": True, "checks": []})


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_head_gets_the_headers_of_get_and_no_body(path: str) -> None:
    app = app_with()
    got, head = asyncio.run(asked(app, path)), asyncio.run(asked(app, path, method="HEAD"))
    assert head == (*got[:2], b"")


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_other_methods_get_405(method: str) -> None:
    status, headers, _ = asyncio.run(asked(app_with(), method=method))
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/livez", "", True),
        ("/livez", "/site", True),  # a probe that comes past the proxy
        ("/site/livez", "/site", True),
        ("/site/livez", "/site/", True),
        ("/sitelivez", "/site", False),
        ("/site/livez", "", False),
        ("/livez/", "", False),
        ("/Livez", "", False),
        ("//livez", "", False),
        ("/livez/x", "", False),
        ("/", "", False),
    ],
)
def test_the_path_is_compared_whole_with_or_without_the_root_path(path: str, root_path: str, expected: bool) -> None:
    _, _, body = asyncio.run(asked(app_with(), path, root_path=root_path))
    assert (body != b"behind") is expected


def test_websockets_at_the_same_path_are_not_its_business_if_only_requests_reach_it() -> None:
    app = app_with()
    assert asyncio.run(exchange(app.app, websocket("/livez"))) == [{"type": "websocket.accept"}]


def test_a_path_that_is_not_given_is_not_answered() -> None:
    app = Health(Seen("behind"), None, "/readyz", Readiness({}, 1), lambda: False, is_local)
    assert asyncio.run(asked(app, "/livez"))[2] == b"behind"


# ------------------------------------------------------------------ how often, and where


def test_probes_at_once_and_within_a_second_share_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    app = app_with(counted=lambda: runs.append(1))

    async def main() -> None:
        await asyncio.gather(*(asked(app) for _ in range(20)))
        await asked(app)
        assert len(runs) == 1
        monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
        await asked(app)
        assert len(runs) == 2

    asyncio.run(main())


def test_checks_run_at_once_each_in_a_thread_of_its_own() -> None:
    threads = []
    together = threading.Barrier(3, timeout=DEADLINE_SECONDS)

    def check() -> None:
        threads.append(threading.current_thread())
        together.wait()

    readiness = Readiness(dict.fromkeys("abc", check), DEADLINE_SECONDS)
    results = asyncio.run(readiness.results())
    assert [result.error for result in results] == ["", "", ""]
    assert len({*threads, threading.current_thread()}) == 4


def test_one_that_hangs_fails_at_its_deadline_and_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    go_on, runs = threading.Event(), []

    def hanging() -> None:
        runs.append(1)
        go_on.wait(DEADLINE_SECONDS)

    app = app_with(hanging=hanging, quick=lambda: None)

    async def errors() -> list[str | None]:
        _, _, body = await asked(app, **LOCAL)
        return [check.get("error") for check in json.loads(body)["checks"]]

    async def main() -> None:
        assert await errors() == ["no result within 0.2 seconds", None]
        slow, quick = await errors()
        assert str(slow).startswith("still running, after ")
        assert quick is None
        assert len(runs) == 1
        go_on.set()
        while (await errors())[0] is not None:  # it ends some time, and is then asked again
            pass
        assert len(runs) == 2

    assert duration(lambda: asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))) < DEADLINE_SECONDS


def test_an_asynchronous_check_runs_on_the_event_loop_and_is_cancelled_at_its_deadline() -> None:
    ended = []

    async def check() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(threading.current_thread())

    async def wrong() -> bool:
        return False

    async def main() -> None:
        results = await Readiness({"slow": check, "wrong": wrong}, HANG_SECONDS).results()
        assert [result.error for result in results] == ["no result within 0.2 seconds", "it returned False"]
        await asyncio.sleep(0)
        assert ended == [threading.current_thread()]

    asyncio.run(main())


def test_a_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    caplog.set_level("INFO", "django_asgi_deploy.health")
    outcomes = iter([True, False, False, True, True])
    app = app_with(queue=lambda: next(outcomes))
    for _ in range(5):
        ask(app)
    assert caplog.messages == [
        "Not ready: the check queue fails: it returned False",
        "The check queue is right again.",
    ]
