#!/usr/bin/env python3
"""What other tools see of the mistakes that ``checkasgi`` is tested with: ``python benchmarks/checkers.py``.

Runs each tool over the projects in tests/checks/projects whose lines are marked with ``# expect: NUMBER``. A mistake is
*seen* if the tool reports anything at its line; *elsewhere* counts the reports at lines without a mistake. The projects
were written together with checkasgi, which finds all of them by its tests, so its own row says nothing about other
code: docs/checks-precision.rst does. The rows of the others are the news.

Makes .venv-checkers, which may be deleted.
"""

import json
import re
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-checkers"
PYTHON = ENVIRONMENT / "bin" / "python"
TOOLS_PACKAGES = ["ruff", "flake8", "flake8-async", "pylint", "pylint-django"]
PROJECTS_PACKAGES = ["adrf", "channels", "djangorestframework", "httpx", "requests"]
PROJECTS = [ROOT / "tests" / "checks" / "projects" / name for name in ("source", "clinic", "bakery")]
EXPECTED = re.compile(r"# expect: ([\d, ]+)")
REPORT = re.compile(r"^(?P<file>[^\s:]+\.py):(?P<line>\d+):")

Place = tuple[Path, int]


def mistakes() -> set[Place]:
    return {
        (file, line)
        for project in PROJECTS
        for file in project.rglob("*.py")
        for line, text in enumerate(file.read_text().splitlines(), 1)
        if EXPECTED.search(text)
    }


def reported(project: Path, *command: str) -> Iterator[Place]:
    """The places in what a tool prints as ``file:line: ...``."""
    shown = subprocess.run([PYTHON, *command], cwd=project, capture_output=True, text=True, check=False, timeout=300)
    for line in f"{shown.stdout}\n{shown.stderr}".splitlines():
        if match := REPORT.match(line):
            yield (project / match["file"]).resolve(), int(match["line"])


def checkasgi(project: Path) -> Iterator[Place]:
    command = [PYTHON, "manage.py", "checkasgi", "--skip-checks", "--format", "json"]
    shown = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    if not shown.stdout.startswith("{"):
        raise SystemExit(f"checkasgi could not check {project.name}:\n{shown.stderr}")
    for finding in json.loads(shown.stdout)["findings"]:
        if finding["file"] and finding["line"]:
            yield (project / finding["file"]).resolve(), finding["line"]


def tool(*command: str) -> Callable[[Path], Iterator[Place]]:
    return lambda project: reported(project, *command)


PYLINT = ("-m", "pylint", "--load-plugins=pylint_django", "--score=n", "--msg-template={path}:{line}: {msg_id}")
TOOLS: dict[str, Callable[[Path], Iterator[Place]]] = {
    "manage.py check --deploy": tool("manage.py", "check", "--deploy"),
    "ruff, ASYNC and RUF006": tool(
        *("-m", "ruff", "check", "--isolated", "--no-cache", "--output-format=concise", "--select=ASYNC,RUF006", ".")
    ),
    "ruff, ASYNC with preview": tool(
        *("-m", "ruff", "check", "--isolated", "--no-cache", "--output-format=concise"),
        *("--preview", "--select=ASYNC", "."),
    ),
    "flake8-async, its defaults": tool("-m", "flake8", "--isolated", "--asyncio", "--extend-ignore=C,E,F,W", "."),
    "pylint with pylint-django, errors": tool(*PYLINT, "--errors-only", "--recursive=y", "."),
    "manage.py checkasgi": checkasgi,
}


def main() -> int:
    if not PYTHON.exists():
        print(f"Setting up {ENVIRONMENT.name} ...", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
    pip = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *TOOLS_PACKAGES, *PROJECTS_PACKAGES, "--editable", str(ROOT)], check=True)
    wanted = mistakes()
    print(f"{'':36}{'seen':>10}{'elsewhere':>12}")
    for name, look in TOOLS.items():
        found = {place for project in PROJECTS for place in look(project)}
        print(f"{name:36}{f'{len(found & wanted)}/{len(wanted)}':>10}{len(found - wanted):>12}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
