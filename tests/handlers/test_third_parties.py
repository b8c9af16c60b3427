"""Third parties see the same of a request under both handlers: what they record is compared, not only the answer.

The packages are in ``tests/requirements-thirdparty.txt``.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.handlers.under_test import DJANGOS_OWN, HANDLER_UNDER_TEST
from tests.programs import missing

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parent.parent.parent
RUN_SECONDS = 120
# The answers of the site's seven paths.
STATUSES = [200, 200, 500, 500, 200, 200, 404]


def installed(*modules):
    """Whether all of these can be imported; a package within a missing one can't."""
    try:
        return all(find_spec(module) for module in modules)
    except ModuleNotFoundError:
        return False


def compare(name, *modules):
    """Serve the third party's site with both handlers; return what Django's was seen to do, after comparing."""
    if not installed(*modules):
        missing(f"{', '.join(modules)} for {name} (tests/requirements-thirdparty.txt)")
    expected, actual = (serve(name, handler) for handler in (DJANGOS_OWN, HANDLER_UNDER_TEST))
    expected["reasons"] = actual.pop("reasons")
    assert actual["answers"] == expected["answers"]
    assert actual["seen"] == expected["seen"]
    return expected


def serve(name, handler):
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.handlers.third_parties", name, handler],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr[-5_000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_sentry_sends_the_same_events():
    """Errors and transactions carry the same request, tags, breadcrumbs, spans and view, in the same order."""
    compared = compare("sentry", "sentry_sdk")
    assert compared["reasons"] == [], "its patches must not cost the site our handler"
    seen = compared["seen"]
    errors = [event for event in seen if event["type"] == "error"]
    assert [event["exceptions"][0][:2] for event in errors] == [["ValueError", "raised by a view"]] * 2
    assert [event["transaction"] for event in seen if event["type"] == "transaction"][:2] == ["/sync/", "/async/"]
    assert all(event["tags"]["tag.view"] == "view" for event in errors)


def test_opentelemetry_exports_the_same_spans():
    """Each request's span is the caller's child, the view's spans are the request's children, attributes included."""
    seen = compare(
        "opentelemetry",
        "opentelemetry.instrumentation.django",
        "opentelemetry.instrumentation.asgi",
        "opentelemetry.sdk",
    )["seen"]
    servers = [span for span in seen if span["kind"] == "SERVER"]
    assert len(servers) == len(STATUSES)
    assert {span["parent"] for span in servers} == {"the caller"}
    views = [span for span in seen if span["name"] == "view"]
    assert [span["parent"] for span in views] == ["GET sync/", "GET async/", "GET sync-raising/", "GET async-raising/"]


def test_debug_toolbar_shows_the_same_rows():
    """The SQL panel lists the view's query, sync or async, and the page holds the toolbar."""
    expected = compare("debug_toolbar", "debug_toolbar")
    assert [len(request["queries"]) for request in expected["seen"][:2]] == [1, 1]
    assert [answer["has toolbar"] for answer in expected["answers"]] == [True, True, False, False]


def test_structlog_binds_the_same_keys():
    """Every line of a request carries its id, and what the view bound is still bound on the way out."""
    seen = compare("structlog", "django_structlog")["seen"]
    finished = [line for line in seen if line["event"] == "request_finished"]
    assert [line.get("bound_in_view") for line in finished[:2]] == ["yes", "yes"]
    assert len({line["request_id"] for line in finished}) == len(finished) >= 4


def test_whitenoise_serves_the_same_files():
    """Whole, by head, a range, not satisfiable, not modified; a POST and all else go to the views."""
    seen = compare("whitenoise", "whitenoise")["seen"]
    assert seen[:5] == [[200, 280_000], [200, 0], [206, 7], [416, 0], [304, 0]]
    assert [status for status, _ in seen[-7:]] == STATUSES


def test_channels_routes_the_same_requests():
    """ProtocolTypeRouter gives HTTP to the handler; a consumer beside it reaches the database from its own thread."""
    seen = compare("channels", "channels")["seen"]
    connected_and_said, places = seen
    assert connected_and_said == ["websocket.accept", "ping: 0 users"]
    assert ["query", "thread"] in places
    assert ["query", "loop"] not in places
