"""Comments that silence a finding where it is: ``# asgi: ignore[402] reason``; numbers or slugs, with commas."""

import linecache
import re
from collections.abc import Iterator

from django_asgi_deploy.checks import catalogue
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.frames import root

COMMENT = re.compile(r"#\s*asgi:\s*ignore\[([^\]]*)\]")


def ignored_in(line: str) -> list[str]:
    """What the comment in a line of source names: numbers and slugs; empty without one."""
    match = COMMENT.search(line)
    return [name.strip() for name in match[1].split(",") if name.strip()] if match else []


def is_ignored(finding: Finding) -> bool:
    """Whether the line of the finding, or a comment of its own above that line, names it."""
    return any(_names(name, finding) for line in _lines(finding) for name in ignored_in(line))


def _names(name: str, finding: Finding) -> bool:
    check = catalogue.find(name)
    return check is not None and check.id == finding.id


def _lines(finding: Finding) -> Iterator[str]:
    if finding.place is None:
        return
    file, line = str(root() / finding.place.file), finding.place.line
    yield linecache.getline(file, line)
    above = line - 1
    while (text := linecache.getline(file, above)).lstrip().startswith("#"):
        yield text
        above -= 1
