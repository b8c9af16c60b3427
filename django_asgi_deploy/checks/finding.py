"""What a check has to say."""

from dataclasses import dataclass

from django_asgi_deploy.checks.catalogue import CHECKS, Level
from django_asgi_deploy.checks.frames import Place


@dataclass(frozen=True)
class Finding:
    """One cause: ``message`` says what happens, ``hint`` what to type."""

    id: str  # fixed for ever, for SILENCED_SYSTEM_CHECKS
    slug: str
    level: Level
    message: str
    hint: str
    object: str | None = None  # what it was found on: "GET /shop/", "mysite.asgi:application", "DATABASES['default']"
    place: Place | None = None
    chain: tuple[str, ...] = ()  # from the user's line to what it comes to: "shop/views.py:12, in stock", ...
    detail: str | None = None  # more lines, such as a traceback with the user's own frames

    @property
    def number(self) -> int | None:
        """Its number in the catalogue; None for what Django itself found."""
        return int(self.id[5:]) if self.id.startswith("asgi.") else None

    @property
    def in_a_line(self) -> str:
        """With its id and place, and without the hint."""
        where = f"{self.place}: " if self.place else ""
        return f"{self.id} {self.slug}: {where}{self.message}"

    @property
    def forbids_serving(self) -> bool:
        """Whether the site can't work at all."""
        return self.level == "error" and self.number is not None and not CHECKS[self.number].deploy


def found(
    number: int,
    message: str,
    hint: str,
    *,
    level: Level | None = None,
    object: str | None = None,  # noqa: A002, the name that JSON has
    place: Place | None = None,
    chain: tuple[str, ...] = (),
    detail: str | None = None,
) -> Finding:
    """A finding of the check with this number, at the check's usual level unless another is given."""
    check = CHECKS[number]
    return Finding(check.id, check.slug, level or check.level, message, hint, object, place, chain, detail)
