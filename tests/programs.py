"""Programs that some tests need: missing ones skip by name on a user's machine and fail under CI=true."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")


def require_program(*names: str) -> str:
    """The path of the first of ``names`` that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    for folder in sorted(POSTGRES_PROGRAMS.glob("*/bin"), reverse=True):
        for name in names:
            if (folder / name).exists():
                return str(folder / name)
    missing(f"program {' or '.join(names)}")


def require_package(name: str) -> None:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # not even the package it is in
        found = None
    if found is None:
        missing(f"Python package {name}")


def missing(what: str) -> NoReturn:
    message = f"needs {what}, which isn't installed"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
