"""The entry point: whether a plain ASGI server finds the settings and the application, and the same that runasgi does.
(001 to 012)
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from django_asgi_deploy import importer
from django_asgi_deploy.applications import kind_of
from django_asgi_deploy.checks.entry_import import Failure, Imported, import_plainly
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.parts import parts_of
from django_asgi_deploy.checks.settings_source import place_of_environment, place_of_setting
from django_asgi_deploy.checks.sources import first_place
from django_asgi_deploy.exceptions import ApplicationError, ASGIDeployError

SLOW_SECONDS = 10.0
PATCHING = re.compile(r"\bmonkey\.patch_\w+\(|(?<!def )\bmonkey_patch\(|^\s*patch_all\(")
IMPORT_LINE = "from django_asgi_deploy.asgi import get_asgi_application"
OUR_LINE = f"{IMPORT_LINE}; application = get_asgi_application()"


def check(inspected: Inspected) -> Iterator[Finding]:
    """What can be seen in this process."""
    yield from surviving((application, other_settings, forced_settings, development_handler), inspected)


def check_plainly(inspected: Inspected) -> Iterator[Finding]:
    """Without importing anything of the project."""
    path = getattr(django_settings, "ASGI_APPLICATION", None)
    if not path or inspected.settings.application:
        return
    module = importer.module_of(path)
    try:
        is_there = module in sys.modules or util.find_spec(module) is not None
    except (ImportError, ValueError):
        is_there = False
    if not is_there:
        yield found(
            2,
            f"settings.ASGI_APPLICATION = {path!r}, but there is no module {module!r}: no server can start.",
            "Name the module with the application, or take ASGI_APPLICATION out and it is searched for.",
            object="ASGI_APPLICATION",
            place=inspected.place_of_setting("ASGI_APPLICATION"),
        )


# ------------------------------------------------------------------ the application itself


def application(inspected: Inspected) -> Iterator[Finding]:
    """At most one finding: that it isn't there, or what it is instead."""
    where = inspected.found
    if where is None:
        yield found(
            2,
            "The project has no asgi.py. runasgi makes an application itself; any other ASGI server has nothing to "
            "import.",
            "To have one: manage.py makeasgi asgi",
            level="info",
            object=f"{(inspected.settings_name or '').rpartition('.')[0]}.asgi".lstrip("."),
        )
        return
    try:
        app = importer.import_from_string(where.name, where.origin)
    except ApplicationError as error:
        yield found(
            2,
            f"The application can't be found: {error}",
            'Name it as ASGI_DEPLOY["APPLICATION"] = "package.module:attribute", or call it application in asgi.py.',
            object=where.name,
            place=inspected.place_of_setting("ASGI_APPLICATION"),
        )
        return
    except ASGIDeployError:
        return  # its module raises: the import in a process of its own tells
    kind, place = kind_of(app), _place_of_application(where)
    if kind in ("wsgi", "nothing"):
        is_what = "a WSGI application" if kind == "wsgi" else f"{type(app).__name__}, which can't be called"
        yield found(
            3,
            f"{where.name} is {is_what}: uvicorn starts, and then answers every request with 500.",
            f"In {importer.module_of(where.name)}: {OUR_LINE}",
            object=where.name,
            place=place,
        )
    elif kind == "factory":
        name = where.name.partition(":")[2] or "application"
        yield found(
            4,
            f"{where.name} makes an application instead of being one: uvicorn guesses that and warns, runasgi and "
            "other servers refuse it.",
            f"Call it: application = {name}()",
            level="error",
            object=where.name,
            place=place,
        )
    elif kind == "asgi2":
        yield found(
            5,
            f"{where.name} speaks ASGI 2, in two steps: runasgi and newer servers refuse it.",
            "from asgiref.compatibility import guarantee_single_callable; application = guarantee_single_callable(...)",
            level="error",
            object=where.name,
            place=place,
        )


def _place_of_application(where: importer.Found) -> Place | None:
    name = where.name.partition(":")[2] or where.name.rpartition(".")[2]
    return place_of_setting(importer.module_of(where.name), name.partition(".")[0])


