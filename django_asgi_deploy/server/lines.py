"""The supervisor's own log lines, with uvicorn's look: it has neither the project's LOGGING nor uvicorn itself."""

import os
import select
import sys
from contextlib import suppress
from typing import IO

PATIENCE_SECONDS = 0.2  # with a pipe that is full: whoever should read it may be stuck, and the supervisor mustn't be

_COLOURS = {"INFO": 32, "WARNING": 33, "ERROR": 31}


class Lines:
    """``colour``: None decides by the terminal and NO_COLOR, as server/logs.py does."""

    def __init__(self, colour: bool | None) -> None:
        if colour is None:
            colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._colour = colour

    def info(self, text: str) -> None:
        self._write("INFO", text)

    def warning(self, text: str) -> None:
        self._write("WARNING", text)

    def error(self, text: str) -> None:
        self._write("ERROR", text)

    def say(self, text: str) -> None:
        """What belongs to standard output."""
        _print(sys.stdout, text)

    def _write(self, level: str, text: str) -> None:
        label = f"\x1b[{_COLOURS[level]}m{level}\x1b[0m" if self._colour else level
        _print(sys.stderr, f"{label}:{' ' * (9 - len(level))}{text}")


def _print(stream: IO[str], text: str) -> None:
    with suppress(OSError):  # the terminal is gone; the supervisor isn't
        if select.select([], [stream], [], PATIENCE_SECONDS)[1]:
            os.write(stream.fileno(), f"{text}\n".encode())  # in one piece, and at once
