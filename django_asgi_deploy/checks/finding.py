"""What a check has to say."""

from dataclasses import dataclass
from typing import Literal

from django_asgi_deploy.checks.frames import Place

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")  # worst first


@dataclass(frozen=True)
class Finding:
    """One cause: ``message`` says what happens, ``hint`` what to do about it."""

    id: str  # fixed for ever, for SILENCED_SYSTEM_CHECKS
    slug: str
    level: Level
    message: str
    hint: str
    object: str | None = None  # what it was found on: "GET /shop/", "mysite.asgi:application"
    place: Place | None = None
    detail: str | None = None  # more lines, such as a traceback with the user's own frames
