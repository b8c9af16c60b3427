"""The import of the application as a plain ASGI server does it, in a process of its own, and what it brings about.

Inside ``manage.py`` an ``asgi.py`` imports fine that fails everywhere else: the settings module is named in the
environment and ``django.setup()`` is done. So it is imported once more, without either.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from django_asgi_deploy import importer
from django_asgi_deploy.checks.frames import Place, outwards, place_in, place_of, place_of_error, root, use_root
from django_asgi_deploy.exceptions import ApplicationError, ASGIDeployError

DEADLINE_SECONDS = 60.0
MARK = "django-asgi-deploy entry: "  # the module may print, too
CHILD = "from django_asgi_deploy.checks.entry_import import main; main()"
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD")  # a server's own
IN_READY = "during app initialization"  # Django's warning about queries

Handler = Callable[[int, FrameType | None], Any] | int | None


@dataclass(frozen=True)
class Failure:
    """Why the import failed."""

    error: str  # "AppRegistryNotReady: Apps aren't loaded yet."
    detail: str | None = None
    place: Place | None = None
    is_missing: bool = False  # the module is there, or not even that, and no such application in it


@dataclass(frozen=True)
class Imported:
    """What came of the import."""

    failure: Failure | None = None
    settings_module: str | None = None  # that the process has afterwards
    debug: bool | None = None
    seconds: float = 0.0  # of processor time
    effects: tuple[str, ...] = ()  # what it does beyond importing, in words
    effects_place: Place | None = None  # of the first of them that has one
    queries: tuple[Place | None, ...] = ()  # where AppConfig.ready() asks the database
    patched_by: str | None = None  # gevent or eventlet


def import_plainly(where: importer.Found, variables: dict[str, str], deadline_seconds: float | None = None) -> Imported:
    """Import the application in a process without DJANGO_SETTINGS_MODULE, but with ``variables``."""
    seconds = deadline_seconds or DEADLINE_SECONDS
    environment = {name: value for name, value in os.environ.items() if name != importer.VARIABLE}
    asked = json.dumps({"name": where.name, "origin": where.origin, "path": sys.path, "root": str(root())})
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=asked,
            env=environment | variables,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Imported(Failure(f"it isn't done after {seconds:g} seconds"))
    told = next((line for line in reversed(done.stdout.splitlines()) if line.startswith(MARK)), None)
    if told is None:
        return Imported(Failure(_ended(done.returncode), detail=done.stderr.strip()[-2000:] or None))
    return _received(json.loads(told.removeprefix(MARK)))


def _received(answer: dict[str, Any]) -> Imported:
    failure = answer.pop("failure")
    if failure:
        failure = Failure(**{**failure, "place": _place(failure["place"])})
    queries = tuple(map(_place, answer.pop("queries")))
    effects, place = tuple(answer.pop("effects")), _place(answer.pop("effects_place"))
    return Imported(failure=failure, queries=queries, effects=effects, effects_place=place, **answer)


def _place(sent: list[Any] | None) -> Place | None:
    return Place(*sent) if sent else None


def _ended(returncode: int) -> str:
    if returncode < 0:
        return f"the process that imports it is killed by signal {-returncode}"
    return f"it ends the process that imports it, with status {returncode}"


# ------------------------------------------------------------------ in the child


@dataclass
class _Before:
    """What the import could change."""

    threads: set[threading.Thread] = field(default_factory=lambda: {*threading.enumerate()})
    handlers: dict[str, Handler] = field(default_factory=lambda: dict(_handlers()))
    started: float = field(default_factory=time.process_time)  # what a busy machine takes isn't the import's


def main() -> None:
    """Import what standard input asks for, and tell on standard output what came of it."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    use_root(Path(asked["root"]))
    queries: list[Place | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = partial(_note_query, queries)
        before = _Before()
        failure = None
        try:
            importer.import_from_string(asked["name"], asked["origin"])
        except ASGIDeployError as error:
            failure = _failure(error)
        seconds = time.process_time() - before.started
    effects = [] if failure else [*_effects(before)]
    answer = {
        "failure": failure,
        "settings_module": os.environ.get(importer.VARIABLE),
        "debug": None if failure else _debug(),
        "seconds": seconds,
        "effects": [what for what, _ in effects],
        "effects_place": next((place for _, place in effects if place), None),
        "queries": [*dict.fromkeys(queries)],
        "patched_by": _patched_by(),
    }
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)
    os._exit(0)  # whatever threads the import has started


def _failure(error: ASGIDeployError) -> dict[str, Any]:
    cause = error.__cause__ or error
    return {
        "error": _short(traceback.format_exception_only(cause)[-1].strip()),
        "detail": str(error).partition("\n\n")[2] or str(error),
        "place": place_of_error(cause),
        "is_missing": isinstance(error, ApplicationError),
    }


def _short(reason: str) -> str:
    """``django.core.exceptions.AppRegistryNotReady: text`` without the module, and of the text the first sentence."""
    name, colon, text = reason.partition(":")
    return " ".join(f"{name.rpartition('.')[2]}{colon}{text.partition('. ')[0]}".split())


def _debug() -> bool | None:
    from django.conf import settings

    return bool(settings.DEBUG) if settings.configured else None


def _effects(before: _Before) -> Iterator[tuple[str, Place | None]]:
    """In words, and where what it concerns is defined."""
    for thread in threading.enumerate():
        if thread not in before.threads and not thread.daemon:
            yield f"starts the thread {thread.name!r}", place_in(getattr(thread, "_target", None) or type(thread).run)
    for name, handler in _handlers():
        if handler != before.handlers[name]:
            yield f"replaces the handler of {name}", place_in(handler)
    made = getattr(asyncio.events, "_event_loop_policy", None)  # asking for it would make it
    policy = type(made) if made else None
    if policy and policy.__module__.partition(".")[0] not in ("asyncio", "uvloop"):
        yield f"replaces the event loop's policy by {policy.__module__}.{policy.__qualname__}", place_in(policy)
    yield from ((what, None) for what in _open_connections())


def _open_connections() -> Iterator[str]:
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            yield f"leaves a connection to the database {connection.alias!r} open"


def _handlers() -> Iterator[tuple[str, Handler]]:
    for name in SIGNALS:
        if hasattr(signal, name):
            yield name, signal.getsignal(getattr(signal, name))


def _note_query(queries: list[Place | None], message: Warning | str, *args: Any, **kwargs: Any) -> None:
    if IN_READY in str(message):
        queries.append(place_of(outwards(sys._getframe(1))))


def _patched_by() -> str | None:
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent and gevent.is_module_patched("socket"):
        return "gevent"
    return "eventlet" if eventlet and eventlet.is_monkey_patched("socket") else None
