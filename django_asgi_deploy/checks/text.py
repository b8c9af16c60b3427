"""The report for a reader: what is wrong first, then how things are."""

import itertools
import linecache
from collections.abc import Callable, Iterable, Iterator

from django.core.management.color import Style

from django_asgi_deploy.checks import pages
from django_asgi_deploy.checks.catalogue import CHECKS, LEVELS
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.frames import Place, root
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.predicted import predict
from django_asgi_deploy.checks.probe_text import COLUMNS, hops_in_words, measured, number, requests_and_hops
from django_asgi_deploy.checks.probed import HANDLERS, hops_of
from django_asgi_deploy.checks.report import IN_WORDS, Report
from django_asgi_deploy.checks.tables import Row, plural, section, table, wrapped

MARGIN = "  "


def as_text(report: Report, style: Style, width: int) -> str:
    """The whole report; no line is longer than ``width`` without need."""
    heading = style.MIGRATE_HEADING
    middleware_title, middleware = _middleware(report, width)
    parts = [
        *_findings(report.findings.shown, style, width),
        section(heading("Project"), _project(report, width)),
        section(heading(middleware_title), middleware),
        *(section(heading(title), lines) for title, lines in _probed(report, width)),
        _summary(report, style, width),
    ]
    return "\n\n".join(part for part in parts if part)


# ------------------------------------------------------------------ findings


def _findings(findings: list[Finding], style: Style, width: int) -> Iterator[str]:
    """One block for each cause."""
    for _, group in itertools.groupby(findings, key=lambda finding: (finding.level, finding.number)):
        yield _block([*group], style, width)


def _block(findings: list[Finding], style: Style, width: int) -> str:
    first = findings[0]
    paint: Callable[[str], str] = {"error": style.ERROR, "warning": style.WARNING}.get(first.level, style.NOTICE)
    times = f", {len(findings)} times" if len(findings) > 1 else ""
    lines = [paint(f"{first.level}: {_name(first)}{times}")]
    if first.number is None and first.level == "info":
        return wrapped(f"{lines[0]}: {', '.join(each.id for each in findings)}", width, MARGIN, "")
    if first.number is None:
        return "\n".join([*lines, *(wrapped(f"{each.id}: {each.message}", width, MARGIN) for each in findings)])
    for hint, alike in itertools.groupby(findings, key=lambda finding: finding.hint):
        for finding in alike:
            lines += _finding(finding, style, width)
        lines.append(wrapped(hint, width, MARGIN + "  ", MARGIN + "> "))
    return "\n".join(lines)


def _name(finding: Finding) -> str:
    if finding.number is None:
        return "Django's own checks"
    return f"{CHECKS[finding.number].title} ({finding.id} {finding.slug})"


def _finding(finding: Finding, style: Style, width: int) -> Iterator[str]:
    where = f"{finding.place}: " if finding.place else f"{finding.object}: " if finding.object else ""
    text = finding.message
    yield wrapped(text if text.startswith(where.removesuffix(": ")) else f"{where}{text}", width, MARGIN)
    if finding.place:
        yield from _source(finding.place, style)
    for line in finding.chain:
        yield wrapped(line, width, MARGIN + "      ", MARGIN + "  via ")
    for line in (finding.detail or "").splitlines():
        yield f"{MARGIN}    {line}".rstrip()


def _source(place: Place, style: Style) -> Iterator[str]:
    """The line, and a caret below the place in it."""
    line = linecache.getline(str(root() / place.file), place.line).rstrip()
    code = line.lstrip()
    if not code:
        return
    begin = len(line) - len(code)
    column = begin if place.column is None else max(place.column, begin)
    yield f"{MARGIN}    {code}"
    yield f"{MARGIN}    {' ' * (column - begin)}{style.NOTICE('^')}"


# ------------------------------------------------------------------ how things are


