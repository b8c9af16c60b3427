"""Live servers for tests, which run what ``runasgi`` runs: the project's ``asgi.py``, with lifespan and WebSockets.

As Django's (``django.test.LiveServerTestCase``), but over ASGI.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousFileOperation
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest
from django.test import LiveServerTestCase as DjangosLiveServerTestCase
from django.test.utils import modify_settings
from django.utils._os import safe_join
from django.utils.functional import classproperty
from django.views.static import serve

from django_asgi_deploy import conf, importer, project
from django_asgi_deploy.layers.static import ThroughFinders
from django_asgi_deploy.server import config, logs
from django_asgi_deploy.server.thread import ServerThread
from django_asgi_deploy.types import ASGIApp

Connections = Mapping[str, BaseDatabaseWrapper]


class LiveServerThread(ServerThread):
    """In the place of Django's ``LiveServerThread``, and made like it. ``static_handler`` is for WSGI and not used."""

    def __init__(
        self, host: str, static_handler: object = None, connections_override: Connections | None = None, port: int = 0
    ) -> None:
        super().__init__(_load, host, port)
        self.connections_override = connections_override or {}

    def run(self) -> None:
        with _shared(self.connections_override):
            super().run()
        connections.close_all()


class LiveServerTestCase(DjangosLiveServerTestCase):
    """Django's, over ASGI: ``live_server_url``, ``host``, ``port``, ``allowed_host``, and all of TransactionTestCase.

    Static files come through the finders, as with ``StaticLiveServerTestCase``, media files from MEDIA_ROOT.
    """

    server_thread_class = cast(Any, LiveServerThread)

    @classproperty
    def live_server_websocket_url(cls) -> str:
        """The address with ``ws:`` in the place of ``http:``."""
        return f"ws://{cls.host}:{cls.server_thread.port}"


class LiveServer:
    """A running server; as text its address."""

    def __init__(self, host: str, port: int) -> None:
        self.url = f"http://{host}:{port}"
        self.websocket_url = f"ws://{host}:{port}"

    def __str__(self) -> str:
        return self.url

    def __add__(self, path: str) -> str:
        return self.url + path


@contextmanager
def live_server(host: str = "localhost", port: int = 0) -> Iterator[LiveServer]:
    """A server for the block; what LiveServerTestCase does for a class.

    Raises ASGIDeployError if it can't start.
    """
    in_memory = {each.alias: each for each in connections.all() if _is_in_memory(each)}
    with ExitStack() as stack:
        stack.enter_context(modify_settings(ALLOWED_HOSTS={"append": host}))
        for connection in in_memory.values():
            connection.inc_thread_sharing()
            stack.callback(connection.dec_thread_sharing)
        thread = LiveServerThread(host, connections_override=in_memory, port=port)
        thread.start()
        stack.callback(thread.terminate)
        thread.is_ready.wait()
        if thread.error:
            raise thread.error
        yield LiveServer(host, thread.port)


def _is_in_memory(connection: Any) -> bool:
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


_in_use: list[Connections] = []  # of all live servers that run


@contextmanager
def _shared(overrides: Connections) -> Iterator[None]:
    """Every thread that asks for a connection gets the test's own: a database in memory has no second one.

    Django sets them in the threads that it starts itself. Here threads belong to the handler, whichever it is.
    """
    setattr(connections, "create_connection", _create_connection)  # noqa: B010 - a method, to mypy
    _in_use.append(overrides)
    try:
        yield
    finally:
        _in_use.remove(overrides)


def _create_connection(alias: str) -> Any:
    for overrides in _in_use:
        if alias in overrides:
            return overrides[alias]
    return type(connections).create_connection(connections, alias)


# ------------------------------------------------------------------ the application


def _load() -> tuple[ASGIApp, conf.Settings]:
    """The project's application, made anew: settings may be overridden, and one that was closed stays so."""
    settings = conf.load(checks=[config.problems])
    found = project.find_application(settings, importer.find_settings_module())
    if found:
        sys.modules.pop(importer.module_of(found.name), None)
    with logs.loggers_kept_enabled():
        app = project.load(settings, settings_option=None, check=None).application
    if django_settings.MEDIA_ROOT and django_settings.MEDIA_URL != "/":
        app = cast(ASGIApp, _FromFolder(app, django_settings.MEDIA_URL, django_settings.MEDIA_ROOT))
    if apps.is_installed("django.contrib.staticfiles") and django_settings.STATIC_URL:
        return ThroughFinders(app), settings
    return app, settings


class _FromFolder(ASGIStaticFilesHandler):
    """The files of a folder at a URL, in front of an application."""

    def __init__(self, app: ASGIApp, url: str, folder: str | Path) -> None:
        self.url = url
        self.folder = folder
        super().__init__(cast(ASGIHandler, app))

    def get_base_url(self) -> str:
        return self.url

    def _should_handle(self, path: str) -> bool:
        if not super()._should_handle(path):
            return False
        try:
            return Path(safe_join(self.folder, self.file_path(path))).is_file()
        except (SuspiciousFileOperation, ValueError):
            return False

    def serve(self, request: HttpRequest) -> Any:
        return serve(request, self.file_path(request.path), document_root=str(self.folder))
