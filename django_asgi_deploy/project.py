"""The project, loaded as ``runasgi`` serves it: settings module, checks, URLconf, application."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import cast

from asgiref.compatibility import is_double_callable
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management.base import SystemCheckError
from django.urls import URLResolver, get_resolver

from django_asgi_deploy import importer
from django_asgi_deploy.asgi import Application, assemble
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ApplicationError, ConfigurationError, ProjectError
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.importer import Found
from django_asgi_deploy.types import ASGIApp

# Options that only an application of ours obeys.
OF_THE_APPLICATION = ("HANDLER", "THREADS", "THREAD_QUEUE_TIMEOUT_SECONDS", "STATIC")
IMPORT_LINE = "from django_asgi_deploy.asgi import get_asgi_application"


@dataclass(frozen=True)
class Project:
    """What will be served, and what to say about it."""

    application: ASGIApp
    ours: Application | None  # it, or what is inside it
    found: Found  # where the application came from
    settings_module: Found
    notes: tuple[str, ...]

    @property
    def pooled(self) -> PooledHandler | None:
        handler = self.ours and self.ours.handler
        return handler if isinstance(handler, PooledHandler) else None

    def handler_in_words(self) -> list[str]:
        """The request handler, and what doesn't get its benefit."""
        if self.ours is None:
            return ["the application's own"]
        if self.pooled is None:
            return ["Django's own, a new thread for each request"]
        where = "" if self.application is self.ours else ", inside what asgi.py wraps around it"
        return [f"pooled, {self.pooled.threads} threads{where}", *self.pooled.fallback_reasons]


def load(settings: Settings, *, settings_option: str | None, check: Callable[[], None] | None) -> Project:
    """Check the project and import its application; ``check`` (None to skip) runs Django's system checks.

    Raises ProjectError, ApplicationError or ConfigurationError.
    """
    _require_allowed_hosts()
    _resolve_urlconf()
    if check:
        _run(check)
    settings_module = importer.find_settings_module(option=settings_option)
    found = importer.find_application(
        _configured(settings),
        getattr(django_settings, "ASGI_APPLICATION", None),
        getattr(django_settings, "ROOT_URLCONF", None),
        settings_module.name,
    )
    if found is None:
        made = assemble(settings)
        found = Found("django_asgi_deploy.asgi:get_asgi_application()", "the project has no asgi.py")
        return Project(made, made, found, settings_module, settings.notes)
    app = _checked(importer.import_from_string(found.name, found.origin), found)
    notes = [*settings.notes, *_other_default(found, settings_module)]
    if type(app) is cast(object, ASGIHandler):
        app = assemble(settings, cast(ASGIHandler, app))
        if settings.handler == "pooled":
            found = replace(
                found, origin=f"{found.origin}; Django's own, our handler in its place: --handler django keeps it"
            )
    ours = app if isinstance(app, Application) else next(iter(Application.made), None)
    if ours is None:
        notes += _in_vain(settings)
    return Project(app, ours, found, settings_module, tuple(notes))


def _require_allowed_hosts() -> None:
    if not django_settings.DEBUG and not django_settings.ALLOWED_HOSTS:
        raise ConfigurationError(
            [
                "ALLOWED_HOSTS is empty while DEBUG is off: every request would be answered with 400. Name the site's "
                'hosts in the settings, as in ALLOWED_HOSTS = ["example.com"].'
            ]
        )


def _resolve_urlconf() -> None:
    """Import every module of the URLconf now; Django would do it at the first request."""
    try:
        _walk(get_resolver())
    except Exception as error:
        name = getattr(django_settings, "ROOT_URLCONF", None)
        raise ProjectError.from_exception(f"The URLconf {name} can't be loaded:", error) from error


def _walk(resolver: URLResolver) -> None:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            _walk(pattern)


def _run(check: Callable[[], None]) -> None:
    try:
        check()
    except SystemCheckError as error:
        raise ProjectError(str(error).strip()) from error
    except Exception as error:
        raise ProjectError.from_exception("Django's system checks failed:", error) from error


def _configured(settings: Settings) -> Found | None:
    if settings.application is None:
        return None
    return Found(settings.application, settings.origins["APPLICATION"])


# ------------------------------------------------------------------ what was found under the application's name


def _checked(app: object, found: Found) -> ASGIApp:
    """The object itself if a server can call it. Raises ApplicationError saying what it is and what to write."""
    what = f"{found.name} ({found.origin})"
    if not callable(app):
        raise ApplicationError(
            f"{what} is {type(app).__name__} {_shown(app)}, which can't be called: not an application."
        )
    if isinstance(app, WSGIHandler) or _parameters(app)[:2] == ["environ", "start_response"]:
        raise ApplicationError(
            f"{what} is a WSGI application; over ASGI it would answer 500 to everything. In that module write: "
            f"{IMPORT_LINE}; application = get_asgi_application()"
        )
    if not inspect.isclass(app) and not _required_parameters(app):
        name = found.name.partition(":")[2] or "application"
        raise ApplicationError(f"{what} makes an application instead of being one. Call it: application = {name}()")
    if inspect.isclass(app) or is_double_callable(app):  # type: ignore[no-untyped-call]
        kind = "a class" if inspect.isclass(app) else "a callable in two steps"
        raise ApplicationError(
            f"{what} is {kind}, as in ASGI 2, which this server doesn't speak. In that module write: from "
            "asgiref.compatibility import guarantee_single_callable; application = guarantee_single_callable(...)"
        )
    return cast(ASGIApp, app)


def _parameters(app: object) -> list[str]:
    try:
        return list(inspect.signature(app).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ["scope", "receive", "send"]  # C code: believed


def _required_parameters(app: object) -> bool:
    try:
        parameters = inspect.signature(app).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    return any(each.default is each.empty for each in parameters)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _in_vain(settings: Settings) -> list[str]:
    """A line about options that only an application of ours obeys, if any was given."""
    given = ", ".join(key for key in OF_THE_APPLICATION if key in settings.origins)
    if not given:
        return []
    return [f"{given}: no effect, because asgi.py makes Django's application itself; there write: {IMPORT_LINE}"]


def _other_default(found: Found, settings_module: Found) -> list[str]:
    """A line if ``asgi.py`` would have chosen other settings, unless the choice was made on purpose."""
    spec = util.find_spec(importer.module_of(found.name))
    declared = importer.declared_settings_module(Path(spec.origin)) if spec and spec.origin else None
    if declared in (None, settings_module.name) or settings_module.is_deliberate:
        return []
    return [
        f"asgi.py asks for {declared}, served is {settings_module.name} (from {settings_module.origin}). "
        f"To choose: export {importer.VARIABLE}={declared}, or runasgi --settings {declared}"
    ]