def development_handler(inspected: Inspected) -> Iterator[Finding]:
    if inspected.is_development or not any(
        isinstance(app, ASGIStaticFilesHandler) for app in parts_of(inspected.application)
    ):
        return
    assert inspected.found
    yield found(
        12,
        f"{inspected.found.name} is an ASGIStaticFilesHandler while DEBUG is off: every static file is searched for "
        "anew and read into memory; it is meant for development only.",
        "Let the web server in front serve STATIC_ROOT, or pip install servestatic.",
        object=inspected.found.name,
        place=_place_of_application(inspected.found),
    )


# ------------------------------------------------------------------ the settings that the files name


@dataclass(frozen=True)
class Named:
    """A file that names a settings module."""

    file: Path
    settings: str


def other_settings(inspected: Inspected) -> Iterator[Finding]:
    """manage.py, asgi.py and wsgi.py; that runasgi would serve others than asgi.py is worst where DEBUG differs."""
    chosen = inspected.settings_module
    if chosen is None:
        return
    files = [*_files(inspected)]
    asgi = next((each for each in files if each.file.name != "manage.py" and each.file.name != "wsgi.py"), None)
    if asgi and _file_of(asgi.settings) is None:
        return  # nothing can be imported from there, which is another finding
    others = {each.settings for each in files}
    if len(others) < 2 and not (asgi and asgi.settings != chosen.name and not chosen.is_deliberate):
        return
    told = ", ".join(f"{relative(each.file)} asks for {each.settings}" for each in files)
    is_served = f"runasgi serves {chosen.name} (from {chosen.origin})"
    in_danger = asgi is not None and asgi.settings != chosen.name and not chosen.is_deliberate
    yield found(
        6,
        f"{told}; {is_served}." + (" In production that may be the developer's settings." if in_danger else ""),
        f"Export {importer.VARIABLE} where the site is deployed, or give all files the same default.",
        level="error" if in_danger and asgi and _debug_differs(asgi.settings) else "warning" if in_danger else "info",
        object=importer.VARIABLE,
        place=_place_of_default(asgi or files[0]),
    )


def _files(inspected: Inspected) -> Iterator[Named]:
    candidates = [inspected.root / "manage.py"]
    if inspected.found:
        asgi = _file_of(importer.module_of(inspected.found.name))
        candidates += [asgi, asgi.with_name("wsgi.py")] if asgi else []
    for file in candidates:
        if settings := importer.declared_settings_module(file):
            yield Named(file, settings)


def _file_of(module: str) -> Path | None:
    try:
        spec = util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _debug_differs(settings_module: str) -> bool:
    """Whether DEBUG there is another than here, as far as its source says so in so many words."""
    file = _file_of(settings_module)
    text = file.read_text(errors="replace") if file else ""
    other = f"\nDEBUG = {not django_settings.DEBUG}"
    return other in f"\n{text}"


def _place_of_default(named: Named) -> Place:
    lines = named.file.read_text(errors="replace").splitlines()
    quoted = (f'"{named.settings}"', f"'{named.settings}'")
    line = next((number for number, text in enumerate(lines, 1) if any(name in text for name in quoted)), 1)
    return Place(relative(named.file), line)


def forced_settings(inspected: Inspected) -> Iterator[Finding]:
    module = inspected.found and sys.modules.get(importer.module_of(inspected.found.name))
    place = place_of_environment(module, importer.VARIABLE, is_forced=True) if module else None
    if place:
        yield found(
            7,
            f"{place.file} overwrites {importer.VARIABLE}: what the deployment exports has no effect under a plain "
            "server, and staging runs on the settings that are written there.",
            f'os.environ.setdefault("{importer.VARIABLE}", "...")',
            object=importer.VARIABLE,
            place=place,
        )


# ------------------------------------------------------------------ the import in a process of its own


