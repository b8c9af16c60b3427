"""Our checks as Django's: ``manage.py check --tag asgi``, and with ``--deploy`` all of them.

These run with every command of every project, so this module imports the checks when they are made, not before.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core import checks

if TYPE_CHECKING:
    from django_asgi_deploy.checks.finding import Finding

TAG = "asgi"
LEVELS = {"error": checks.ERROR, "warning": checks.WARNING, "info": checks.INFO}


def register() -> None:
    """Registers the two functions below."""
    checks.register(check_serving, TAG)
    checks.register(check_deployment, TAG, deploy=True)


def check_serving(**kwargs: Any) -> list[checks.CheckMessage]:
    """What means that the site can't work at all over ASGI; asgi.py isn't imported for it.

    A warning, because an error would stop migrate, loaddata and createsuperuser, which can work all the same.
    """
    from django_asgi_deploy import conf
    from django_asgi_deploy.checks import djangos
    from django_asgi_deploy.exceptions import ASGIDeployError

    if djangos.are_without_ours():
        return []
    try:
        settings = conf.load()
    except ASGIDeployError:
        return []  # runasgi says it; the other commands don't need it
    from django_asgi_deploy.checks import entry, inspected, modes
    from django_asgi_deploy.checks.findings import Findings
    from django_asgi_deploy.checks.guard import surviving

    findings = Findings()  # of what is quick, and doesn't import asgi.py
    findings.add(surviving([entry.check_plainly, modes.check_plainly], inspected.Inspected(settings)))
    return _messages((finding for finding in findings.shown if finding.forbids_serving), at_most=checks.WARNING)


def check_deployment(**kwargs: Any) -> list[checks.CheckMessage]:
    """Everything that checkasgi finds without ``--probe``."""
    from django_asgi_deploy import conf
    from django_asgi_deploy.checks import djangos, inspected, run
    from django_asgi_deploy.exceptions import ASGIDeployError

    if djangos.are_without_ours():
        return []
    try:
        subject = inspected.load(conf.load())
    except ASGIDeployError as error:
        return [checks.Warning(f"checkasgi can't check: {error}", id="asgi.000")]
    return _messages(run.run(subject).shown)


def _messages(findings: "Iterable[Finding]", at_most: int = checks.ERROR) -> list[checks.CheckMessage]:
    return [
        checks.CheckMessage(
            min(LEVELS[finding.level], at_most),
            f"{finding.place}: {finding.message}" if finding.place else finding.message,
            hint=finding.hint,
            obj=finding.object,
            id=finding.id,
        )
        for finding in findings
    ]
