"""The application: Django's handler inside the layers that the settings ask for."""

import os
from collections.abc import Callable
from typing import cast

import django
from django.apps import apps
from django.conf import settings as django_settings
from django.core.handlers.asgi import ASGIHandler

from django_asgi_deploy import conf, importer
from django_asgi_deploy.layers.lifespan import lifespan
from django_asgi_deploy.layers.static import through_finders
from django_asgi_deploy.layers.websocket import deny
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send


class Application:
    """What ``get_asgi_application`` returns: an ASGI 3 callable for HTTP, WebSocket and lifespan.

    ``asgi_deploy_settings`` (conf.Settings) marks it as ours and says what it was built from.
    """

    def __init__(self, settings: conf.Settings, **apps: ASGIApp) -> None:
        self.asgi_deploy_settings = settings
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


def assemble(settings: conf.Settings, handler: ASGIApp | None = None) -> Application:
    """The request handler (a new one if None is given) inside its layers."""
    layers: list[tuple[Callable[[ASGIApp], ASGIApp], bool]] = [  # outermost first
        (through_finders, settings.static == "auto" and _finders_are_wanted()),
    ]
    app = handler or cast(ASGIApp, ASGIHandler())
    for layer, is_wanted in reversed(layers):
        if is_wanted:
            app = layer(app)
    return Application(settings, http=app, websocket=deny, lifespan=lifespan)


def _finders_are_wanted() -> bool:
    return (
        django_settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and bool(django_settings.STATIC_URL)
    )
