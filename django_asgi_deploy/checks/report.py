"""The outcome of all checks, and its form as JSON."""

import json
from dataclasses import dataclass, field
from typing import Any

from django_asgi_deploy.checks.finding import LEVELS, Finding
from django_asgi_deploy.checks.hops import Hop, concerns
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.probe import Answer
from django_asgi_deploy.project import Project

VERSION = 1
HANDLERS = ("django", "pooled")


@dataclass
class Request:
    """A request that was made."""

    purpose: str  # "url", "missing" or "leave"
    answer: Answer
    outcome: str  # in words
    view: str | None = None
    view_is_async: bool | None = None
    hops: dict[str, list[Hop] | None] = field(default_factory=dict)  # by handler; None: not measured
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """Everything that is known at the end."""

    project: Project
    host: str  # with its scheme
    findings: list[Finding] = field(default_factory=list)
    lifespan: str = ""
    middleware: list[Entry] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_behind: bool = False  # something that hangs would keep the process from ending

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)

    @property
    def sorted_findings(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))


def count_hops(hops: list[Hop] | None) -> int | None:
    """The hops into a thread; each way back belongs to one."""
    return None if hops is None else sum(hop.to == "thread" for hop in hops)


# ------------------------------------------------------------------ JSON


def as_json(report: Report) -> str:
    """The structure that docs/checkasgi.rst documents."""
    return json.dumps(
        {
            "version": VERSION,
            "project": _project(report),
            "findings": [_finding(each) for each in report.sorted_findings],
            "middleware": [_entry(each, report) for each in report.middleware],
            "requests": [_request(each) for each in report.requests],
            "notes": [*report.project.notes, *report.notes],
            "summary": {f"{level}s" if level != "info" else level: report.count(level) for level in LEVELS}
            | {"requests": len(report.requests)},
        },
        indent=2,
    )


def _project(report: Report) -> dict[str, Any]:
    project = report.project
    return {
        "application": {"name": project.found.name, "origin": project.found.origin},
        "settings": {"name": project.settings_module.name, "origin": project.settings_module.origin},
        "handler": project.handler_in_words()[0],
        "takes_djangos_path": project.pooled.fallback_reasons if project.pooled else [],
        "lifespan": report.lifespan,
        "host": report.host,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "slug": finding.slug,
        "level": finding.level,
        "message": finding.message,
        "hint": finding.hint,
        "object": finding.object,
        "file": finding.place and finding.place.file,
        "line": finding.place and finding.place.line,
        "detail": finding.detail,
    }


def _entry(entry: Entry, report: Report) -> dict[str, Any]:
    return {
        "path": entry.path,
        "mode": entry.mode,
        "classic": entry.is_classic,
        "used": entry.is_used,
        "runs": entry.runs,
        "hops": hops_of(entry, report),
    }


def hops_of(entry: Entry, report: Report) -> dict[str, int | None]:
    """By handler, in how many hops of the first measured request a middleware has a part."""
    measured = next((each.hops for each in report.requests if each.hops), {})
    return {
        handler: None if (hops := measured.get(handler)) is None else sum(concerns(hop, entry.name) for hop in hops)
        for handler in HANDLERS
    }


def _request(request: Request) -> dict[str, Any]:
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
