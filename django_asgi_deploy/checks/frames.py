"""Where in the user's own code something happens."""

import asyncio
import os
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

_OWN = str(Path(__file__).parent.parent)
_NOISE = (_OWN, *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")), "<")


class Place(NamedTuple):
    """A line of the user's."""

    file: str  # relative to the current folder, if it is below it
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}"


def is_users(filename: str) -> bool:
    """Whether the user wrote this file: not Python's, not installed, not ours."""
    return not filename.startswith(_NOISE)


def place_of(frames: Iterable[FrameType]) -> Place | None:
    """The first of the frames that is the user's; give the innermost first."""
    for frame in frames:
        if is_users(frame.f_code.co_filename):
            return _place(frame, frame.f_lineno)
    return None


def place_of_error(error: BaseException) -> Place | None:
    """The user's line that is nearest to where the exception was raised."""
    found, entry = None, error.__traceback__
    while entry is not None:
        if is_users(entry.tb_frame.f_code.co_filename):
            found = _place(entry.tb_frame, entry.tb_lineno)
        entry = entry.tb_next
    return found


def place_of_task(task: "asyncio.Task[Any]") -> Place | None:
    """The user's line at which a task waits."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = _attribute(awaited, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            frames.append(frame)
        awaited = _attribute(awaited, "cr_await", "gi_yieldfrom", "ag_await")
    return place_of(reversed(frames))


def place_of_threads(but: Collection[int]) -> Place | None:
    """The user's line in which a thread is at the moment; ``but`` holds the idents of threads that don't count."""
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident() and ident not in but and (place := place_of(outwards(frame))):
            return place
    return None


def place_of_thread(ident: int) -> Place | None:
    frame = sys._current_frames().get(ident)
    return place_of(outwards(frame)) if frame else None


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, the one that called it, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType, line: int | None) -> Place:
    file = frame.f_code.co_filename
    below = os.path.relpath(file)
    return Place(file if below.startswith("..") else below, line or 0, frame.f_code.co_name)


def _attribute(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