def _project(report: Report, width: int) -> Iterator[str]:
    inspected = report.inspected
    found, settings = inspected.found, inspected.settings_module
    rows = [
        ("application", f"{found.name} ({found.origin})" if found else "runasgi makes one: there is no asgi.py"),
        *([("settings", f"{settings.name} ({settings.origin})")] if settings else []),
        *(("handler" if not i else "Django's path", line) for i, line in enumerate(_handler(report))),
        *([("lifespan", report.probed.lifespan)] if report.probed else []),
        *(("note", note) for note in (*inspected.notes, *report.notes)),
        *(("note", note) for note in (report.probed.notes if report.probed else ())),
    ]
    for name, text in rows:
        yield wrapped(text, width - 2, " " * 15, first=f"{name:<13}  ")


def _handler(report: Report) -> list[str]:
    inspected = report.inspected
    if inspected.pooled is None:
        return [IN_WORDS[inspected.handler]]
    where = ", inside what asgi.py wraps around it" if inspected.is_wrapped else ""
    return [f"pooled, {inspected.threads} threads{where}", *inspected.pooled.fallback_reasons]


def _middleware(report: Report, width: int) -> tuple[str, list[str]]:
    title = "Middleware, outermost first"
    if not report.middleware:
        return title, []
    head = ("", "can be", "classic", "runs", *(COLUMNS.values() if report.probed else ()), "")
    rows = [head, *(_entry(entry, report) for entry in report.middleware)]
    lines = table(rows, right=(4, 5) if report.probed else ())
    if max(map(len, lines)) > width - 2:
        lines = table([row[:-1] for row in rows], right=(4, 5) if report.probed else ())
    if report.probed and (requests := measured(report.probed)):
        title += f"; its hops in {requests[0].answer.method} {requests[0].answer.url}"
    return title, [*lines, *(wrapped(line, width - 2, "") for line in _predicted(report))]


def _predicted(report: Report) -> Iterator[str]:
    """What the order of the middleware costs, and what our handler makes of it."""
    for kind, is_async in (("an asynchronous", True), ("a synchronous", False)):
        hops = predict(report.middleware, is_async)
        yield (
            f"Hops to a thread in a GET of {kind} view, as predicted: {hops.django} with Django's own handler, "
            f"{hops.pooled} with the pooled one."
        )
    others = [entry.name.rpartition(".")[2] for entry in report.middleware if entry.is_used and not entry.is_classic]
    if report.inspected.pooled and others:
        yield f"Made a second time for synchronous views, because not all are classic: see {', '.join(others)}."


def _entry(entry: Entry, report: Report) -> Row:
    package, _, name = entry.path.rpartition(".")
    hops = hops_of(entry, report.probed.requests) if report.probed else {}
    return (
        name,
        entry.mode,
        "yes" if entry.is_classic else "no",
        entry.runs if entry.is_used else "not used",
        *(number(hops[handler]) for handler in HANDLERS if handler in hops),
        package,
    )


def _probed(report: Report, width: int) -> Iterator[tuple[str, Iterable[str]]]:
    if report.probed:
        yield from requests_and_hops(report.probed, width)


def _summary(report: Report, style: Style, width: int) -> str:
    counts = {level: report.findings.count(level) for level in LEVELS}
    told = [plural(counts["error"], "error"), plural(counts["warning"], "warning")]
    told += [f"{counts['info']} for information"] if counts["info"] else []
    told += [f"{report.findings.silenced} silenced"] if report.findings.silenced else []
    text = ", ".join(told)
    if report.probed:
        text += f"; {plural(len(report.probed.requests), 'request')}"
        text += f"; {hops}" if (hops := hops_in_words(report.probed)) else ""
    explained = next((each.number for each in report.findings.shown if each.number is not None), None)
    if explained is not None and pages.exists(explained):
        text += f". More about one: checkasgi --explain {explained}"
    paint = style.ERROR if counts["error"] else style.WARNING if counts["warning"] else style.SUCCESS
    return paint(wrapped(f"{text}.", width, ""))
