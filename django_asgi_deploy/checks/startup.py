"""What ``runasgi`` does with the checks: it refuses to start on what can't work, and tells the rest, a line each.

The checks are imported where they are made: most are made when the workers serve already, by a process that then ends.
"""

from django.conf import settings as django_settings

from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ProjectError
from django_asgi_deploy.project import Project

MOST_LINES = 10
TOLD = (6, 121)  # the banner has lines of its own about other settings and static files
OURS_AND_DJANGOS = ("django.", "django_asgi_deploy.")


def require_possible(settings: Settings, project: Project) -> None:
    """Raises ProjectError if the site can't work at all.

    Whether the application can be had was seen when it was loaded. What is left is middleware (201 to 206).
    """
    if all(path.startswith(OURS_AND_DJANGOS) for path in django_settings.MIDDLEWARE):
        return
    from django_asgi_deploy.checks import functions, inspected, modes
    from django_asgi_deploy.checks.findings import Findings
    from django_asgi_deploy.checks.guard import surviving

    findings = Findings()
    findings.add(surviving([modes.check], inspected.of_project(settings, project)))
    functions.source_of.cache_clear()  # syntax trees, of which the server has no use
    fatal = [finding for finding in findings.shown if finding.forbids_serving]
    if fatal:
        told = "\n".join(f"  - {finding.in_a_line} {finding.hint}" for finding in fatal)
        raise ProjectError(
            f"The site can't work over ASGI (manage.py checkasgi says more; --skip-checks starts):\n{told}"
        )


def advice(settings: Settings, project: Project) -> list[str]:
    """A line for each error and warning, not more than ten."""
    from django_asgi_deploy.checks import inspected, run

    findings = run.run(inspected.of_project(settings, project), run.FAMILIES).shown
    lines = [each.in_a_line for each in findings if each.level != "info" and each.number not in TOLD]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"{len(lines) - MOST_LINES} more findings: manage.py checkasgi"]
    return lines
