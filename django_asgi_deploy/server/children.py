"""What the supervisor knows of its children."""

import os
import signal
from contextlib import suppress

from django_asgi_deploy.server import processes
from django_asgi_deploy.server.backoff import Backoff
from django_asgi_deploy.server.channel import Channel
from django_asgi_deploy.server.clock import Clock
from django_asgi_deploy.server.plan import Plan

ENDS_TOLERATED = 5  # so many workers in a row may end soon after their start until there is a pause


class Child:
    """A process and the channel to it. ``pid`` is 0 until a forked worker's is known."""

    def __init__(self, clock: Clock, channel: Channel, pid: int = 0) -> None:
        self.clock = clock
        self.channel = channel
        self.pid = pid
        self.started_at = clock.now
        self.starting_since = clock.now  # for the deadline; a debugger holds it up
        self.debugger: str | None = None
        self.was_debugged = False  # at the last look
        self.is_killed = False  # by us
        self.kill_at: float | None = None
        self.stacks_shown = False

    @property
    def is_deaf(self) -> bool:
        """Whether there is nothing to hear from it: it is gone."""
        return self.channel.fileno() < 0

    @property
    def is_debugged(self) -> bool:
        """Whether somebody has hold of it who may take any time."""
        return bool(self.debugger or processes.tracer(self.pid))

    def send_signal(self, sig: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):  # it has ended and will be reaped
                os.kill(self.pid, sig)

    @property
    def age_seconds(self) -> float:
        """Without the time in which the supervisor stood still."""
        return self.clock.now - self.started_at


class Generation(Child):
    """A version of the code, and the process that has loaded it."""

    def __init__(self, clock: Clock, channel: Channel, pid: int, number: int = 1) -> None:
        super().__init__(clock, channel, pid)
        self.number = number
        self.plan: Plan | None = None  # once it is loaded
        self.forks = True
        self.became_worker = False
        self.is_dismissed = False  # not needed any more, its end is no news
        self.backoff = Backoff(ENDS_TOLERATED)  # counts the ends of workers that had hardly begun to serve
        self.vain_starts = 0  # of workers that never served, in a row
        self.newest: Worker | None = None

    @property
    def is_deaf(self) -> bool:
        """Or heard as the worker that it has become."""
        return super().is_deaf or self.became_worker


class Worker(Child):
    """A serving process, from its fork to its end."""

    def __init__(self, clock: Clock, channel: Channel, pid: int = 0, *, generation: Generation) -> None:
        super().__init__(clock, channel, pid)
        self.generation = generation
        self.max_requests: int | None = None
        self.ready_at: float | None = None
        self.last_beat = self.started_at
        self.requests = 0
        self.connections = 0
        self.resident_bytes = 0
        self.outdated = ""  # why it is to be replaced
        self.leaving = ""  # why it was asked to leave
        self.has_failed = False  # and was killed for it

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None and not self.leaving

    @property
    def is_starting(self) -> bool:
        return self.ready_at is None and not self.leaving

    @property
    def name(self) -> str:
        return f"Worker {self.pid}" if self.pid else "A worker"

    def has_served(self, seconds: float) -> bool:
        """Whether it has been serving for so long."""
        return self.ready_at is not None and self.clock.now - self.ready_at >= seconds

    def in_numbers(self) -> str:
        """How old it is, what it has answered and what it holds, for a log line."""
        memory = f", {self.resident_bytes / 2**20:.0f} MiB" if self.resident_bytes else ""
        return f"{in_words(self.age_seconds)} old, {self.requests} request{'s' * (self.requests != 1)}{memory}"


def in_words(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