def check_import(inspected: Inspected) -> Iterator[Finding]:
    """Import the application as a plain server does."""
    where = inspected.found
    if where is None:
        return
    imported = import_plainly(where, {})
    exported = _exported()
    if imported.failure and exported:
        with_variable = import_plainly(where, {importer.VARIABLE: exported})
        if not with_variable.failure:
            yield _works_only_with_the_variable(where.name, exported, imported.failure)
            imported = with_variable
    if imported.failure and imported.failure.is_missing:
        return  # application() says what there is
    if imported.failure:
        yield _fails(where.name, imported.failure)
        return
    yield from _brought_about(inspected, where.name, imported)


def _exported() -> str | None:
    return os.environ.get(importer.VARIABLE) if importer.was_exported(importer.VARIABLE) else None


def _fails(name: str, failure: Failure) -> Finding:
    module = importer.module_of(name)
    if _has_no_settings(failure, module):
        return found(
            8,
            f"Under a plain ASGI server {module} finds no settings: {failure.error}",
            _settings_line(module),
            object=name,
            place=failure.place,
        )
    return found(
        1,
        f"Under a plain ASGI server {module} can't be imported: {failure.error}",
        _hint(module, failure),
        object=name,
        place=failure.place,
        detail=failure.detail,
    )


def _works_only_with_the_variable(name: str, exported: str, failure: Failure) -> Finding:
    module = importer.module_of(name)
    return found(
        8 if _has_no_settings(failure, module) else 1,
        f"{module} can be imported only where {importer.VARIABLE} is exported, as it is here: {failure.error}",
        f'So that it works anywhere, write above its other imports: os.environ.setdefault("{importer.VARIABLE}", '
        f'"{exported}")',
        level="warning",
        object=name,
        place=failure.place,
        detail=failure.detail,
    )


def _has_no_settings(failure: Failure, module: str) -> bool:
    named = _named_settings(module)
    if "settings are not configured" in failure.error or "Which settings?" in failure.error:
        return named is None
    missing = failure.error.removeprefix("ModuleNotFoundError: No module named ").strip("'")
    return named is not None and f"{named}.".startswith(f"{missing}.")


def _settings_line(module: str) -> str:
    named = os.environ.get(importer.VARIABLE, "mysite.settings")
    return f'In {module}, above everything else: os.environ.setdefault("{importer.VARIABLE}", "{named}")'


def _hint(module: str, failure: Failure) -> str:
    where = f" ({failure.place.file}:{failure.place.line})" if failure.place else ""
    if "settings are not configured" in failure.error or failure.error.startswith("AppRegistryNotReady"):
        return f"In {module}, move what imports the project's own code{where} below application = ..."
    return f"It works under manage.py, which has set up Django before. Look at {failure.place or module}."


def _named_settings(module: str) -> str | None:
    file = _file_of(module)
    return importer.declared_settings_module(file) if file else None


def _brought_about(inspected: Inspected, name: str, imported: Imported) -> Iterator[Finding]:
    # A query leaves its connection open, and is told below.
    effects = [each for each in imported.effects if not (imported.queries and "connection to the database" in each)]
    if imported.seconds > SLOW_SECONDS:
        effects.append(f"takes {imported.seconds:.0f} seconds of processor time")
    module = importer.module_of(name)
    if effects:
        yield found(
            9,
            f"The import of {module} {', '.join(effects)}: that happens in every worker, or before the workers are "
            "forked.",
            "Move it to the lifespan's start-up, or to where it is first needed.",
            object=name,
            place=imported.effects_place,
        )
    for place in imported.queries:
        yield found(
            10,
            "A query is made while the apps are loaded: every worker and every command makes it, and without the "
            "database nothing starts.",
            "Make it at the first use, or in a post_migrate receiver; not in AppConfig.ready() or at import.",
            object=name,
            place=place,
        )
    if imported.patched_by:
        yield found(
            11,
            f"{imported.patched_by} has patched the socket module: under an asyncio server requests hang.",
            f"Take {imported.patched_by}'s monkey-patching out of what {module} imports.",
            object=name,
            place=first_place(inspected.modules, PATCHING),
        )
