"""What Django's own checks find, its deployment checks included."""

import contextvars
from collections.abc import Iterator

from django.core import checks

from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.finding import Finding

# Meanwhile, the checks that we registered with Django leave themselves out: checkasgi makes them itself.
running: contextvars.ContextVar[bool] = contextvars.ContextVar("checkasgi.running", default=False)


def check() -> Iterator[Finding]:
    """One finding for each message that isn't silenced."""
    token = running.set(True)
    try:
        messages = checks.run_checks(include_deployment_checks=True)
    finally:
        running.reset(token)
    for message in messages:
        if not message.is_silenced():
            yield _finding(message)


def _finding(message: checks.CheckMessage) -> Finding:
    level: Level = (
        "error" if message.level >= checks.ERROR else "warning" if message.level >= checks.WARNING else "info"
    )
    what = None if message.obj is None else getattr(getattr(message.obj, "_meta", None), "label", str(message.obj))
    text = " ".join(str(message.msg).split())
    return Finding(message.id or "", "django", level, text, " ".join(str(message.hint or "").split()), object=what)
