"""
Whether a plain ASGI server could import the application.

Inside ``manage.py`` an ``asgi.py`` imports fine that fails everywhere else: the settings module is named in the
environment and ``django.setup()`` is done. So it is imported once more, in a process of its own, without either.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from django_asgi_deploy import importer
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_of_error, root, use_root
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.exceptions import ASGIDeployError

DEADLINE_SECONDS = 60.0
MARK = "django-asgi-deploy entry: "  # the module may print, too
CHILD = "from django_asgi_deploy.checks.entry import main; main()"


@dataclass(frozen=True)
class Failure:
    """Why the import failed."""

    error: str  # "AppRegistryNotReady: Apps aren't loaded yet."
    detail: str | None = None
    place: Place | None = None


def check(inspected: Inspected) -> Iterator[Finding]:
    """Import the application as a plain server does."""
    where = inspected.found
    if where is None or where.name.endswith("()"):
        return
    failure = _try(where, DEADLINE_SECONDS, {})
    if failure is None:
        return
    exported = os.environ.get(importer.VARIABLE)
    if (
        exported
        and importer.was_exported(importer.VARIABLE)
        and _try(where, DEADLINE_SECONDS, {importer.VARIABLE: exported}) is None
    ):
        yield _works_only_with_the_variable(where.name, exported, failure)
        return
    module = importer.module_of(where.name)
    yield found(
        1,
        f"Under a plain ASGI server {module} can't be imported: {failure.error}",
        _hint(module, failure),
        object=where.name,
        place=failure.place,
        detail=failure.detail,
    )


def _works_only_with_the_variable(name: str, exported: str, failure: Failure) -> Finding:
    module = importer.module_of(name)
    return found(
        1,
        f"{module} can be imported only where {importer.VARIABLE} is exported, as it is here: {failure.error}",
        f'So that it works anywhere, write above its other imports: os.environ.setdefault("{importer.VARIABLE}", '
        f'"{exported}")',
        level="warning",
        object=name,
        place=failure.place,
        detail=failure.detail,
    )


def _hint(module: str, failure: Failure) -> str:
    where = f" ({failure.place.file}:{failure.place.line})" if failure.place else ""
    is_unconfigured = "settings are not configured" in failure.error
    if is_unconfigured and not _names_settings(module):
        named = os.environ.get(importer.VARIABLE, "mysite.settings")
        return f'In {module}, above everything else: os.environ.setdefault("{importer.VARIABLE}", "{named}")'
    if is_unconfigured or failure.error.startswith("AppRegistryNotReady"):
        return f"In {module}, move what imports the project's own code{where} below application = ..."
    return f"It works under manage.py, which has set up Django before. Look at {failure.place or module}."


def _names_settings(module: str) -> bool:
    spec = util.find_spec(module)
    return bool(spec and spec.origin and importer.declared_settings_module(Path(spec.origin)))


def _try(where: importer.Found, deadline_seconds: float, variables: dict[str, str]) -> Failure | None:
    environment = {name: value for name, value in os.environ.items() if name != importer.VARIABLE}
    asked = json.dumps({"name": where.name, "origin": where.origin, "path": sys.path, "root": str(root())})
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=asked,
            env=environment | variables,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failure(f"it isn't done after {deadline_seconds:g} seconds")
    told = next((line for line in reversed(done.stdout.splitlines()) if line.startswith(MARK)), None)
    if told is None:
        return Failure(_ended(done.returncode), detail=done.stderr.strip()[-2000:] or None)
    answer = json.loads(told.removeprefix(MARK))
    if answer is None:
        return None
    place = answer["place"]
    return Failure(answer["error"], answer["detail"], Place(*place) if place else None)


def _ended(returncode: int) -> str:
    if returncode < 0:
        return f"the process that imports it is killed by signal {-returncode}"
    return f"it ends the process that imports it, with status {returncode}"


# ------------------------------------------------------------------ in the child


def main() -> None:
    """Import what standard input asks for, and tell on standard output what came of it."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    use_root(Path(asked["root"]))
    answer = None
    try:
        importer.import_from_string(asked["name"], asked["origin"])
    except ASGIDeployError as error:
        cause = error.__cause__ or error
        reason = traceback.format_exception_only(cause)[-1].strip()
        answer = {
            "error": _short(reason),
            "detail": str(error).partition("\n\n")[2] or str(error),
            "place": place_of_error(cause),
        }
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)
    os._exit(0)  # whatever threads the import has started


def _short(reason: str) -> str:
    """``django.core.exceptions.AppRegistryNotReady: text`` without the module, and of the text the first sentence."""
    name, colon, text = reason.partition(":")
    return " ".join(f"{name.rpartition('.')[2]}{colon}{text.partition('. ')[0]}".split())
