"""The page of each check: what ``--explain`` prints and the documentation shows."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from django_asgi_deploy.checks.catalogue import CHECKS, Check

# What every page says, in this order, below its title; the last one is the same on all of them.
PARTS = ("What happens", "When it is reported", "Example", "What to type")


def exists(number: int) -> bool:
    return _file(number).is_file()


def page(number: int) -> str:
    """The page, in reStructuredText."""
    check = CHECKS[number]
    return f"{_file(number).read_text(encoding='utf-8').strip()}\n\n{_silencing(check)}"


def index() -> Iterator[Check]:
    """The checks that have a page."""
    return (check for number, check in CHECKS.items() if exists(number))


def _silencing(check: Check) -> str:
    return (
        "How to silence it\n"
        "-----------------\n"
        "\n"
        f'In the settings: ``SILENCED_SYSTEM_CHECKS = ["{check.id}"]``. At one line: ``# asgi: ignore[{check.number}] '
        f"why``, or ``# asgi: ignore[{check.slug}] why``.\n"
    )


def _file(number: int) -> Traversable:
    return resources.files(__package__) / "pages" / f"{number:03}.rst"
