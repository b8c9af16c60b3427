"""The source of a real-looking project: each mistake is found at its line, and nothing else is.

The app "library" was written from the catalogue before the checks; "desk" when they worked, to see what they miss: 4 of
its 74 lines; of 2 findings that weren't expected, 1 was wrong and 1 a mistake of the example. Both apps are found
in full now, so that neither measures anything any more.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest

from tests.utils import DEADLINE_SECONDS, clean_environment

PROJECT = Path(__file__).parent / "projects" / "source"
EXPECTED = re.compile(r"# expect: (\d+)")


def expected() -> Iterator[tuple[str, int, int]]:
    for file in sorted(PROJECT.rglob("*.py")):
        name = file.relative_to(PROJECT).as_posix()
        if name == "library/views/tasks.py" and django.VERSION < (6, 0):
            continue
        for line, text in enumerate(file.read_text().splitlines(), 1):
            for number in EXPECTED.findall(text):
                yield name, line, int(number)


def run(*options: str) -> list[dict[str, Any]]:
    """What ``checkasgi`` finds in the project's source."""
    run = subprocess.run(
        [sys.executable, "manage.py", "checkasgi", "--format", "json", "--skip-checks", *options],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert run.returncode == 1, run.stderr
    return [each for each in json.loads(run.stdout)["findings"] if each["id"].startswith(("asgi.4", "asgi.0"))]


@pytest.fixture(scope="module")
def findings() -> list[dict[str, Any]]:
    return run()


def in_function(name: str, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in findings if each["object"] == name]


@pytest.mark.parametrize("place", [*expected()], ids=lambda place: "{}:{} {}".format(*place))
def test_each_mistake_is_found_at_its_line(place: tuple[str, int, int], findings: list[dict[str, Any]]) -> None:
    assert place in {(each["file"], each["line"], int(each["id"][5:])) for each in findings}


def test_nothing_else_is_found(findings: list[dict[str, Any]]) -> None:
    found = {(each["file"], each["line"], int(each["id"][5:])): each["message"] for each in findings}
    assert {place: message for place, message in found.items() if place not in set(expected())} == {}


@pytest.mark.parametrize(
    ("function", "what_to_type"),
    [
        ("get_one", "await Book.objects.aget(...)"),
        ("save_one", "await book.asave(...)"),
        ("loop_over", "async for ... in Book.objects.filter()"),
        ("length", "await queryset.acount()"),
        ("shortcut", "await aget_object_or_404(...)"),
        ("lazy_relation", '.select_related("author")'),
        ("greeting", "await request.auser()"),
        ("has_basket", "await request.session.ahas_key(...)"),
        ("slow", "await asyncio.sleep(1)"),
        ("fetch", "httpx.AsyncClient"),
        ("two_deep", "await sync_to_async(services.lookup)(...)"),
        ("to_table", "await caches['table'].aset(...)"),
        ("check", "await user.acheck_password(...)"),
        ("announce", "await book_seen.asend(...)"),
        ("forgotten", "await Book.objects.aget()"),
    ],
)
def test_the_hint_says_what_to_type(function: str, what_to_type: str, findings: list[dict[str, Any]]) -> None:
    hints = [each["hint"] for each in in_function(function, findings)]
    assert any(what_to_type in hint for hint in hints), hints


def test_the_way_to_a_call_in_another_function_is_printed(findings: list[dict[str, Any]]) -> None:
    (finding,) = in_function("two_deep", findings)
    assert [place.partition(",")[2].strip() for place in finding["chain"]] == ["in two_deep", "in lookup", "in _lookup"]
    assert finding["message"].startswith("services.lookup() → _lookup() → client.get(): ")


def test_a_function_that_fails_at_its_first_query_is_one_cause(findings: list[dict[str, Any]]) -> None:
    """Behind atomic() on the event loop there are more queries, which are never reached."""
    assert [each["id"] for each in in_function("transaction_in_helper", findings)] == ["asgi.406"]


@pytest.mark.parametrize(
    ("function", "level"),
    [
        ("from_cache", "warning"),  # Redis
        ("local_cache", "info"),  # in memory
        ("to_table", "error"),  # in the database
        ("read", "info"),
        ("slow", "error"),
        ("fire", "warning"),
        ("fire_query", "error"),
        ("announce", "error"),
        ("announce_quietly", "warning"),
    ],
)
def test_the_level_follows_what_is_behind_it(function: str, level: str, findings: list[dict[str, Any]]) -> None:
    assert [each["level"] for each in in_function(function, findings)] == [level]


def test_the_level_of_a_synchronous_stream_follows_the_handler(findings: list[dict[str, Any]]) -> None:
    """The pooled handler sends it piece by piece, Django's collects it."""
    stock = run("--handler", "django")
    levels = {
        name: (in_function(name, findings)[0]["level"], in_function(name, stock)[0]["level"])
        for name in ("stream", "endless", "file")
    }
    assert levels == {"stream": ("info", "warning"), "endless": ("warning", "error"), "file": ("info", "warning")}
