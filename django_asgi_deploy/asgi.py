"""The application: Django's handler inside the layers that the settings ask for."""

import inspect
import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler as DjangosHandler
from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy import conf, importer
from django_asgi_deploy.applications import import_application
from django_asgi_deploy.exceptions import ConfigurationError, ProjectError
from django_asgi_deploy.handlers.asgi import ASGIHandler
from django_asgi_deploy.layers.lifespan import Lifespan
from django_asgi_deploy.layers.mount import Mount
from django_asgi_deploy.layers.static import ThroughFinders
from django_asgi_deploy.layers.websocket import OriginCheck, deny
from django_asgi_deploy.layers.wrap import Middleware
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

Layer = Callable[[ASGIApp], ASGIApp]


class ByType:
    """An application for each type of scope."""

    def __init__(self, **apps: ASGIApp) -> None:
        self.apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.apps[scope["type"]](scope, receive, send)


class Application(ByType):
    """What ``get_asgi_application`` returns: an ASGI 3 callable for HTTP, WebSocket and lifespan.

    ``asgi_deploy_settings`` (conf.Settings) marks it as ours and says what it was built from; ``handler`` is the
    request handler inside all layers. ``made`` has all there are: one may be inside what ``asgi.py`` wraps around it.
    """

    made: ClassVar["weakref.WeakSet[Application]"] = weakref.WeakSet()

    def __init__(self, settings: conf.Settings, handler: DjangosHandler, **apps: ASGIApp) -> None:
        super().__init__(**apps)
        self.made.add(self)
        self.asgi_deploy_settings = settings
        self.handler = handler


def get_asgi_application(settings_module: str | None = None) -> Application:
    """Django's ASGI application in our assembly; the place of ``django.core.asgi.get_asgi_application``.

    ``settings_module`` is used when DJANGO_SETTINGS_MODULE isn't set in the environment.
    Raises ProjectError if the settings can't be found or imported, ConfigurationError if ASGI_DEPLOY is wrong.
    """
    if not django_settings.configured:
        found = importer.find_settings_module(default=settings_module)
        os.environ[importer.VARIABLE] = found.name
        importer.import_settings_module(found)
    if not apps.ready:  # a second django.setup() would disable the loggers made since the first
        django.setup(set_prefix=False)
    return assemble(conf.load())


def assemble(settings: conf.Settings, djangos: DjangosHandler | None = None) -> Application:
    """The request handler inside its layers. ``djangos`` is used where HANDLER asks for Django's own."""
    handler = _handler(settings, djangos)
    on_shutdown = handler.aclose if isinstance(handler, ASGIHandler) else None
    innermost: dict[str, ASGIApp] = {
        "http": cast(ASGIApp, handler),
        "websocket": _websocket(settings),
        "lifespan": Lifespan(on_shutdown),
    }
    layers: list[tuple[str, Layer, bool]] = [  # by type of scope; outermost first
        *(("*", layer, True) for layer in _middleware(settings)),
        ("*", partial(Mount, _mounts(settings)), bool(settings.mounts)),
        ("http", ThroughFinders, settings.static == "auto" and _finders_are_wanted()),
        ("websocket", _origin_check(settings), settings.websocket is not None),
    ]
    apps = _layered(innermost, [(kind, layer) for kind, layer, is_wanted in layers if is_wanted])
    return Application(settings, handler, **apps)


def _layered(apps: dict[str, ASGIApp], layers: list[tuple[str, Layer]]) -> dict[str, ASGIApp]:
    whole: ASGIApp | None = None  # once there is a layer around all types
    for kind, layer in reversed(layers):
        if kind == "*":
            whole = layer(whole or ByType(**apps))
        else:
            apps = {**apps, kind: layer(apps[kind])}
    return dict.fromkeys(apps, whole) if whole else apps


def _handler(settings: conf.Settings, djangos: DjangosHandler | None) -> DjangosHandler:
    if settings.handler == "django":
        return djangos or DjangosHandler()
    return ASGIHandler(settings.threads, settings.thread_queue_timeout_seconds)


def _finders_are_wanted() -> bool:
    return (
        django_settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and bool(django_settings.STATIC_URL)
    )


# ------------------------------------------------------------------ what the project brings


def _middleware(settings: conf.Settings) -> list[Layer]:
    layers: list[Layer] = []
    for number, entry in enumerate(settings.middleware):
        path, options = (entry, {}) if isinstance(entry, str) else entry
        where = f"{settings.where('MIDDLEWARE')}, entry {number + 1}"
        cls = importer.import_from_string(path, where)
        problem = _problem_with(cls, options)
        if problem:
            raise ConfigurationError([f"{path!r} ({where}) {problem}"])
        layers.append(partial(_made, Middleware(cls, **options), f"{path!r} ({where})"))
    return layers


def _made(middleware: Middleware, what: str, app: ASGIApp) -> ASGIApp:
    try:
        made = middleware(app)
    except Exception as error:
        raise ProjectError.from_exception(f"{what} can't be made:", error) from error
    if not callable(made):
        raise ConfigurationError([f"{what} makes {type(made).__name__}, which can't be called."])
    return made


def _problem_with(cls: Any, options: dict[str, Any]) -> str:
    if not callable(cls):
        return "can't be called; expected a class that takes the application."
    if inspect.isclass(cls) and issubclass(cls, MiddlewareMixin):
        return "is Django's kind of middleware; that belongs in settings.MIDDLEWARE."
    try:
        inspect.signature(cls).bind(None, **options)
    except TypeError as error:
        given = ", ".join(["app", *(f"{name}={value!r}" for name, value in options.items())])
        return f"can't be called with ({given}): {error}."
    except ValueError:
        pass  # C code doesn't tell
    return ""


def _mounts(settings: conf.Settings) -> dict[str, ASGIApp]:
    where = settings.where("MOUNTS")
    instead = "Mount it as a2wsgi.WSGIMiddleware(...)."
    return {
        prefix: import_application(path, f'{where}["{prefix}"]', if_wsgi=instead)
        for prefix, path in settings.mounts.items()
    }


def _websocket(settings: conf.Settings) -> ASGIApp:
    if settings.websocket is None:
        return deny
    return import_application(settings.websocket, settings.where("WEBSOCKET"), if_wsgi="WSGI knows no WebSockets.")


def _origin_check(settings: conf.Settings) -> Layer:
    hosts = list(django_settings.ALLOWED_HOSTS)
    if django_settings.DEBUG and not hosts:
        hosts = [".localhost", "127.0.0.1", "[::1]"]  # as Django takes it
    return partial(OriginCheck, hosts=hosts, origins=settings.websocket_allowed_origins)
