"""What the checks look at: the loaded project, walked once."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from django.apps import AppConfig, apps
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler
from django.urls import URLPattern, URLResolver, get_resolver

from django_asgi_deploy import importer, project
from django_asgi_deploy.asgi import Application
from django_asgi_deploy.checks import frames
from django_asgi_deploy.checks.middleware import Replay
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ASGIDeployError, is_users
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.importer import Found

Handler = Literal["pooled", "django", "foreign"]


@dataclass(frozen=True)
class Route:
    """One URL pattern with its view."""

    path: str  # "/shop/<int:pk>/", as the patterns around it spell it; a regular expression stands as it is
    callback: Callable[..., Any]
    pattern: URLPattern
    resolvers: tuple[URLResolver, ...]  # the outermost first

    @property
    def has_arguments(self) -> bool:
        parts: tuple[URLResolver | URLPattern, ...] = (*self.resolvers, self.pattern)
        return any(part.pattern.regex.groups for part in parts)


@dataclass(frozen=True)
class Inspected:
    """The project as every family of checks sees it. Attributes beyond the fields are made when they are asked for."""

    settings: Settings
    settings_module: Found | None = None  # None where that isn't known: inside Django's own ``check``
    found: Found | None = None  # where the application came from
    application: Any = None  # None if it can't be imported, or wasn't
    ours: Application | None = None  # it, or what is inside it
    problem: ASGIDeployError | None = None  # why it can't be served
    notes: tuple[str, ...] = ()  # what runasgi's banner says of it

    @property
    def handler(self) -> Handler:
        """Who answers requests: "foreign" is an application that isn't our assembly.

        Where no application was imported, it is taken for what HANDLER says.
        """
        if self.ours:
            return "django" if type(self.ours.handler) is ASGIHandler else "pooled"
        return self.settings.handler if self.application is None else "foreign"

    @property
    def pooled(self) -> PooledHandler | None:
        handler = self.ours and self.ours.handler
        return handler if isinstance(handler, PooledHandler) else None

    @property
    def workers(self) -> int:
        return self.settings.workers

    @property
    def threads(self) -> int:
        """Of one worker: those that synchronous code runs in."""
        return self.settings.threads

    @property
    def is_development(self) -> bool:
        return bool(django_settings.DEBUG)

    @property
    def root(self) -> Path:
        """The project's root folder: places of findings are relative to it."""
        return frames.root()

    @cached_property
    def apps(self) -> tuple[AppConfig, ...]:
        """The installed apps that the project itself holds."""
        return tuple(config for config in apps.get_app_configs() if self.is_projects(config.module))

    @cached_property
    def modules(self) -> tuple[ModuleType, ...]:
        """The project's own modules, as far as they are imported."""
        return tuple(module for module in [*sys.modules.values()] if self.is_projects(module))

    def is_projects(self, module: ModuleType | None) -> bool:
        """Whether the project holds this module: its file is below the root, and not in an environment in there."""
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        return isinstance(file, str) and is_users(file) and Path(file).is_relative_to(self.root)

    @cached_property
    def replay(self) -> Replay:
        """What Django's own handler makes of settings.MIDDLEWARE; taken from the served one, or built once."""
        return Replay(self.ours.handler if self.ours else None)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """Every URL pattern, in the order in which they are tried."""
        return tuple(_walk(get_resolver(), ()))


def load(settings: Settings, *, settings_option: str | None = None) -> Inspected:
    """The project, loaded as runasgi loads it, except that an application which can't be served doesn't end it.

    Raises ProjectError if the URLconf can't be imported, or if nobody says which settings to use.
    """
    project.resolve_urlconf()
    settings_module = importer.find_settings_module(option=settings_option)
    found = project.find_application(settings, settings_module)
    try:
        loaded = project.load_application(settings, settings_module, found)
    except ASGIDeployError as error:
        return Inspected(settings, settings_module, found, problem=error, notes=settings.notes)
    return of_project(settings, loaded)


def of_project(settings: Settings, loaded: project.Project) -> Inspected:
    """Of a project that is loaded already."""
    return Inspected(
        settings, loaded.settings_module, loaded.found, loaded.application, loaded.ours, notes=loaded.notes
    )


def _walk(resolver: URLResolver, above: tuple[URLResolver, ...]) -> Iterator[Route]:
    chain = (*above, resolver)
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, chain)
        else:
            parts: tuple[URLResolver | URLPattern, ...] = (*chain[1:], pattern)
            yield Route("/" + "".join(str(part.pattern) for part in parts), pattern.callback, pattern, chain)
