"""The child of ``runasgi --reload``: the same command line once more, until a file changes.

Whatever it fails with is shown and waits for the next save, also what fails before there is a command: a syntax error
in the settings. Nothing but the standard library and Django's autoreloader is imported before the project's own start.
"""

import json
import os
import runpy
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from django.utils import autoreload

from django_asgi_deploy.exceptions import ProjectError
from django_asgi_deploy.server.changes import Changes

VARIABLE = "RUNASGI_RELOAD"
RESTART = 3  # as with Django's autoreloader
ENDING_SECONDS = 2.0  # from the change to the end, also for what neither returns nor can be cancelled


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What the parent gives to a child."""

    sockets: list[int]  # descriptors that are listened on
    bind: list[str]  # what they were opened for
    line: int  # descriptor of a socket to the parent: carries a Report, and breaks when the parent is gone
    has_served: bool = False  # an earlier child; then the banner has been shown
    changed: str = ""  # the file because of which this child was started
    changed_at: float = 0.0  # seconds since the epoch

    def as_variable(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(vars(self))}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a child says to the parent when it ends to be started again."""

    has_served: bool
    changed: str
    changed_at: float

    def as_bytes(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Report":
        return cls(**json.loads(data))


class Child:
    """This process, between its start and the next change."""

    def __init__(self, handover: Handover) -> None:
        self.handover = handover
        self.has_served = handover.has_served
        self.changes = Changes(self._on_change)
        for descriptor in (*handover.sockets, handover.line):
            os.set_inheritable(descriptor, False)

    def run(self, command: list[str]) -> int:
        """The exit status: RESTART, or 0 when somebody asked for the end."""
        try:
            for sig in (signal.SIGTERM, signal.SIGINT):
                signal.signal(sig, _stop)
            autoreload.ensure_echo_on()  # a debugger may have been interrupted
            self.changes.start()
            threading.Thread(target=self._end_with_parent, name="parent", daemon=True).start()
            if _status_of(command, self.changes) and not self.changes.found:
                print("Waiting for the next save.", file=sys.stderr, flush=True)
                threading.Event().wait()
        except SystemExit:
            pass  # _stop, wherever it struck
        return RESTART if self.changes.found else 0

    def _on_change(self, path: Path) -> None:
        shown = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
        report = Report(has_served=self.has_served, changed=shown, changed_at=time.time())
        os.write(self.handover.line, report.as_bytes())
        _stop_main_thread()
        time.sleep(ENDING_SECONDS)
        os._exit(RESTART)

    def _end_with_parent(self) -> None:
        os.read(self.handover.line, 1)
        _stop_main_thread()


child: Child | None = None  # when this process is one


def main() -> NoReturn:
    """``python -c "...main()" manage.py runasgi --reload``, or with ``-m package`` in the place of ``manage.py``."""
    global child
    child = Child(Handover(**json.loads(os.environ.pop(VARIABLE))))
    sys.exit(child.run(sys.argv[1:]))


def _stop(sig: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _stop_main_thread() -> None:
    """As if the process had been asked to end. To this thread: it may be in a call that only a signal interrupts."""
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGTERM)


def _status_of(command: list[str], changes: Changes) -> int:
    """The status that the command ends with; what it raises is shown."""
    try:
        _execute(command)
    except SystemExit as end:
        changes.watch_for(end)
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0
        print(end.code, file=sys.stderr, flush=True)
        return 1
    except Exception as error:
        changes.watch_for(error)
        name = command[1] if command[0] == "-m" else command[0]
        print(ProjectError.from_exception(f"{name} fails:", error), file=sys.stderr, flush=True)
        return 1
    return 0


def _execute(command: list[str]) -> None:
    """Run a script, or ``-m`` a module, as Python itself does."""
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        if not sys.flags.safe_path:
            sys.path[0] = str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")
