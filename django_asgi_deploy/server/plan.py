"""What the supervisor obeys: it never imports the project, so each generation tells it."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple


class Plan(NamedTuple):
    """The options of the same names (``conf.Settings``), with the number of workers decided, and the rule for it."""

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
    workers_rule: str = ""  # none where a number was given

    @classmethod
    def of(cls, settings: Any) -> "Plan":
        number, rule = settings.workers_decided
        values = {name: getattr(settings, name) for name in cls._fields if name != "workers_rule"}
        return cls(**{**values, "workers": number, "workers_rule": rule})

    @classmethod
    def received(cls, values: Mapping[str, Any]) -> "Plan":
        """Of a generation, which may have another version of this package: what is unknown here can't be obeyed."""
        return cls(**{name: values[name] for name in cls._fields if name in values})

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
