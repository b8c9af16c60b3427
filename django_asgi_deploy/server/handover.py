"""How ``manage.py runasgi`` becomes the supervisor: it executes another program and keeps its pid and its sockets.

Before that it forks, so that what it has imported already isn't imported twice: the fork is the first generation.
"""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from django_asgi_deploy.server import multiprocess, processes
from django_asgi_deploy.server.channel import Channel, Message
from django_asgi_deploy.server.pidfile import PidFile
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.sockets import Sockets, unlink_if_still_ours

VARIABLE = "RUNASGI_HANDOVER"  # in the environment of the supervisor's program


@dataclass(kw_only=True)
class Handover:
    """Everything that the supervisor gets. Descriptors are numbers; ``environment`` is that of the command's start."""

    command: list[str]
    directory: str
    plan: Plan
    sockets: list[int]
    borrowed: list[bool]  # of each socket, whether another program may keep it
    made: list[tuple[str, int]]  # unix sockets to unlink at the end: path and inode
    urls: list[str]
    colour: bool | None
    process_name: str | None
    pid_file: str | None
    metrics_folder: str | None = None  # of our making, to be removed at the end
    generation: tuple[int, int] | None = None  # pid and channel of the one that is loading already
    environment: dict[bytes, bytes] = field(default_factory=dict)

    def execute(self) -> NoReturn:
        """Become the supervisor's program. Raises OSError if that can't be executed."""
        values = {
            each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "environment"
        }
        text = json.dumps({**values, "plan": self.plan.as_dict()})
        for fd in self._descriptors():
            os.set_inheritable(fd, True)
        program = str(Path(__file__).with_name("supervise.py"))
        environment = {**processes.original_environment(), VARIABLE.encode(): text.encode()}
        if self.metrics_folder:
            environment[multiprocess.VARIABLE.encode()] = os.fsencode(self.metrics_folder)
        os.execve(sys.executable, [sys.executable, program, *self.command[1:]], environment)

    @classmethod
    def receive(cls) -> "Handover":
        values: dict[str, Any] = json.loads(os.environ.pop(VARIABLE))
        values["plan"] = Plan(**values["plan"])
        received = cls(**values, environment=dict(os.environb))
        for fd in received._descriptors():
            os.set_inheritable(fd, False)
        return received

    def _descriptors(self) -> list[int]:
        return [*self.sockets, *([self.generation[1]] if self.generation else [])]

    def close_sockets(self) -> None:
        self.borrowed.clear()
        while self.sockets:
            os.close(self.sockets.pop())

    def clean_up(self) -> None:
        """At the very end: what others could find of us."""
        self.close_sockets()
        for path, inode in self.made:
            unlink_if_still_ours(path, inode)
        multiprocess.remove_folder(self.metrics_folder)
        if self.pid_file:
            PidFile(self.pid_file).remove()


def become_supervisor(handover: Handover, sockets: Sockets) -> tuple[Channel, Message]:
    """Turn this process into the supervisor; returns in a fork of it, which goes on as the first generation.

    Raises OSError if the supervisor's program can't be executed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = Channel.pair()
    with processes.signals_blocked():  # the supervisor lets them in when it can hear them
        if _may_fork(handover):
            pid = os.fork()
            if not pid:
                ours.close()
                sockets.close_copies()
                return theirs, {"generation": 1, "announces": True}
            handover.generation = (pid, ours.fileno())
        handover.execute()


def _may_fork(handover: Handover) -> bool:
    """If not, the supervisor starts an interpreter for the first generation, as it does for the others."""
    knows_metrics = handover.metrics_folder is not None and "prometheus_client" in sys.modules  # it looks at its import
    return not processes.unsafe_threads() and not knows_metrics
