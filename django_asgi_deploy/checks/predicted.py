"""How often a request changes threads, as the order of the middleware says it: nothing is run."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.handlers.chains import is_classic
from django_asgi_deploy.handlers.private import iscoroutinefunction
from django_asgi_deploy.handlers.rules import THREAD, may, rule_for

HOOKS = ("process_request", "process_response")  # that MiddlewareMixin calls
ENDS = 2  # of Django's handler: the signal request_started, and response.close() with request_finished


@dataclass(frozen=True)
class Prediction:
    """Hops into a thread for one GET that changes no session, by handler."""

    django: int
    pooled: int


def predict(entries: Iterable[Entry], view_is_async: bool) -> Prediction:
    """``entries``: the used ones of a Replay, outermost first."""
    chain = [entry for entry in entries if entry.is_used]
    view = 0 if view_is_async else 1
    pooled = _pooled(chain) if view_is_async else 1
    if not view_is_async and any(not entry.can_sync for entry in chain):
        pooled = _pooled(chain) + view  # there is no synchronous chain
    return Prediction(ENDS + _runs(chain) + sum(map(own_hops, chain)) + view, pooled)


def own_hops(entry: Entry) -> int:
    """With Django's handler, those that one entry takes by itself; a run of sync ones shares one more."""
    hops = int(_has_sync(entry, "process_view"))
    if entry.runs == "async" and isinstance(entry.made, MiddlewareMixin) and _has_mixins_call(entry.made):
        hops += sum(_has_sync(entry, name) for name in ("process_request", "process_response"))
    return hops


def _has_mixins_call(made: Any) -> bool:
    return type(made).__call__ is MiddlewareMixin.__call__ and type(made).__acall__ is MiddlewareMixin.__acall__


def _has_sync(entry: Entry, name: str) -> bool:
    hook = getattr(entry.made, name, None)
    return hook is not None and not iscoroutinefunction(hook)


def runs(chain: list[Entry]) -> list[list[Entry]]:
    """The neighbours that run in sync form together, in one thread."""
    found: list[list[Entry]] = []
    before = "async"
    for entry in chain:
        if entry.runs == "sync":
            if before != "sync":
                found.append([])
            found[-1].append(entry)
        before = entry.runs
    return found


def _runs(chain: list[Entry]) -> int:
    return len(runs(chain))


def _pooled(chain: list[Entry]) -> int:
    """Around an asynchronous view: neighbours share a hop, and what touches no I/O needs none."""
    hops = _runs(chain)
    group: list[Entry] = []
    for entry in [*chain, None]:
        if entry is not None and entry.runs == "async" and is_classic(entry.made):
            group.append(entry)
        else:
            hops += sum(any(_needs_thread(each, name) for each in group) for name in HOOKS)
            group = []
    needs = [_needs_thread(entry, "process_view") for entry in chain if hasattr(entry.made, "process_view")]
    return hops + sum(need and not (i and needs[i - 1]) for i, need in enumerate(needs))


def _needs_thread(entry: Entry, name: str) -> bool:
    if not _has_sync(entry, name):
        return False
    rule = rule_for(entry.made)
    # What the rule asks about the request is taken to be so; what it asks about the settings is known.
    return rule is THREAD or not (name == "process_view" or may(rule.request, entry.made, None))
