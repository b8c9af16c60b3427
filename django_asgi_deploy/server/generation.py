"""One version of the code: a process that has imported the project, and becomes workers by forking, or becomes one."""

import faulthandler
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from django_asgi_deploy.server.backlog import BorrowedSocket
from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.channel import Channel, Message
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.processes import signals_blocked, unsafe_threads

STACKS_SIGNAL = getattr(signal, "SIGUSR1", None)
# Sent to the whole foreground of a terminal, and the supervisor's to answer.
OF_THE_SUPERVISOR = ("SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU")

NICENESS = 19  # of what only has something to say

Preload = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Duty:
    """What a worker serves with."""

    channel: Channel
    sockets: list[socket.socket]
    balance: Balance

    @classmethod
    def of(cls, channel: Channel, message: Message, descriptors: list[int]) -> "Duty":
        """``descriptors`` as the supervisor sends them: the table of the workers, then the sockets."""
        balance, *fds = descriptors
        sockets = [
            BorrowedSocket(fileno=fd) if is_borrowed else socket.socket(fileno=fd)
            for fd, is_borrowed in zip(fds, message["borrowed"], strict=True)
        ]
        return cls(channel, sockets, Balance(fd=balance))

    def close(self) -> None:
        self.channel.close()
        for sock in self.sockets:
            sock.close()


def prepare() -> None:
    """To be called before the project is imported: signals and stacks as a child of the supervisor needs them."""
    for name in OF_THE_SUPERVISOR:
        signal.signal(getattr(signal, name), _leave_to_supervisor)
    if STACKS_SIGNAL and sys.__stderr__ is not None:
        # By C code, so also while Python code, or a library that holds the GIL, doesn't return.
        faulthandler.register(STACKS_SIGNAL, file=sys.__stderr__, all_threads=True, chain=False)


def _leave_to_supervisor(sig: int, frame: object) -> None:
    """Not SIG_IGN: the programs that the project starts would inherit it."""


def await_duty(
    channel: Channel,
    plan: Plan,
    preload: Preload,
    *,
    before_fork: Callable[[], None],
    advise: Callable[[], None] | None,
) -> Duty | None:
    """Tell the supervisor that the project is loaded, and fork the workers that it asks for.

    ``advise`` is called once, by a process of its own when workers serve already, or now if there is no forking.

    Returns in each process that is to serve, and with None when the generation isn't needed any more.
    """
    hindrance = _why_not_to_fork(preload)
    if not hindrance:
        before_fork()
    elif advise:
        advise()
    channel.send(plan=plan.as_dict(), forks=not hindrance, why_not=hindrance)
    for message, descriptors in channel.wait():
        if message["do"] == "serve":
            return Duty.of(channel, message, descriptors)
        if message["do"] == "advise":
            if advise:
                _advise_aside(channel, advise)
            continue
        theirs, *others = descriptors
        if _is_in_fork(theirs):
            channel.close()
            return Duty.of(Channel.adopt(theirs), message, others)
        for fd in descriptors:
            os.close(fd)
    return None


def _advise_aside(channel: Channel, advise: Callable[[], None]) -> None:
    """In a process of its own, which gives way to all others, so that neither time nor memory of workers goes to it."""
    if not _is_forked_away(lambda pid: None):
        return
    os.nice(NICENESS)
    threading.Thread(target=_end_with, args=[channel], daemon=True).start()
    try:
        advise()
        sys.stdout.flush()
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(0)


def _end_with(channel: Channel) -> None:
    """End this process when the other side is gone; what is said on the channel is for somebody else."""
    poll = select.poll()
    poll.register(channel, 0)
    poll.poll()
    os._exit(0)


def _why_not_to_fork(preload: Preload) -> str:
    if preload == "off":
        return "PRELOAD is off"
    threads = unsafe_threads()
    if preload == "on" or not threads:
        return ""
    names = ", ".join(threads)
    return f"importing the project left {len(threads)} thread{'s' * (len(threads) > 1)} running ({names})"


def _is_in_fork(channel: int) -> bool:
    """Fork a worker. True in the worker."""

    def tell(pid: int) -> None:
        # Before the end of the process between makes the worker the supervisor's, so it never reaps a stranger.
        with closing(Channel(socket.socket(fileno=channel))) as its_channel:
            its_channel.send(pid=pid)

    return _is_forked_away(tell)


def _is_forked_away(tell: Callable[[int], object]) -> bool:
    """Fork twice, so that the new process becomes the supervisor's child; ``tell`` gets its pid. True in it."""
    with signals_blocked():
        try:
            between = os.fork()
        except OSError as error:
            print(f"A process can't be forked: {error.strerror}.", file=sys.stderr, flush=True)
            return False
        if between:
            os.waitpid(between, 0)
            return False
        try:
            pid = os.fork()
        except OSError as error:
            os.write(2, f"A process can't be forked: {error.strerror}.\n".encode())
            os._exit(1)
        if pid:
            tell(pid)
            os._exit(0)
        return True
