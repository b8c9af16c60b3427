"""The project, loaded as ``runasgi`` serves it: settings module, checks, URLconf, application."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import Any, cast

from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.core.management.base import SystemCheckError
from django.urls import URLResolver, get_resolver

from django_asgi_deploy import collected, importer
from django_asgi_deploy.applications import import_application
from django_asgi_deploy.asgi import Application, assemble, in_front_of
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ASGIDeployError, ConfigurationError, ProjectError
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.importer import Found
from django_asgi_deploy.types import ASGIApp

# Options that only an application of ours obeys.
OF_THE_APPLICATION = (
    "HANDLER",
    "THREADS",
    "THREAD_QUEUE_TIMEOUT_SECONDS",
    "STATIC",
    "MIDDLEWARE",
    "MOUNTS",
    "WEBSOCKET",
    "WEBSOCKET_ALLOWED_ORIGINS",
    "LIFESPAN",
    "LIVE_PATH",
    "READY_PATH",
    "READY_CHECKS",
    "READY_TIMEOUT_SECONDS",
    "MAX_BODY_BYTES",
    "REQUEST_TIMEOUT_SECONDS",
    "MAX_IN_FLIGHT",
    "IN_FLIGHT_TIMEOUT_SECONDS",
)
IMPORT_LINE = "from django_asgi_deploy.asgi import get_asgi_application"
INSTEAD_OF_WSGI = f"In that module write: {IMPORT_LINE}; application = get_asgi_application()"


@dataclass(frozen=True)
class Project:
    """What will be served, and what to say about it."""

    application: ASGIApp
    ours: Application | None  # it, or what is inside it
    found: Found  # where the application came from
    settings_module: Found
    notes: tuple[str, ...]
    warmup: Mapping[str, Callable[[], Any] | None]  # what WARMUP says, with what is to be called; None for a path

    @property
    def host(self) -> str:
        """A host that the project answers to."""
        allowed = next(iter(django_settings.ALLOWED_HOSTS), "localhost")
        return "localhost" if allowed == "*" else allowed.removeprefix(".")

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
    resolve_urlconf()
    if check:
        _run(check)
    settings_module = importer.find_settings_module(option=settings_option)
    return load_application(settings, settings_module, find_application(settings, settings_module))


def load_application(settings: Settings, settings_module: Found, found: Found | None) -> Project:
    """Import what was found, or make an application. Raises ProjectError, ApplicationError or ConfigurationError."""
    if found is None:
        made = _assembled(settings)
        found = Found("django_asgi_deploy.asgi:get_asgi_application()", "the project has no asgi.py")
        told = (*settings.notes, *_static_files(settings))
        return Project(made, made, found, settings_module, told, _warmup(settings))
    app = import_application(found.name, found.origin, if_wsgi=INSTEAD_OF_WSGI)
    notes: list[str] = [*settings.notes, *_other_default(found, settings_module), *_static_files(settings)]
    if type(app) is cast(object, ASGIHandler):
        app = _assembled(settings, cast(ASGIHandler, app))
        if settings.handler == "pooled":
            found = replace(
                found, origin=f"{found.origin}; Django's own, our handler in its place: --handler django keeps it"
            )
    ours = app if isinstance(app, Application) else next(iter(Application.made), None)
    if ours is None:
        notes += _in_vain(settings)
    if app is not ours:
        app = in_front_of(app, settings)
    return Project(app, ours, found, settings_module, tuple(notes), _warmup(settings))


def find_application(settings: Settings, settings_module: Found) -> Found | None:
    """Where the application is; nothing is imported. None if the project has none."""
    return importer.find_application(
        _configured(settings),
        getattr(django_settings, "ASGI_APPLICATION", None),
        getattr(django_settings, "ROOT_URLCONF", None),
        settings_module.name,
    )


def _assembled(settings: Settings, djangos: ASGIHandler | None = None) -> Application:
    try:
        return assemble(settings, djangos)
    except ASGIDeployError:
        raise
    except Exception as error:  # of a middleware, or because of what one says of itself
        raise ProjectError.from_exception("The request handler can't be made from MIDDLEWARE:", error) from error


def _require_allowed_hosts() -> None:
    if not django_settings.DEBUG and not django_settings.ALLOWED_HOSTS:
        raise ConfigurationError(
            [
                "ALLOWED_HOSTS is empty while DEBUG is off: every request would be answered with 400. Name the site's "
                'hosts in the settings, as in ALLOWED_HOSTS = ["example.com"].'
            ]
        )


def resolve_urlconf() -> None:
    """Import every module of the URLconf now; Django would do it at the first request. Raises ProjectError."""
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


def _warmup(settings: Settings) -> dict[str, Callable[[], Any] | None]:
    where = settings.where("WARMUP")
    steps: dict[str, Callable[[], Any] | None] = {}
    for step in settings.warmup:
        steps[step] = None if step.startswith("/") else importer.import_from_string(step, where)
        if not (step.startswith("/") or callable(steps[step])):
            raise ConfigurationError([f"{step!r} ({where}) can't be called; expected a path such as /, or a callable."])
    return steps


# ------------------------------------------------------------------ what was found under the application's name


def _static_files(settings: Settings) -> list[str]:
    """A line if nobody here serves the static files that the project has, unless that is as it was asked for."""
    obstacle = collected.obstacle()
    return [obstacle] if obstacle and settings.static != "off" else []


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
