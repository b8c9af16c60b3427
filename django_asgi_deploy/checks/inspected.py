"""What the checks look at: the loaded project, walked once."""

import os
import re
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
from django.urls.resolvers import RegexPattern
from django.utils.regex_helper import normalize

from django_asgi_deploy import importer, project
from django_asgi_deploy.addresses import Address, TCPAddress, parse_address
from django_asgi_deploy.asgi import Application
from django_asgi_deploy.checks import deployment_files, frames
from django_asgi_deploy.checks.frames import Place
from django_asgi_deploy.checks.hops import qualified
from django_asgi_deploy.checks.middleware import Replay
from django_asgi_deploy.checks.settings_source import place_of_setting
from django_asgi_deploy.checks.sources import places
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ASGIDeployError, is_users
from django_asgi_deploy.handlers.asgi import ASGIHandler as PooledHandler
from django_asgi_deploy.handlers.private import iscoroutinefunction
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
    def url(self) -> str | None:
        """A path that leads to it; None if it takes arguments, or is a regular expression that leaves several."""
        parts: tuple[URLResolver | URLPattern, ...] = (*self.resolvers[1:], self.pattern)
        path = "".join("" if (text := _written(part.pattern)) is None else text for part in parts)
        return None if any(_written(part.pattern) is None for part in parts) else f"/{path}"


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
    def is_wrapped(self) -> bool:
        """Whether ``asgi.py`` puts something around our assembly."""
        plain: tuple[type, ...] = (Application, ASGIHandler)
        return self.application is not None and type(self.application) not in plain

    @property
    def pooled(self) -> PooledHandler | None:
        handler = self.ours and self.ours.handler
        return handler if isinstance(handler, PooledHandler) else None

    @cached_property
    def workers(self) -> int:
        """Worker processes: as configured, or as a file of the deployment starts them."""
        configured = self.settings.workers
        own = deployment_files.automatic_workers() if configured == "auto" else configured
        return max(own, deployment_files.workers(self.root))

    @property
    def threads(self) -> int:
        """Of one worker: those that synchronous code runs in."""
        return self.settings.threads

    @property
    def request_limit(self) -> int | None:
        """How many requests one worker takes at a time; None: as many as come."""
        limit: int | None = self.settings.uvicorn.get("limit_concurrency")
        return self.settings.max_in_flight or limit

    @property
    def root_path(self) -> str:
        """The prefix that the server is told."""
        return self.settings.root_path or str(self.settings.uvicorn.get("root_path") or "")

    @property
    def is_reached_from_elsewhere(self) -> bool:
        """Whether it listens on an address that other machines reach."""
        return not all(_is_here(parse_address(text)) for text in self.settings.bind)

    @property
    def settings_name(self) -> str | None:
        """The settings module."""
        return self.settings_module.name if self.settings_module else os.environ.get(importer.VARIABLE)

    def place_of_setting(self, name: str, *keys: str | int) -> Place | None:
        """Where a setting, or a key below it, is given its value."""
        return place_of_setting(self.settings_name, name, *keys)

    def places_of_text(self, module: str, text: str) -> list[Place]:
        """The lines of a module, outside of imports and comments, in which the text stands."""
        loaded = sys.modules.get(module)
        pattern = re.compile(rf"^(?!\s*(from|import)\b).*{re.escape(text)}", re.MULTILINE)
        return [*places([loaded], pattern)] if loaded else []

    def name_of(self, thing: Any) -> str:
        """The qualified name of a view, a function or an instance's class."""
        return qualified(thing)

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

    @cached_property
    def has_async_routes(self) -> bool:
        """Whether Django runs any of the views on the event loop."""
        return any(iscoroutinefunction(route.callback) for route in self.routes)


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
    found, app = loaded.found, loaded.application
    if found.name.endswith("()"):  # runasgi has made it
        return Inspected(settings, loaded.settings_module, None, app, loaded.ours, notes=loaded.notes)
    app = importer.import_from_string(found.name, found.origin)  # without what runasgi puts in front
    return Inspected(settings, loaded.settings_module, found, app, loaded.ours, notes=loaded.notes)


def _written(pattern: Any) -> str | None:
    """What a pattern matches; None if that isn't one text."""
    if pattern.regex.groups:
        return None
    if not isinstance(pattern, RegexPattern):
        return str(pattern)
    possible = normalize(pattern.regex.pattern)
    return possible[0][0] if len(possible) == 1 and not possible[0][1] else None


def _is_here(address: Address) -> bool:
    return not isinstance(address, TCPAddress) or is_loopback(address.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine is meant: ``localhost``, ``127.0.0.1``, ``::1``, ``127.0.0.0/8``, ``unix:``."""
    return host.lower().strip("[]").startswith(("localhost", "127.", "::1", "unix"))


def _walk(resolver: URLResolver, above: tuple[URLResolver, ...]) -> Iterator[Route]:
    chain = (*above, resolver)
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, chain)
        else:
            parts: tuple[URLResolver | URLPattern, ...] = (*chain[1:], pattern)
            yield Route("/" + "".join(str(part.pattern) for part in parts), pattern.callback, pattern, chain)
