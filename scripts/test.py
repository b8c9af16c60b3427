#!/usr/bin/env python3
"""Set everything up and run the tests: ``python3 scripts/test.py [--all] [arguments of tox]``.

Needs Python >= 3.11 with venv and pip, nothing else. Without --all: this Python with the newest Django that it takes.
With --all: every supported pair of Python and Django, lint, types, documentation, wheel and the
lowest versions allowed, as CI does.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-tox"
PAIRS = [
    "py311-django52",
    "py312-django52",
    "py312-django60",
    "py312-django61",
    "py313-django52",
    "py313-django60",
    "py313-django61",
]
OTHERS = ["lint", "types", "docs", "wheel", "lowest"]


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python there is
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", file=sys.stderr)
        return 2
    scripts = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
    if not any(scripts.glob("tox*")):
        print("Setting up .venv-tox ...", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", "tox>=4.25"], check=True)
    everything = arguments[:1] == ["--all"]
    environments = [*OTHERS, *PAIRS] if everything else [_pair_for_this_python()]
    missing = [pair for pair in environments if not _has_interpreter(pair)]
    found = [environment for environment in environments if environment not in missing]
    command = [scripts / "tox", "run", "-e", ",".join(found), *arguments[1 if everything else 0 :]]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    for pair in missing:
        print(f"NOT RUN: {pair}: no such Python interpreter on the PATH", flush=True)
    return status or (1 if missing and os.environ.get("CI") == "true" else 0)


def _pair_for_this_python() -> str:
    version = sys.version_info[:2]
    name = f"py{version[0]}{version[1]}"
    pairs = [pair for pair in PAIRS if pair.startswith(name)]
    return pairs[-1] if pairs else f"{name}-django61"


def _has_interpreter(environment: str) -> bool:
    if not environment.startswith("py"):
        return True
    major, minor = environment[2], environment.partition("-")[0][3:]
    if sys.version_info[:2] == (int(major), int(minor)):
        return True
    try:
        return subprocess.run([f"python{major}.{minor}", "-c", ""], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
