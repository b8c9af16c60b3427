"""What ``runasgi`` does with the checks: it refuses to start on what can't work, and shows the rest, a line each."""

from dataclasses import replace

from django_asgi_deploy.checks import inspected, run
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ProjectError
from django_asgi_deploy.project import Project

MOST_LINES = 10
TOLD = (6, 121)  # the banner has lines of its own about other settings and static files


def checked(settings: Settings, project: Project) -> Project:
    """The project with one note for each error and warning. Raises ProjectError if the site can't work at all."""
    findings = run.run(inspected.of_project(settings, project), run.FAMILIES).shown
    fatal = [finding for finding in findings if finding.forbids_serving]
    if fatal:
        told = "\n".join(f"  - {_line(finding)} {finding.hint}" for finding in fatal)
        raise ProjectError(
            f"The site can't work over ASGI (manage.py checkasgi says more; --skip-checks starts):\n{told}"
        )
    lines = [_line(each) for each in findings if each.level != "info" and each.number not in TOLD]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"{len(lines) - MOST_LINES} more findings: manage.py checkasgi"]
    return replace(project, notes=(*project.notes, *lines))


def _line(finding: Finding) -> str:
    where = f"{finding.place}: " if finding.place else ""
    return f"{finding.id} {finding.slug}: {where}{finding.message}"
