"""What is left when the supervisor is killed, and the process that ends it.

Workers see that the supervisor is gone, finish what is open, and leave. One that is stuck doesn't: its event loop is
blocked, or its import, or a library holds the GIL, or it is stopped. Nothing inside such a process can be relied on, so
a process beside the supervisor waits for its end. It has nothing else to do, so it can't be stuck itself.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import NoReturn

from django_asgi_deploy.server.channel import Channel
from django_asgi_deploy.server.lines import Lines
from django_asgi_deploy.server.processes import signals_blocked
from django_asgi_deploy.server.title import set_title

# From the supervisor's end: what a worker that isn't stuck gives itself, last words included (worker.py).
PATIENCE_SECONDS = 3


class OrphanWatch:
    """The supervisor's side: it says which processes are there.

    Each is known by a descriptor (``pidfd_open(2)``), so that none is taken for one that gets its pid later. Where the
    system has no such descriptors, stuck processes are left as they are.
    """

    def __init__(self, lines: Lines, process_name: str | None) -> None:
        self._lines = lines
        self._process_name = process_name
        self._channel: Channel | None = None
        self._pid = 0
        self._known: set[int] = set()

    def keep(self, pids: Iterable[int]) -> None:
        """These are the supervisor's children now: those that it hasn't reaped; 0 is none."""
        children = {pid for pid in pids if pid}
        if children <= self._known:
            self._known = children
            return
        unknown = children - self._known
        self._known = children
        if self._channel is None or _has_ended(self._channel):
            unknown = children
            try:
                self._channel = self._start()
            except OSError as error:
                self._lines.warning(f"Nobody watches for the supervisor's end: {error.strerror}.")
                return
        for pid in unknown:
            _tell(self._channel, pid)

    def dismiss(self) -> None:
        """Every child has been reaped: there is nothing to watch for any more."""
        if self._channel is not None:
            if not _has_ended(self._channel):
                os.kill(self._pid, signal.SIGKILL)  # it may be stopped
                os.waitpid(self._pid, 0)
            self._channel.close()

    def _start(self) -> Channel:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        ours, theirs = Channel.pair()
        try:
            with signals_blocked():  # for ever there: who signals all processes of a group means the others
                self._pid = os.fork()
                if not self._pid:
                    _live(theirs, self._lines, self._process_name)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def _tell(channel: Channel, pid: int) -> None:
    with suppress(OSError):  # an old kernel, or a sandbox
        descriptor = os.pidfd_open(pid)
        channel.send(pid=pid, descriptors=[descriptor])
        os.close(descriptor)


def _has_ended(channel: Channel) -> bool:
    """Whether the other side has; it never says anything."""
    try:
        return any(channel.receive())
    except EOFError:
        return True


def _live(channel: Channel, lines: Lines, process_name: str | None) -> NoReturn:
    try:
        # The listening sockets, and the supervisor's ends of its channels, are seen as closed only if nobody has them.
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        set_title(process_name, "watch for its end")
        _end(_left_behind(channel), lines)
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # the module that does it, too, takes a millisecond to import
        os._exit(1)


def _left_behind(channel: Channel) -> dict[int, int]:
    """Wait for the supervisor's end. The processes that it leaves: of each, the descriptor and the pid."""
    left: dict[int, int] = {}
    while True:
        ready = select.select([channel.fileno(), *left], [], [])[0]
        _forget(left, ready)
        if channel.fileno() in ready:
            try:
                for message, (descriptor,) in channel.receive():
                    left[descriptor] = message["pid"]
            except EOFError:
                return left


def _end(left: dict[int, int], lines: Lines) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left and (seconds := deadline - time.monotonic()) > 0:
        _forget(left, select.select([*left], [], [], seconds)[0])
    for descriptor, pid in left.items():
        lines.error(f"Process {pid} is still there {PATIENCE_SECONDS} s after the supervisor's end, and is killed.")
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _forget(left: dict[int, int], ready: Iterable[int]) -> None:
    """Those that have ended: their descriptors are readable."""
    for descriptor in left.keys() & ready:
        del left[descriptor]
        os.close(descriptor)
