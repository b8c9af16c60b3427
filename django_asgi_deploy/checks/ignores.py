"""Comments that silence a finding where it is: ``# asgi: ignore[402] reason``; numbers or slugs, with commas."""

import linecache
import re
from collections.abc import Iterator

from django_asgi_deploy.checks import catalogue
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.frames import Place, root

COMMENT = re.compile(r"#\s*asgi:\s*ignore\[([^\]]*)\]")


def ignored_in(line: str) -> list[str]:
    """What the comment in a line of source names: numbers and slugs; empty without one."""
    match = COMMENT.search(line)
    return [name.strip() for name in match[1].split(",") if name.strip()] if match else []


def is_ignored(finding: Finding) -> bool:
    """Whether the line of the finding, or a comment of its own above that line, names it."""
    return finding.place is not None and finding.number is not None and is_ignored_at(finding.number, finding.place)


def is_ignored_at(number: int, place: Place) -> bool:
    """Whether a comment at this place names this check."""
    return any(_names(name, number) for line in _lines(place) for name in ignored_in(line))


def _names(name: str, number: int) -> bool:
    check = catalogue.find(name)
    return check is not None and check.number == number


def _lines(place: Place) -> Iterator[str]:
    file, line = str(root() / place.file), place.line
    yield linecache.getline(file, line)
    above = line - 1
    while (text := linecache.getline(file, above)).lstrip().startswith("#"):
        yield text
        above -= 1
