"""Where in the user's own code something happens."""

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from django_asgi_deploy.exceptions import is_users


class Place(NamedTuple):
    """A line of the user's."""

    file: str  # relative to the project's root, if it is below it
    line: int
    function: str = ""  # empty: none, or not known
    column: int | None = None  # of the source line, from 0; None: where the code of the line begins

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}" if self.function else f"{self.file}:{self.line}"


_root: Path | None = None


def root() -> Path:
    """The project's root: the folder with its manage.py, else the one that its settings are imported from."""
    return use_root(_root or _find_root())


def use_root(folder: Path) -> Path:
    """From now on, it is this one."""
    global _root
    _root = folder
    return folder


def _find_root() -> Path:
    module = sys.modules.get(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    file = getattr(module, "__file__", None)
    if module is None or not file:
        return Path.cwd()
    depth = module.__name__.count(".") + (Path(file).name == "__init__.py")
    folder = Path(file).resolve().parents[depth]
    return next((each for each in (folder, *folder.parents[:2]) if (each / "manage.py").is_file()), folder)


def relative(file: str | Path) -> str:
    """A file's path from the project's root; as it is, if it lies elsewhere."""
    path = Path(file)
    try:
        return path.resolve().relative_to(root()).as_posix()
    except ValueError:
        return str(path)


def place_in(function: Any) -> Place | None:
    """Where a function, a class or a module begins, if that is the user's; None if it has no source."""
    function = inspect.unwrap(function) if callable(function) else function
    try:
        file = inspect.getsourcefile(function)
        line = 1 if inspect.ismodule(function) else inspect.getsourcelines(function)[1]
    except (TypeError, OSError):
        return None
    if not file or not is_users(file):
        return None
    return Place(relative(file), line, getattr(function, "__qualname__", ""))


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


def busy_threads() -> set[int]:
    """The idents of threads that are in the user's code at the moment."""
    return {ident for ident, frame in sys._current_frames().items() if place_of(outwards(frame))}


def place_of_thread(ident: int) -> Place | None:
    return place_of(outwards(stack_of(ident)))


def stack_of(ident: int) -> FrameType | None:
    """The innermost frame of a thread; None if it has ended."""
    return sys._current_frames().get(ident)


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame, the one that called it, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType, line: int | None) -> Place:
    return Place(relative(frame.f_code.co_filename), line or 0, frame.f_code.co_name)


def _attribute(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
