"""The report for a reader: what is wrong first, then how things are."""

import textwrap
from collections.abc import Callable, Iterable, Iterator

from django.core.management.color import Style

from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.hops import Hop
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.report import HANDLERS, Report, Request, count_hops, hops_of

Row = tuple[str, ...]

COLUMNS = {"django": "Django's", "pooled": "pooled"}
PURPOSES = {"missing": "no such page", "leave": "client leaves"}
STREAM = {"iter": "the stream begins", "next": "a part of the stream", "list": "the stream, collected whole"}
DASH = "-"


def as_text(report: Report, style: Style, width: int) -> str:
    """The whole report; no line is longer than ``width`` without need."""
    measured = [request for request in report.requests if request.hops]
    parts = [
        _findings(report, style, width),
        _section("Project", _project(report, width), style),
        _section(f"Requests, as {report.host}", _requests(report, width), style),
        _section(*_middleware(report, width), style),
        *(_section(_title(request), _hops(request, report.middleware, width), style) for request in measured),
        _summary(report, measured, style, width),
    ]
    return "\n\n".join(part for part in parts if part)


def _section(title: str, lines: Iterable[str], style: Style) -> str:
    lines = [f"  {line}".rstrip() for text in lines for line in text.splitlines()]
    return "\n".join([style.MIGRATE_HEADING(title), *lines]) if lines else ""


# ------------------------------------------------------------------ findings


def _findings(report: Report, style: Style, width: int) -> str:
    return "\n\n".join(_finding(each, style, width) for each in report.sorted_findings)


def _finding(finding: Finding, style: Style, width: int) -> str:
    paint: Callable[[str], str] = {"error": style.ERROR, "warning": style.WARNING}.get(finding.level, style.NOTICE)
    label = f"{finding.level:<7}"
    margin = " " * 9
    message = _wrapped(f"{finding.message} [{finding.id} {finding.slug}]", width, margin)
    lines = [paint(label) + message[len(label) :]]
    lines.append(_wrapped(finding.hint, width, margin))
    lines += [f"{margin}  {line}".rstrip() for line in (finding.detail or "").splitlines()]
    return "\n".join(lines)


def _wrapped(text: str, width: int, margin: str, first: str | None = None) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=margin if first is None else first,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


# ------------------------------------------------------------------ how things are


def _project(report: Report, width: int) -> Iterator[str]:
    project = report.project
    handler, *fallback_reasons = project.handler_in_words()
    rows = [
        ("application", f"{project.found.name} ({project.found.origin})"),
        ("settings", f"{project.settings_module.name} ({project.settings_module.origin})"),
        ("handler", handler),
        *(("Django's path", reason) for reason in fallback_reasons),
        ("lifespan", report.lifespan),
        *(("note", note) for note in (*project.notes, *report.notes)),
    ]
    for name, text in rows:
        yield _wrapped(text, width - 2, " " * 15, first=f"{name:<13}  ")


def _requests(report: Report, width: int) -> Iterator[str]:
    rows: list[Row] = []
    for request in report.requests:
        answer = request.answer
        status = str(answer.status or DASH)
        time = f"{answer.seconds * 1000:.0f} ms"
        what = PURPOSES.get(request.purpose)
        rows.append(
            (answer.method, answer.url, status, time, f"{what}: {request.outcome}" if what else request.outcome)
        )
    for line in _table(rows, right=(3,)):
        yield _shortened(line, width - 2)
    if any(request.answer.method == "POST" for request in report.requests):
        yield "POST goes only to a path that no page has: a check must not write."


def _middleware(report: Report, width: int) -> tuple[str, list[str]]:
    title = "Middleware, outermost first"
    if not report.middleware:
        return title, []
    head = ("", "can be", "classic", "runs", *COLUMNS.values(), "")
    rows = [head, *(_entry(entry, report) for entry in report.middleware)]
    lines = _table(rows, right=(4, 5))
    if max(map(len, lines)) > width - 2:
        lines = _table([row[:-1] for row in rows], right=(4, 5))
    measured = next((request for request in report.requests if request.hops), None)
    if measured:
        title += f"; its hops in {measured.answer.method} {measured.answer.url}"
    return title, lines


def _entry(entry: Entry, report: Report) -> Row:
    package, _, name = entry.path.rpartition(".")
    hops = hops_of(entry, report)
    return (
        name,
        entry.mode,
        "yes" if entry.is_classic else "no",
        entry.runs if entry.is_used else "not used",
        *(_number(hops[handler]) for handler in HANDLERS),
        package,
    )


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
    totals = tuple(_number(count_hops(request.hops.get(handler))) for handler in HANDLERS)
    rows: list[Row] = [("", *COLUMNS.values())]
    for label, counts in labels.items():
        first, *rest = _wrapped(label, width - 24, "  ", first="").splitlines()
        rows.append((first, *(_number(_count(request, handler, counts)) for handler in HANDLERS)))
        rows += [(line, "", "") for line in rest]
    yield from _table([*rows, ("hops to a thread", *totals)], right=(1, 2))
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


def _number(count: int | None) -> str:
    return "?" if count is None else str(count) if count else DASH


def _summary(report: Report, measured: list[Request], style: Style, width: int) -> str:
    errors, warnings = report.count("error"), report.count("warning")
    requests = len(report.requests)
    counted = ", ".join([_plural(errors, "error"), _plural(warnings, "warning"), _plural(requests, "request")])
    hops = ""
    for request in measured[:1]:
        django, pooled = (count_hops(request.hops.get(handler)) for handler in HANDLERS)
        if django is not None and pooled is not None:
            where = f"{request.answer.method} {request.answer.url}"
            hops = f"; {where}: {_plural(django, 'hop')} with Django's own handler, {pooled} with the pooled one"
    paint = style.ERROR if errors else style.WARNING if warnings else style.SUCCESS
    return paint(_wrapped(f"{counted}{hops}.", width, ""))


# ------------------------------------------------------------------ tables


def _plural(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _table(rows: list[Row], right: tuple[int, ...] = ()) -> list[str]:
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width, 20) - 3]}..."
