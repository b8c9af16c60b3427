"""The outcome of all checks, and its form as JSON and as annotations for GitHub."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django_asgi_deploy.checks.catalogue import LEVELS
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.findings import Findings
from django_asgi_deploy.checks.hops import Hop
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.predicted import own_hops, predict
from django_asgi_deploy.checks.probed import HANDLERS, Probed, Request, hops_of

VERSION = 1
IN_WORDS = {
    "pooled": "pooled",
    "django": "Django's own, a new thread for each request",
    "foreign": "the application's own",
}


@dataclass
class Report:
    """Everything that is known at the end."""

    inspected: Inspected
    findings: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)
    probed: Probed | None = None

    @property
    def middleware(self) -> list[Entry]:
        return self.inspected.replay.entries


# ------------------------------------------------------------------ JSON


def as_json(report: Report) -> str:
    """The structure that docs/checkasgi.rst documents."""
    structure = {
        "version": VERSION,
        "project": _project(report),
        "findings": [finding_as_json(each) for each in report.findings.shown],
        "summary": _summary(report),
    }
    if report.probed:
        structure["probe"] = _probe(report.probed)
    return json.dumps(structure, indent=2)


def _project(report: Report) -> dict[str, Any]:
    inspected = report.inspected
    pooled = inspected.pooled
    return {
        "root": str(inspected.root),
        "application": _origin(inspected.found),
        "settings": _origin(inspected.settings_module),
        "handler": inspected.handler,
        "workers": inspected.workers,
        "threads": inspected.threads,
        "takes_djangos_path": pooled.fallback_reasons if pooled else [],
        "middleware": [_entry(each, report) for each in report.middleware],
        "predicted_hops": {
            kind: asdict(predict(report.middleware, view_is_async=kind == "async_view"))
            for kind in ("async_view", "sync_view")
        },
        "notes": [*inspected.notes, *report.notes],
    }


def _origin(found: Any) -> dict[str, str] | None:
    return found and {"name": found.name, "origin": found.origin}


def finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "slug": finding.slug,
        "level": finding.level,
        "message": finding.message,
        "hint": finding.hint,
        "file": finding.place and finding.place.file,
        "line": finding.place and finding.place.line,
        "object": finding.object,
        "chain": list(finding.chain),
    }


def _summary(report: Report) -> dict[str, int]:
    counts = {f"{level}s" if level != "info" else level: report.findings.count(level) for level in LEVELS}
    return {**counts, "silenced": report.findings.silenced}


def _entry(entry: Entry, report: Report) -> dict[str, Any]:
    return {
        "path": entry.path,
        "mode": entry.mode,
        "classic": entry.is_classic,
        "used": entry.is_used,
        "runs": entry.runs,
        "own_hops": own_hops(entry),
        "measured_hops": hops_of(entry, report.probed.requests) if report.probed else dict.fromkeys(HANDLERS),
    }


def _probe(probed: Probed) -> dict[str, Any]:
    return {
        "host": probed.host,
        "lifespan": probed.lifespan,
        "requests": [request_as_json(each) for each in probed.requests],
        "notes": probed.notes,
    }


def request_as_json(request: Request) -> dict[str, Any]:
    answer = request.answer
    return {
        "url": answer.url,
        "method": answer.method,
        "purpose": request.purpose,
        "status": answer.status,
        "outcome": request.outcome,
        "location": answer.headers.get("location"),
        "seconds": round(answer.seconds, 4),
        "view": request.view,
        "view_is_async": request.view_is_async,
        "hops": {
            handler: None if hops is None else [_hop(hop) for hop in hops] for handler, hops in request.hops.items()
        },
        "notes": request.notes,
    }


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "to": hop.to,
        "cause": hop.cause,
        "names": list(hop.names),
        "file": hop.place and hop.place.file,
        "line": hop.place and hop.place.line,
    }


# ------------------------------------------------------------------ GitHub


def as_github(report: Report) -> str:
    """Workflow commands, one line each: GitHub shows them at the lines of a pull request."""
    return "\n".join(_annotations(report))


def _annotations(report: Report) -> Iterator[str]:
    names = {"error": "error", "warning": "warning", "info": "notice"}
    for finding in report.findings.shown:
        properties = {"title": f"{finding.id} {finding.slug}".strip()}
        if finding.place:
            properties |= {"file": finding.place.file, "line": str(finding.place.line)}
        given = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
        yield f"::{names[finding.level]} {given}::{_escaped(f'{finding.message} {finding.hint}')}"


def _escaped(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
