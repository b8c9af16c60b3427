"""The units of systemd for a project."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from django_asgi_deploy.addresses import UnixAddress, parse_address
from django_asgi_deploy.deployment.render import render

OVERTIME_SECONDS = 5  # for what comes after the budget; what systemd kills then is stuck


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What the units need to know. ``bind``: the addresses of the configuration, None if it has none of its own."""

    name: str
    settings_module: str
    folder: Path
    python: Path
    user: str
    bind: list[str] | None
    budget_seconds: int  # from the signal until the last request is cut
    has_supervisor: bool  # which takes SIGHUP as the wish for a new version


def units(deployment: Deployment) -> dict[str, str]:
    """File name to text. Without addresses of its own, the service gets a socket that systemd holds."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", deployment.name)
    has_socket = deployment.bind is None
    service = render(
        "systemd.service",
        name=name,
        settings_module=_escaped(deployment.settings_module),
        folder=_escaped(str(deployment.folder)),
        python=_quoted(str(deployment.python)),
        user=_escaped(deployment.user),
        has_supervisor="yes" if deployment.has_supervisor else "",
        has_socket="yes" if has_socket else "",
        runtime_directory=_runtime_directory(deployment.bind or []),
        stop_seconds=str(deployment.budget_seconds + OVERTIME_SECONDS),
    )
    made = {f"{name}.service": service}
    if has_socket:
        made[f"{name}.socket"] = render("systemd.socket", name=name)
    return made


def _runtime_directory(bind: list[str]) -> str:
    """The folder in /run that a unix socket needs, which systemd makes for the service's user."""
    folders = [os.path.dirname(each.path) for each in map(parse_address, bind) if isinstance(each, UnixAddress)]
    return " ".join(_escaped(each.removeprefix("/run/")) for each in folders if each.startswith("/run/"))


def _escaped(text: str) -> str:
    """A percent sign begins a specifier in units."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """As one word of a command line."""
    escaped = _escaped(text).replace("$", "$$")
    return f'"{escaped}"' if re.search(r"\s", escaped) else escaped
