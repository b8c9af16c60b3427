"""One version of the code: a process that has imported the project, and becomes workers by forking, or becomes one."""

import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.channel import Channel
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.processes import signals_blocked, unsafe_threads

STACKS_SIGNAL = getattr(signal, "SIGUSR1", None)
# Sent to the whole foreground of a terminal, and the supervisor's to answer.
OF_THE_SUPERVISOR = ("SIGINT", "SIGHUP", "SIGTTIN", "SIGTTOU")

Preload = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class Duty:
    """What a worker serves with."""

    channel: Channel
    sockets: list[socket.socket]
    balance: Balance

    @classmethod
    def of(cls, channel: Channel, descriptors: list[int]) -> "Duty":
        """``descriptors`` as the supervisor sends them: the table of the workers, then the sockets."""
        balance, *sockets = descriptors
        return cls(channel, [socket.socket(fileno=fd) for fd in sockets], Balance(fd=balance))


def prepare() -> None:
    """To be called before the project is imported: signals and stacks as a child of the supervisor needs them."""
    for name in OF_THE_SUPERVISOR:
        signal.signal(getattr(signal, name), _leave_to_supervisor)
    if STACKS_SIGNAL and sys.__stderr__ is not None:
        # By C code, so also while Python code, or a library that holds the GIL, doesn't return.
        faulthandler.register(STACKS_SIGNAL, file=sys.__stderr__, all_threads=True, chain=False)


def _leave_to_supervisor(sig: int, frame: object) -> None:
    """Not SIG_IGN: the programs that the project starts would inherit it."""


def await_duty(channel: Channel, plan: Plan, preload: Preload, before_fork: Callable[[], None]) -> Duty | None:
    """Tell the supervisor that the project is loaded, and fork the workers that it asks for.

    Returns in each process that is to serve, and with None when the generation isn't needed any more.
    """
    hindrance = _why_not_to_fork(preload)
    if not hindrance:
        before_fork()
        gc.collect()
        gc.freeze()  # what is here now stays, and collecting never touches, hence never copies, its pages
    channel.send(plan=plan.as_dict(), forks=not hindrance, why_not=hindrance)
    for message, descriptors in channel.wait():
        if message["do"] == "serve":
            return Duty.of(channel, descriptors)
        theirs, *others = descriptors
        if _is_in_fork(theirs):
            channel.close()
            return Duty.of(Channel.adopt(theirs), others)
        for fd in descriptors:
            os.close(fd)
    return None


def _why_not_to_fork(preload: Preload) -> str:
    if preload == "off":
        return "PRELOAD is off"
    threads = unsafe_threads()
    if preload == "on" or not threads:
        return ""
    names = ", ".join(threads)
    return f"importing the project left {len(threads)} thread{'s' * (len(threads) > 1)} running ({names})"


def _is_in_fork(channel: int) -> bool:
    """Fork twice, so that the worker becomes the supervisor's child. True in the worker."""
    with signals_blocked():
        try:
            between = os.fork()
        except OSError as error:
            print(f"A worker can't be forked: {error.strerror}.", file=sys.stderr, flush=True)
            return False
        if between:
            os.waitpid(between, 0)
            return False
        try:
            worker = os.fork()
        except OSError as error:
            os.write(2, f"A worker can't be forked: {error.strerror}.\n".encode())
            os._exit(1)
        if worker:
            # Before the end of this process makes the worker the supervisor's, so it never reaps a stranger.
            Channel(socket.socket(fileno=channel)).send(pid=worker)
            os._exit(0)
        return True
