"""What the probe saw, for a reader: the requests, and the thread hops of each."""

from collections.abc import Iterator

from django_asgi_deploy.checks.hops import Hop
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.probed import HANDLERS, Probed, Request, count_hops
from django_asgi_deploy.checks.tables import Row, plural, shortened, table, wrapped

COLUMNS = {"django": "Django's", "pooled": "pooled"}
PURPOSES = {"missing": "no such page", "leave": "client leaves", "static": "a static file"}
STREAM = {"iter": "the stream begins", "next": "a part of the stream", "list": "the stream, collected whole"}
DASH = "-"


def requests_and_hops(probed: Probed, width: int) -> Iterator[tuple[str, list[str]]]:
    """Titles and lines of the sections."""
    yield f"Requests, as {probed.host}", list(_requests(probed, width))
    for request in measured(probed):
        yield _title(request), list(_hops(request, probed.middleware, width))


def measured(probed: Probed) -> list[Request]:
    """The requests whose hops were counted."""
    return [request for request in probed.requests if request.hops]


def hops_in_words(probed: Probed) -> str:
    """Of the first measured request; empty if there is none."""
    for request in measured(probed)[:1]:
        django, pooled = (count_hops(request.hops.get(handler)) for handler in HANDLERS)
        if django is not None and pooled is not None:
            where = f"{request.answer.method} {request.answer.url}"
            return f"{where}: {plural(django, 'hop')} with Django's own handler, {pooled} with the pooled one"
    return ""


def _requests(probed: Probed, width: int) -> Iterator[str]:
    rows: list[Row] = []
    for request in probed.requests:
        answer = request.answer
        status = str(answer.status or DASH)
        time = f"{answer.seconds * 1000:.0f} ms"
        what = PURPOSES.get(request.purpose)
        rows.append(
            (answer.method, answer.url, status, time, f"{what}: {request.outcome}" if what else request.outcome)
        )
    for line in table(rows, right=(3,)):
        yield shortened(line, width - 2)
    if any(request.answer.method == "POST" for request in probed.requests):
        yield "POST goes only to a path that no page has: a check must not write."


def _title(request: Request) -> str:
    kind = {True: "asynchronous", False: "synchronous", None: ""}[request.view_is_async]
    view = f", {kind} view {request.view}" if request.view else ""
    return f"Thread hops of {request.answer.method} {request.answer.url}{view}"


def _hops(request: Request, entries: list[Entry], width: int) -> Iterator[str]:
    """One line for each cause, the two handlers beside each other."""
    labels: dict[str, dict[str, int]] = {}
    for handler in HANDLERS:
        for hop in request.hops.get(handler) or ():
            counts = labels.setdefault(_in_sync_form(hop, entries) or _label(hop, request), {})
            counts[handler] = counts.get(handler, 0) + 1
    totals = tuple(number(count_hops(request.hops.get(handler))) for handler in HANDLERS)
    rows: list[Row] = [("", *COLUMNS.values())]
    for label, counts in labels.items():
        first, *rest = wrapped(label, width - 24, "  ", first="").splitlines()
        rows.append((first, *(number(_count(request, handler, counts)) for handler in HANDLERS)))
        rows += [(line, "", "") for line in rest]
    yield from table([*rows, ("hops to a thread", *totals)], right=(1, 2))
    yield from request.notes


def _in_sync_form(hop: Hop, entries: list[Entry]) -> str | None:
    """If the hop is into middleware that runs in sync form: which, and whose fault it is."""
    inside = [entry for entry in entries if entry.name in hop.names]
    if not inside or hop.to == "loop":
        return None
    names = [_short(entry.name) for entry in inside]
    span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    culprits = [_short(entry.name) for entry in inside if entry.mode == "sync only"]
    return f"{span} in sync form" + (f" because of {', '.join(culprits)}" if culprits != names else "")


def _count(request: Request, handler: str, counts: dict[str, int]) -> int | None:
    return None if request.hops.get(handler) is None else counts.get(handler, 0)


def _label(hop: Hop, request: Request) -> str:
    names = [_short(name) for name in hop.names]
    if hop.to == "loop":
        return f"(back to the event loop: {names[0]}{_at(hop)})"
    if hop.cause == "request":
        return f"the whole request: middleware, {request.view or 'no view'}, end"
    if hop.cause == "view":
        return f"the view {hop.names[0]}"
    if hop.cause == "signal":
        return _signal(hop.names[0], hop.names[1:])
    if hop.cause == "close":
        return f"{names[0]}, signal request_finished"
    if hop.cause == "error":
        return f"an error page ({names[0].rpartition('.')[2]})"
    if hop.cause == "log":
        return f"a line in the log ({names[0].rpartition('.')[2]})"
    if hop.cause == "stream":
        return STREAM[names[0].rpartition(".")[2]]
    if hop.cause == "middleware" and len(names) > 1:
        hooks = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
        return f"{'/'.join(hooks)} of {', '.join(name.partition('.')[0] for name in names)}"
    return names[0] + _at(hop)


def _signal(name: str, receivers: tuple[str, ...]) -> str:
    djangos = sum(receiver.startswith("django.") for receiver in receivers)
    others = [receiver for receiver in receivers if not receiver.startswith("django.")]
    told = [f"{djangos} of Django's receivers"] if djangos else []
    return f"signal {name.rpartition('.')[2]}: {', '.join(told + others)}"


def _at(hop: Hop) -> str:
    return f", {hop.place.file}:{hop.place.line}" if hop.place else ""


def _short(name: str) -> str:
    """``SessionMiddleware.process_request``: without the modules, as far as these look like modules."""
    parts = name.split(".")
    first = next((i for i, part in enumerate(parts) if part[:1].isupper()), max(0, len(parts) - 2))
    return ".".join(parts[first:])


def number(count: int | None) -> str:
    return "?" if count is None else str(count) if count else DASH
