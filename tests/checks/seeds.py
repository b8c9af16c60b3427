"""The projects under tests/checks/projects: where a comment says that something is to be found, and what is found."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.utils import DEADLINE_SECONDS

REPOSITORY = Path(__file__).parents[2]
PROJECTS = Path(__file__).parent / "projects"
EXPECT = re.compile(r"# expect: ([\d, ]+)")

Seed = tuple[int, str, int]  # number, file, line


def seeds(project: str, pattern: re.Pattern[str] = EXPECT) -> set[Seed]:
    """Each line with ``# expect: 301``."""
    root = PROJECTS / project
    return {
        (int(number), file.relative_to(root).as_posix(), line)
        for file in root.rglob("*.py")
        for line, text in enumerate(file.read_text().splitlines(), 1)
        for match in pattern.finditer(text)
        for number in match[1].split(",")
    }


def run_in(project: str, *arguments: str, settings: str, statuses: tuple[int, ...] = (0,)) -> str:
    """What a program prints, run in the project's folder with this Python."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECTS / project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_SECONDS,
        check=False,
    )
    assert result.returncode in statuses, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@functools.cache
def checked(project: str, settings: str) -> dict[str, Any]:
    """The report of checkasgi."""
    arguments = ("manage.py", "checkasgi", "--format", "json", "--skip-checks")
    report: dict[str, Any] = json.loads(run_in(project, *arguments, settings=settings, statuses=(0, 1)))
    return report


def found_in(report: dict[str, Any], families: str) -> set[Seed]:
    """Where the report has findings of the families that begin with these digits."""
    return {
        (int(each["id"][5:]), each["file"], each["line"])
        for each in report["findings"]
        if each["id"].startswith("asgi.") and each["id"][5] in families
    }
