"""The application: Django's handler inside the layers that the settings ask for."""

import os
import weakref
from collections.abc import Callable
from typing import ClassVar, cast

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler as DjangosHandler

from django_asgi_deploy import conf, importer
from django_asgi_deploy.handlers.asgi import ASGIHandler
from django_asgi_deploy.layers.lifespan import Lifespan
from django_asgi_deploy.layers.static import through_finders
from django_asgi_deploy.layers.websocket import deny
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send


class Application:
    """What ``get_asgi_application`` returns: an ASGI 3 callable for HTTP, WebSocket and lifespan.

    ``asgi_deploy_settings`` (conf.Settings) marks it as ours and says what it was built from; ``handler`` is the
    request handler inside all layers. ``made`` has all there are: one may be inside what ``asgi.py`` wraps around it.
    """

    made: ClassVar["weakref.WeakSet[Application]"] = weakref.WeakSet()

    def __init__(self, settings: conf.Settings, handler: DjangosHandler, **apps: ASGIApp) -> None:
        self.made.add(self)
        self.asgi_deploy_settings = settings
        self.handler = handler
        self.apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.apps[scope["type"]](scope, receive, send)


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
    layers: list[tuple[Callable[[ASGIApp], ASGIApp], bool]] = [  # outermost first
        (through_finders, settings.static == "auto" and _finders_are_wanted()),
    ]
    app = cast(ASGIApp, handler)
    for layer, is_wanted in reversed(layers):
        if is_wanted:
            app = layer(app)
    on_shutdown = handler.aclose if isinstance(handler, ASGIHandler) else None
    return Application(settings, handler, http=app, websocket=deny, lifespan=Lifespan(on_shutdown))


def _handler(settings: conf.Settings, djangos: DjangosHandler | None) -> DjangosHandler:
    if settings.handler == "django":
        return djangos or DjangosHandler()
    return ASGIHandler(settings.threads, settings.thread_queue_timeout_seconds)


def _finders_are_wanted() -> bool:
    return (
        django_settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and bool(django_settings.STATIC_URL)
    )
