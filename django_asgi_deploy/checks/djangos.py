"""What Django's own checks find, its deployment checks included."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.conf import settings as django_settings
from django.core import checks

from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.finding import Finding, found

OURS_INSTEAD = ("async.E001",)  # found as 108, with the line
_without_ours: contextvars.ContextVar[bool] = contextvars.ContextVar("without_ours", default=False)


@contextmanager
def without_ours() -> Iterator[None]:
    """Meanwhile, the checks that we registered with Django leave themselves out: whoever asks makes them itself."""
    token = _without_ours.set(True)
    try:
        yield
    finally:
        _without_ours.reset(token)


def are_without_ours() -> bool:
    """Whether ``without_ours`` is in force."""
    return _without_ours.get()


def check() -> Iterator[Finding]:
    """One finding for each message that isn't silenced.

    What only the deployment checks say is for information while DEBUG is on: nobody deploys these settings.
    """
    try:
        with without_ours():
            messages = checks.run_checks(include_deployment_checks=True)
            serious = checks.run_checks() if django_settings.DEBUG else messages
    except Exception as error:  # such as a cache whose package isn't installed
        text = f"Django's own checks can't be made: {type(error).__name__}: {error}"
        yield found(0, text, "manage.py check shows where. Everything else was checked.", object="manage.py check")
        return
    for message in messages:
        if not message.is_silenced() and message.id not in OURS_INSTEAD:
            finding = _finding(message)
            yield finding if message in serious else replace(finding, level="info")


def _finding(message: checks.CheckMessage) -> Finding:
    level: Level = (
        "error" if message.level >= checks.ERROR else "warning" if message.level >= checks.WARNING else "info"
    )
    what = None if message.obj is None else getattr(getattr(message.obj, "_meta", None), "label", str(message.obj))
    text = " ".join(str(message.msg).split())
    return Finding(message.id or "", "django", level, text, " ".join(str(message.hint or "").split()), object=what)
