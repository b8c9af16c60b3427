"""``runasgi --reload``: a parent that keeps the sockets, and one child after another that serves until a file changes.

The parent never serves; a browser that comes between two children waits in the queue of the socket. The child is the
same command line once more, see reloaded.py, and ends up in ``run`` here again.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from django.utils import autoreload

from django_asgi_deploy import importer
from django_asgi_deploy.addresses import parse_address
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ExitStatus
from django_asgi_deploy.project import Project
from django_asgi_deploy.server import logs, reloaded
from django_asgi_deploy.server import run as server
from django_asgi_deploy.server.reloaded import Child, Handover, Report
from django_asgi_deploy.server.sockets import Sockets

GRACE_SECONDS = 0.3  # for open requests, at each change; streams are cut then
TOLD_SECONDS = 2.0  # for a child that the terminal has told to end
ENDING_SECONDS = 5.0  # for one that we have; it ends itself much earlier

Say = Callable[[str], None]


def problems(settings: Settings) -> list[str]:
    """What can't be meant together with --reload."""
    found = []
    if sys.platform == "win32":
        found.append("--reload hands sockets to a child process, which needs Linux or macOS; here, use runserver.")
    if settings.workers != 1 and settings.origins["WORKERS"] == "--workers":
        found.append(f"--workers {settings.workers} and --reload: reloading is for one worker; leave one of them out.")
    return found


def run(settings: Settings, command: server.Command) -> int:
    """Serve until stopped, anew after each change; as server.run.run, which each child gets to.

    Raises ASGIDeployError if the parent can't start, or if a child can't: that one waits for the next save.
    """
    if reloaded.child is None:
        addresses = [parse_address(text) for text in settings.bind]
        with Sockets(addresses, reuse_port=settings.reuse_port == "on") as sockets:
            return _Parent(sockets.sockets, settings.bind, command.say).run()
    for line in _without_effect(settings, reloaded.child):
        command.say(line)
    return _serve(settings, command, reloaded.child)


# ------------------------------------------------------------------ the parent


class _Parent:
    def __init__(self, sockets: list[socket.socket], bind: list[str], say: Say) -> None:
        self._sockets = [each.fileno() for each in sockets]
        self._bind = bind
        self._say = say

    def run(self) -> int:
        with _raising_signals():
            try:
                report = None
                while True:
                    status, report = self._one_child(report)
                    if report is None:
                        return status
            except _Stopped:
                return ExitStatus.STOPPED

    def _one_child(self, report: Report | None) -> tuple[int, Report | None]:
        ours, childs = socket.socketpair()
        with ours:
            with childs:
                handover = Handover(
                    sockets=self._sockets, bind=self._bind, line=childs.fileno(), **(vars(report) if report else {})
                )
                process = subprocess.Popen(
                    _command(),
                    env=_environment() | handover.as_variable(),
                    pass_fds=[*self._sockets, childs.fileno()],
                )
            try:
                status = process.wait()
            except _Stopped as stopped:
                _end(process, stopped)
                return ExitStatus.STOPPED, None
            if said := _received(ours):
                return status, Report.from_bytes(said)
        if status < 0:
            self._say(f"The server process was ended by {signal.Signals(-status).name}.")
            return ExitStatus.TEMPORARY, None
        return status, None


def _received(line: socket.socket) -> bytes:
    line.setblocking(False)  # a process that the project has forked may still hold the other end
    try:
        return line.recv(65536)
    except OSError:
        return b""


class _Stopped(BaseException):
    """Raised by a signal handler, as KeyboardInterrupt is."""

    def __init__(self, sig: int) -> None:
        self.sig = sig


@contextmanager
def _raising_signals() -> Iterator[None]:
    def stop(sig: int, frame: FrameType | None) -> None:
        raise _Stopped(sig)

    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _end(process: subprocess.Popen[bytes], stopped: _Stopped) -> None:
    """Wait for the end of the child, which a Ctrl-C in a terminal has reached as well: told twice, it would hurry."""

    def tell(sig: int, frame: FrameType | None) -> None:
        process.terminate()

    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, tell)
    patience = [ENDING_SECONDS]
    if stopped.sig == signal.SIGINT and _is_in_the_foreground():
        patience.insert(0, TOLD_SECONDS)
    else:
        process.terminate()
    for seconds in patience:
        try:
            process.wait(seconds)
            return
        except subprocess.TimeoutExpired:
            process.terminate()
    process.kill()
    process.wait()


def _is_in_the_foreground() -> bool:
    """Whether a Ctrl-C in the terminal goes to this process and its children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _command() -> list[str]:
    """The command line of this process, with reloaded.main around it."""
    words = [str(word) for word in autoreload.get_child_arguments()]
    given = len(words) - len(sys.argv[1:])
    program = given - 2 if words[given - 2] == "-m" else given - 1
    path = "" if sys.flags.safe_path else f"import sys; sys.path[0] = {sys.path[0]!r}; "  # -c has put another one there
    return [*words[:program], "-c", f"{path}from {reloaded.__name__} import main; main()", *words[program:]]


def _environment() -> dict[str, str]:
    """As Django's autoreloader does; the choice of the settings stays whoever's it was."""
    environment = os.environ | {autoreload.DJANGO_AUTORELOAD_ENV: "true"}
    if importer.was_exported(importer.VARIABLE) is False:
        environment.pop(importer.VARIABLE, None)
    return environment


# ------------------------------------------------------------------ the child


def _serve(settings: Settings, command: server.Command, child: Child) -> int:
    def load_and_watch() -> Project:
        project = command.load()
        child.changes.project_is_loaded()
        return project

    def on_ready(serving: str) -> None:
        child.has_served = True
        seconds = time.time() - child.handover.changed_at
        is_again = child.handover.has_served
        command.say(f"Reloaded in {seconds:.1f} s: {child.handover.changed} changed." if is_again else serving)

    here = replace(
        settings,
        bind=[f"fd://{each}" for each in child.handover.sockets],
        workers=1,
        supervisor="off",
        drain_delay_seconds=0,
        graceful_timeout_seconds=GRACE_SECONDS,  # type: ignore[arg-type] # nobody else can ask for a fraction
        pid_file=None,
    )
    with logs.without_start_and_end():
        return server.run(
            here,
            replace(command, load=load_and_watch),
            on_ready=on_ready,
            brief=child.handover.has_served,
            is_last=False,
        )


def _without_effect(settings: Settings, child: Child) -> Iterator[str]:
    if settings.bind != child.handover.bind:
        given = ", ".join(settings.bind)
        yield f"BIND is {given} now: to listen there, stop runasgi and start it again."
    in_vain = settings.needs_supervisor
    if settings.pid_file:
        in_vain = [*in_vain, f"PID_FILE ({settings.origins['PID_FILE']})"]
    if in_vain and not child.handover.changed:
        yield f"{', '.join(in_vain)}: no effect, --reload serves with one worker and without a supervisor."
