"""A check that fails inside says so, and the rest goes on."""

import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from django_asgi_deploy.checks.finding import Finding, found

T = TypeVar("T")


def surviving(checks: Iterable[Callable[[T], Iterable[Finding]]], subject: T) -> Iterator[Finding]:
    """What the checks find on the subject; one that raises is itself a finding."""
    for check in checks:
        try:
            yield from check(subject)
        except Exception as error:
            function = check.func if isinstance(check, partial) else check
            yield failure(f"{function.__module__.rpartition('.')[2]}.{function.__name__}", error)


def failure(what: str, error: Exception) -> Finding:
    """That the check called ``what`` couldn't be made."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return found(
        0,
        f"The check {what} failed: {type(error).__name__}: {error}",
        f"What it looks for wasn't looked for; the rest was. Please report this, with {frame.filename}:{frame.lineno}.",
        object=what,
    )
