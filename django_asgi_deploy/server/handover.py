"""What ``manage.py runasgi`` hands to the supervisor's program, which it becomes: sockets, plan, command."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from django_asgi_deploy.server import multiprocess, processes
from django_asgi_deploy.server.pidfile import PidFile
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.unlink import MadeFile

VARIABLE = "RUNASGI_HANDOVER"  # in the environment of the supervisor's program


class Handover(NamedTuple):
    """Everything that the supervisor gets. Descriptors are numbers; ``environment`` is that of the command's start."""

    command: list[str]
    directory: str
    plan: Plan
    sockets: list[int]
    borrowed: list[bool]  # of each socket, whether another program may keep it
    made: list[MadeFile]  # unix sockets to unlink at the end
    urls: list[str]
    colour: bool | None
    process_name: str | None
    pid_file: str | None
    metrics_folder: str | None = None  # of our making, to be removed at the end
    generation: tuple[int, int] | None = None  # pid and channel of the one that is loading already
    environment: Mapping[bytes, bytes] = {}

    def execute(self) -> NoReturn:
        """Become the supervisor's program. Raises OSError if that can't be executed."""
        text = json.dumps({**self._asdict(), "plan": self.plan.as_dict(), "environment": None})
        for fd in self._descriptors():
            os.set_inheritable(fd, True)
        program = str(Path(__file__).with_name("supervise.py"))
        environment = {**processes.original_environment(), VARIABLE.encode(): text.encode()}
        if self.metrics_folder:
            environment[multiprocess.VARIABLE.encode()] = os.fsencode(self.metrics_folder)
        processes.become_subreaper()  # it stays so; the supervisor doesn't have to import ctypes for it
        os.execve(sys.executable, [sys.executable, program, *self.command[1:]], environment)

    @classmethod
    def receive(cls) -> "Handover":
        values: dict[str, Any] = json.loads(os.environ.pop(VARIABLE))
        made = [MadeFile(*each) for each in values["made"]]
        received = cls(**{**values, "made": made, "plan": Plan(**values["plan"]), "environment": dict(os.environb)})
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
        for file in self.made:
            file.unlink_if_still_ours()
        multiprocess.remove_folder(self.metrics_folder)
        if self.pid_file:
            PidFile(self.pid_file).remove()
