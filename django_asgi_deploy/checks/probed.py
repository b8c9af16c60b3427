"""What driving the application brought; it goes from one process to another."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.hops import Hop, concerns
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.probe import Answer

HANDLERS = ("django", "pooled")


@dataclass
class Request:
    """A request that was made."""

    purpose: str  # "url", "missing", "leave", "static" or "websocket"
    answer: Answer
    outcome: str  # in words
    view: str | None = None
    view_is_async: bool | None = None
    hops: dict[str, list[Hop] | None] = field(default_factory=dict)  # by handler; None: not measured
    notes: list[str] = field(default_factory=list)


@dataclass
class Probed:
    """Everything that was seen."""

    host: str = ""  # with its scheme
    lifespan: str = ""
    findings: list[Finding] = field(default_factory=list)
    middleware: list[Entry] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    serves_static: bool = False  # a static file was asked for, and came
    left_behind: bool = False  # something that hangs would keep the process from ending


def count_hops(hops: list[Hop] | None) -> int | None:
    """The hops into a thread; each way back belongs to one."""
    return None if hops is None else sum(hop.to == "thread" for hop in hops)


def hops_of(entry: Entry, requests: Iterable[Request]) -> dict[str, int | None]:
    """By handler, in how many hops of the first measured request a middleware has a part."""
    measured = next((each.hops for each in requests if each.hops), {})
    return {
        handler: None if (hops := measured.get(handler)) is None else sum(concerns(hop, entry.name) for hop in hops)
        for handler in HANDLERS
    }
