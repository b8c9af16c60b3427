"""What the supervisor obeys: it never imports the project, so each generation tells it."""

import os
from typing import Any, NamedTuple


class Plan(NamedTuple):
    """The options of the same names (``conf.Settings``), with the number of workers decided."""

    workers: int
    boot_timeout_seconds: int
    heartbeat_timeout_seconds: int
    drain_delay_seconds: int
    graceful_timeout_seconds: int
    max_requests: int | None
    max_requests_jitter: int
    max_lifetime_seconds: int | None
    max_rss_bytes: int | None
    bind: list[str]

    @classmethod
    def of(cls, settings: Any, workers: int) -> "Plan":
        values = {name: getattr(settings, name) for name in cls._fields}
        return cls(**{**values, "workers": workers})

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()

    def draw_max_requests(self) -> int | None:
        """After how many one worker is to be replaced: a number of its own, so that not all are it at once."""
        jitter = int.from_bytes(os.urandom(4)) % (self.max_requests_jitter + 1)
        return self.max_requests and self.max_requests + jitter

    @property
    def budget_seconds(self) -> int:
        """From the signal until the last request is cut."""
        return self.drain_delay_seconds + self.graceful_timeout_seconds
