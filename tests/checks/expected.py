"""What the files of the benchmark say themselves: ``# expect: 101 error`` at a line, and nothing anywhere else."""

import re
from collections.abc import Iterable
from pathlib import Path

from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.frames import root

EXPECTED = re.compile(r"# expect: (.+)")


def expected_in(*files: Path) -> list[str]:
    """``["shop/settings.py:12 101 error", ...]``"""
    found = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := EXPECTED.search(line):
                found += [f"{file.name}:{number} {each.strip()}" for each in match[1].split(",")]
    return sorted(found)


def as_expected(findings: Iterable[Finding]) -> list[str]:
    """Findings in the same form."""
    return sorted(
        f"{_file(finding)}:{finding.place and finding.place.line} {finding.number:03} {finding.level}"
        for finding in findings
    )


def _file(finding: Finding) -> str:
    return (root() / finding.place.file).name if finding.place else "nowhere"
