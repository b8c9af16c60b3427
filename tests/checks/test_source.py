"""The source of a real-looking project: each mistake is found at its line, and nothing else is."""

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


@pytest.fixture(scope="module")
def findings() -> list[dict[str, Any]]:
    """What ``checkasgi`` finds in the project's source."""
    run = subprocess.run(
        [sys.executable, "manage.py", "checkasgi", "--format", "json", "--skip-checks"],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert run.returncode == 1, run.stderr
    return [each for each in json.loads(run.stdout)["findings"] if each["id"].startswith(("asgi.4", "asgi.0"))]


@pytest.mark.parametrize("place", [*expected()], ids=lambda place: "{}:{} {}".format(*place))
def test_each_mistake_is_found_at_its_line(place: tuple[str, int, int], findings: list[dict[str, Any]]) -> None:
    assert place in {(each["file"], each["line"], int(each["id"][5:])) for each in findings}


def test_nothing_else_is_found(findings: list[dict[str, Any]]) -> None:
    found = {(each["file"], each["line"], int(each["id"][5:])): each["message"] for each in findings}
    assert {place: message for place, message in found.items() if place not in set(expected())} == {}
