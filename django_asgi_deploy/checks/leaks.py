"""Which database connections stay open when all requests are done, and who opened them."""

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_asgi_deploy.checks.frames import Place, outwards, place_of


@dataclass(frozen=True)
class Opened:
    """A connection, as it was opened."""

    alias: str
    thread: str  # its name
    place: Place | None  # the user's line that needed it


class Connections:
    """All connections that are opened from now on."""

    def __init__(self) -> None:
        self._opened: weakref.WeakKeyDictionary[BaseDatabaseWrapper, Opened] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()  # guards the dictionary: connections are opened in many threads
        self.count = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        connect = BaseDatabaseWrapper.connect

        def noting(wrapper: BaseDatabaseWrapper, *args: Any, **kwargs: Any) -> None:
            connect(wrapper, *args, **kwargs)
            place = place_of(outwards(sys._getframe(1)))
            with self._lock:
                self.count += 1
                self._opened[wrapper] = Opened(wrapper.alias, threading.current_thread().name, place)

        BaseDatabaseWrapper.connect = noting  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            BaseDatabaseWrapper.connect = connect  # type: ignore[method-assign]

    def still_open(self) -> dict[int, Opened]:
        """By identity, those that nobody has closed; a database in memory never closes its own."""
        with self._lock:
            opened = [*self._opened.items()]
        return {
            id(wrapper): how for wrapper, how in opened if wrapper.connection is not None and not _is_in_memory(wrapper)
        }


def _is_in_memory(wrapper: BaseDatabaseWrapper) -> bool:
    is_in_memory: Any = getattr(wrapper, "is_in_memory_db", None)
    return bool(is_in_memory()) if is_in_memory else False
