"""What the supervisor knows of its children."""

import time
from dataclasses import dataclass, field

from django_asgi_deploy.server.channel import Channel
from django_asgi_deploy.server.plan import Plan


@dataclass(eq=False)
class Child:
    """A process and the channel to it. ``pid`` is 0 until a forked worker's is known."""

    channel: Channel
    pid: int = 0
    started_at: float = field(default_factory=time.monotonic)
    is_killed: bool = False  # by us
    kill_at: float | None = None
    stacks_shown: bool = False

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.started_at


@dataclass(eq=False)
class Generation(Child):
    """A version of the code, and the process that has loaded it."""

    number: int = 1
    plan: Plan | None = None  # once it is loaded
    forks: bool = True
    became_worker: bool = False
    is_dismissed: bool = False  # not needed any more, its end is no news
    early_ends: int = 0  # of workers that had hardly begun to serve, in a row
    vain_starts: int = 0  # of workers that never served, in a row
    last_early_end: float = 0.0
    not_before: float = 0.0  # when the next worker may be started


@dataclass(eq=False, kw_only=True)
class Worker(Child):
    """A serving process, from its fork to its end."""

    generation: Generation
    max_requests: int | None = None
    ready_at: float | None = None
    last_beat: float = field(default_factory=time.monotonic)
    requests: int = 0
    connections: int = 0
    resident_bytes: int = 0
    debugger: str | None = None
    outdated: str = ""  # why it is to be replaced
    leaving: str = ""  # why it was asked to leave
    has_failed: bool = False  # and was killed for it

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
        return self.ready_at is not None and time.monotonic() - self.ready_at >= seconds

    def in_numbers(self) -> str:
        """How old it is, what it has answered and what it holds, for a log line."""
        memory = f", {self.resident_bytes / 2**20:.0f} MiB" if self.resident_bytes else ""
        return f"{in_words(self.age_seconds)} old, {self.requests} request{'s' * (self.requests != 1)}{memory}"


def in_words(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
