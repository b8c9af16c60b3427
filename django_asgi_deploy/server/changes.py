"""Which file of the project changed: Django's autoreloader in a thread beside the server, from the first import on.

What Django's own loop does differently: it begins when all apps are loaded, so that a save during the start is
missed; and it ends the process from the main thread, where the server belongs.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from django.apps import apps
from django.utils import autoreload
from django.utils.autoreload import BaseReloader, StatReloader, WatchmanReloader, autoreload_started, file_changed


class Changes:
    """Calls ``on_change`` with the path, once, in a thread of its own.

    Receivers of Django's signal ``file_changed`` may take care of a file, as those for templates and translations do.
    """

    def __init__(self, on_change: Callable[[Path], object]) -> None:
        self.found: Path | None = None
        self._on_change = on_change
        self._project_is_loaded = threading.Event()
        self._reloader = _reloader(self._take)
        self._thread = threading.Thread(target=self._watch, name="changes", daemon=True)

    def start(self) -> None:
        _note_imports(self._reloader.note)
        self._thread.start()

    def project_is_loaded(self) -> None:
        """Returns when its modules are watched. From now on receivers of ``autoreload_started`` may add folders."""
        self._project_is_loaded.set()
        self._reloader.look_now()

    def watch_for(self, error: BaseException) -> None:
        """The project can't be loaded: watch also the files that an import failed with, or didn't find.

        Returns when they are.
        """
        files = {Path(name).resolve() for each in _chain(error) for name in _files(each)}
        self._reloader.extra_files = self._reloader.extra_files | files  # another thread iterates over the set
        if apps.ready:
            self._project_is_loaded.set()
        self._reloader.look_now()

    def _take(self, path: Path) -> None:
        self.found = path
        self._reloader.stop()
        self._on_change(path)

    def _watch(self) -> None:
        has_asked = False
        ticks = self._reloader.tick()
        while not self._reloader.should_stop:
            if not has_asked and self._project_is_loaded.is_set():
                has_asked = True
                autoreload_started.send_robust(sender=self._reloader)
            next(ticks)


class _Tells(BaseReloader):
    """Instead of ending the process, as Django's autoreloaders do."""

    tell: Callable[[Path], None]

    def notify_file_changed(self, path: str | os.PathLike[str]) -> None:
        answers = file_changed.send(sender=self, file_path=path)
        if not any(is_done for _, is_done in answers):
            self.tell(Path(path))


class _Stat(_Tells, StatReloader):
    """Asks for the times of all files. Unlike Django's, it sees new files in watched folders, as Watchman does."""

    PAUSE_SECONDS = 0.5
    LOOKING_SECONDS = 5.0  # at most, for all files

    def __init__(self) -> None:
        super().__init__()
        self._is_asked = threading.Event()
        self._has_looked = threading.Event()
        self._imported: dict[str, float] = {}

    def look_now(self) -> None:
        """Returns when each file has been looked at."""
        self._has_looked.clear()
        self._is_asked.set()
        self._has_looked.wait(self.LOOKING_SECONDS)

    def note(self, file: str, mtime: float) -> None:
        """As of when a module was imported: it may be saved again before it is looked at for the first time."""
        self._imported[file] = mtime

    def tick(self) -> Iterator[None]:
        times: dict[Path, float] = {}
        since = now = time.time()
        while not self.should_stop:
            since, now = now, time.time()
            was_asked = self._is_asked.is_set()
            while self._imported:
                name, mtime = self._imported.popitem()
                times.setdefault(Path(name).resolve(), mtime)
            for file, mtime in self.snapshot_files():
                before = times.get(file)
                times[file] = mtime
                if self._is_new(file, since) if before is None else mtime != before:
                    self.notify_file_changed(file)
            if was_asked:
                self._is_asked.clear()
                self._has_looked.set()
            yield
            self._is_asked.wait(self.PAUSE_SECONDS)

    def snapshot_files(self) -> Iterator[tuple[Path, float]]:
        try:
            yield from super().snapshot_files()
        except KeyError:
            return  # an import that fails takes its module away, just now

    def _is_new(self, file: Path, since: float) -> bool:
        """Whether a file was put there since; a module that was imported late wasn't."""
        is_asked_for = file in self.extra_files or any(folder in file.parents for folder in self.directory_globs)
        return is_asked_for and file.stat().st_ctime > since


class _Watchman(_Tells, WatchmanReloader):
    """Is told by the service Watchman, where that runs and pywatchman is installed."""

    def note(self, file: str, mtime: float) -> None:
        """Watchman knows by itself."""

    def look_now(self) -> None:
        self.processed_request.set()  # Django looks for new modules after each request


def _reloader(tell: Callable[[Path], None]) -> Any:
    made = _Watchman() if isinstance(autoreload.get_reloader(), WatchmanReloader) else _Stat()
    made.tell = tell
    return made


def _note_imports(note: Callable[[str, float], None]) -> None:
    """Have ``note`` called with each file of Python code that is imported, and its time of modification."""
    path_stats = SourceFileLoader.path_stats

    def noted(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
        stats = path_stats(loader, path)
        note(path, stats["mtime"])
        return stats

    SourceFileLoader.path_stats = noted  # type: ignore[method-assign, assignment]


# ------------------------------------------------------------------ files of an error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _files(error: BaseException) -> Iterator[str]:
    yield from (frame.filename for frame in traceback.extract_tb(error.__traceback__) if frame.filename[0] != "<")
    if isinstance(error, SyntaxError) and error.filename:
        yield error.filename
    if isinstance(error, ModuleNotFoundError) and error.name:
        for folder in sys.path:
            path = Path(folder, *error.name.split("."))
            yield from map(str, (path.with_suffix(".py"), path / "__init__.py"))
