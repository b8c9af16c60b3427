"""What all checks together have found, and what is left of it after silencing."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.conf import settings as django_settings

from django_asgi_deploy.checks import ignores
from django_asgi_deploy.checks.catalogue import LEVELS
from django_asgi_deploy.checks.finding import Finding


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
