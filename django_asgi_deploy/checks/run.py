"""All families of checks, in one order, and what is left of their findings after silencing.

A family is a module with ``check(inspected)``, which yields findings; one that makes several checks lets each fail by
itself, with ``guard.surviving``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from django.conf import settings as django_settings

from django_asgi_deploy.checks import (
    called,
    channels,
    classes,
    conditions,
    costs,
    definitions,
    deployment,
    dispatch,
    entry,
    functions,
    ignores,
    middleware_code,
    modes,
    overrides,
    rest_framework,
    scope,
    server,
    settings_databases,
    settings_http,
    settings_logging,
    settings_services,
    source,
    sources,
    twins,
    views,
)
from django_asgi_deploy.checks.catalogue import LEVELS
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected

Family = Callable[[Inspected], Iterable[Finding]]

# Those that look at the loaded project. Nothing is driven: no request, no network, no query, no write.
FAMILIES: tuple[Family, ...] = (
    entry.check,
    settings_databases.check,
    settings_services.check,
    settings_logging.check,
    settings_http.check,
    modes.check,
    costs.check,
    middleware_code.check,
    views.check,
    classes.check,
    dispatch.check,
    overrides.check,
    rest_framework.check,
    twins.check,
    called.check,
    deployment.check,
    server.check,
    channels.check,
    source.check,
)
# Those that can tell why the URLconf can't be imported.
WITHOUT_URLS: tuple[Family, ...] = (classes.mixed,)
# Those of them that Django's own ``check`` runs with every command: quick, without importing asgi.py; and of their
# findings only the ones that mean that the site can't work at all.
PLAIN_FAMILIES: tuple[Family, ...] = (entry.check_plainly, modes.check_plainly)
# What starts processes of its own.
SEPARATE_FAMILIES: tuple[Family, ...] = (entry.check_import,)


@dataclass
class Findings:
    """What was found, worst first, and how much more was silenced."""

    shown: list[Finding] = field(default_factory=list)
    silenced: int = 0

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding in self.shown:
                continue
            if finding.id in django_settings.SILENCED_SYSTEM_CHECKS or ignores.is_ignored(finding):
                self.silenced += 1
            else:
                self.shown.append(finding)
        self.shown = [each for each in self.shown if not _is_told_by_another(each, self.shown)]
        self.shown.sort(key=_rank)

    def confirm(self, probed: Iterable[Finding]) -> None:
        """Add what driving the application has shown; what was known of the same line is one with it."""
        known = {finding.place[:2]: finding for finding in self.shown if finding.place and finding.number}
        for finding in probed:
            same = known.get(finding.place[:2]) if finding.place else None
            if same in self.shown and same and not same.id.startswith("asgi.7"):
                seen = replace(same, chain=(*same.chain, f"seen by the probe: {finding.message}"))
                self.shown[self.shown.index(same)] = seen
            else:
                self.add([finding])

    def drop(self, number: int) -> None:
        """Take out what has turned out to be wrong."""
        self.shown = [finding for finding in self.shown if finding.number != number]

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.shown)


# What one check says of a line, another says better.
SAME_CAUSE = {410: 210}


def _is_told_by_another(finding: Finding, findings: Iterable[Finding]) -> bool:
    better = SAME_CAUSE.get(finding.number or 0)
    place = finding.place and finding.place[:2]
    return better is not None and any(
        each.number == better and each.place is not None and each.place[:2] == place for each in findings
    )


def _rank(finding: Finding) -> tuple[object, ...]:
    place = finding.place or ("", 0)
    return (LEVELS.index(finding.level), finding.id, place[0], place[1], finding.object or "")


def run(inspected: Inspected, families: Iterable[Family] = (*SEPARATE_FAMILIES, *FAMILIES)) -> Findings:
    """What the families find."""
    findings = Findings()
    findings.add(surviving(families, inspected))
    # The trees of all sources are large, and a server that has checked its project at the start doesn't need them.
    definitions.forget()
    scope.forget()
    conditions.forget()
    functions.source_of.cache_clear()
    sources.text_of.cache_clear()
    return findings
