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
from django.urls import set_script_prefix
from django.utils.deprecation import MiddlewareMixin

from django_asgi_deploy import collected, conf, importer, shutdown, signals
from django_asgi_deploy.applications import import_application
from django_asgi_deploy.exceptions import ConfigurationError, ProjectError
from django_asgi_deploy.handlers.asgi import ASGIHandler
from django_asgi_deploy.layers.accesslog import AccessLog
from django_asgi_deploy.layers.forward import live_together
from django_asgi_deploy.layers.health import Health, Readiness
from django_asgi_deploy.layers.lifespan import Contexts, Lifespan
from django_asgi_deploy.layers.limits import BodyLimit, Deadline, InFlight
from django_asgi_deploy.layers.metrics import Exposition, Metrics
from django_asgi_deploy.layers.mount import Mount
from django_asgi_deploy.layers.observe import Observed, Observer
from django_asgi_deploy.layers.proxy import Behind, Forwarding
from django_asgi_deploy.layers.static import Collected, ThroughFinders
from django_asgi_deploy.layers.websocket import OriginCheck, deny
from django_asgi_deploy.layers.wrap import Middleware
from django_asgi_deploy.proxies import TrustedHosts
from django_asgi_deploy.readiness import find_checks
from django_asgi_deploy.types import OBSERVATION, ASGIApp, Receive, Scope, Send

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
    ``forwarding`` makes the scope that the client meant, before any layer sees it.
    """

    made: ClassVar["weakref.WeakSet[Application]"] = weakref.WeakSet()

    def __init__(
        self, settings: conf.Settings, handler: DjangosHandler, forwarding: Forwarding, **apps: ASGIApp
    ) -> None:
        super().__init__(**apps)
        self.made.add(self)
        self.asgi_deploy_settings = settings
        self.handler = handler
        self.forwarding = forwarding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        await self.apps[kind](scope if kind == "lifespan" else self.forwarding(scope), receive, send)


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
    websocket = _websocket(settings)
    innermost: dict[str, ASGIApp] = {
        "http": cast(ASGIApp, handler),
        "websocket": websocket or deny,
        "lifespan": _lifespan(handler, websocket),
    }
    forwarding = _forwarding(settings)
    application: Application
    layers: list[tuple[str, Layer, bool]] = [  # by type of scope; outermost first
        *(("*", layer, True) for layer in _observing(settings, forwarding, handler)),
        (
            "*",
            partial(Contexts, managers=_managers(settings), application=lambda: application),
            _has_lifespan(settings),
        ),
        ("http", _health(settings, forwarding), bool(settings.live_path or settings.ready_path)),
        ("http", partial(BodyLimit, max_bytes=settings.max_body_bytes or 0), settings.max_body_bytes is not None),
        (
            "http",
            partial(Deadline, seconds=settings.request_timeout_seconds or 0),
            bool(settings.request_timeout_seconds),
        ),
        ("http", _in_flight(settings), settings.max_in_flight is not None),
        *(("*", layer, True) for layer in _middleware(settings)),
        ("*", partial(Mount, _mounts(settings)), bool(settings.mounts)),
        ("http", ThroughFinders, settings.static == "auto" and _finders_are_wanted()),
        *(("http", layer, True) for layer in _collected(settings)),
        ("websocket", _origin_check(settings), settings.websocket is not None),
    ]
    apps = _layered(innermost, [(kind, layer) for kind, layer, is_wanted in layers if is_wanted])
    application = Application(settings, handler, forwarding, **apps)
    return application


def in_front_of(app: ASGIApp, settings: conf.Settings) -> ASGIApp:
    """An application that isn't ours, behind the layers that don't care what is behind them."""
    forwarding = _forwarding(settings)
    for layer in reversed(_observing(settings, forwarding, None)):
        app = layer(app)
    return Behind(app, forwarding)


def _layered(apps: dict[str, ASGIApp], layers: list[tuple[str, Layer]]) -> dict[str, ASGIApp]:
    for kind, layer in reversed(layers):
        if kind == "*":
            is_whole = len(set(map(id, apps.values()))) == 1
            apps = dict.fromkeys(apps, layer(next(iter(apps.values())) if is_whole else ByType(**apps)))
        else:
            apps = {**apps, kind: layer(apps[kind])}
    return apps


def _handler(settings: conf.Settings, djangos: DjangosHandler | None) -> DjangosHandler:
    if settings.handler == "django":
        return djangos or DjangosHandler()
    return ASGIHandler(settings.threads, settings.thread_queue_timeout_seconds)


# ------------------------------------------------------------------ the network and its observers


def _forwarding(settings: conf.Settings) -> Forwarding:
    root_path = _root_path(settings)
    if root_path:
        # Before anybody asks for STATIC_URL outside of a request: Django would remember it without the prefix.
        set_script_prefix(root_path)
        for name in ("STATIC_URL", "MEDIA_URL"):
            django_settings.__dict__.pop(name, None)
    return Forwarding(TrustedHosts(settings.trusted_proxies), settings.forwarded_headers, root_path)


def _root_path(settings: conf.Settings) -> str:
    """ROOT_PATH, or what Django knows of it."""
    known = (django_settings.FORCE_SCRIPT_NAME or "").rstrip("/")
    if settings.root_path and known and settings.root_path != known:
        raise ConfigurationError(
            [
                f"ROOT_PATH = {settings.root_path!r} ({settings.where('ROOT_PATH')}) and FORCE_SCRIPT_NAME = {known!r} "
                "differ; leave FORCE_SCRIPT_NAME out."
            ]
        )
    return settings.root_path or known


def _observing(settings: conf.Settings, forwarding: Forwarding, handler: DjangosHandler | None) -> list[Layer]:
    """The layer for access log, request id and metrics; and the page that shows the metrics."""
    observers: list[Observer] = []
    layers: list[Layer] = []
    metrics = None
    if settings.access_log and (settings.access_log != "auto" or django_settings.DEBUG):
        observers.append(AccessLog(settings.access_log, settings.access_log_masked))
    if settings.metrics_path:
        metrics = _metrics(settings, handler)
        observers.append(metrics)
        layers.append(partial(Exposition, metrics=metrics, path=settings.metrics_path, trusts=forwarding.trusts_client))
    if observers or settings.request_id_header:
        if handler:
            _introduce(handler)
        observed = partial(
            Observed,
            observers=observers,
            request_id_header=settings.request_id_header,
            trusts=forwarding.trusts_peer,
            counts=metrics.open if metrics else None,
        )
        layers.insert(0, observed)
    return layers


def _metrics(settings: conf.Settings, handler: DjangosHandler | None) -> Metrics:
    try:
        return Metrics(handler.stats if isinstance(handler, ASGIHandler) else None)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            [
                f"METRICS_PATH ({settings.where('METRICS_PATH')}) needs {error.name}, which isn't installed. "
                'Type: python -m pip install "django-asgi-deploy[metrics]"'
            ]
        ) from None


def _introduce(handler: DjangosHandler) -> None:
    """Let the observation of a request know Django's request object, which alone knows the URL pattern."""
    known = handler.request_class

    def introduce(self: Any, scope: Scope, body_file: Any) -> None:
        observation = scope.get(OBSERVATION)
        if observation is not None:
            observation.request = self
        known.__init__(self, scope, body_file)

    handler.request_class = type(known.__name__, (known,), {"__init__": introduce, "__module__": known.__module__})


# ------------------------------------------------------------------ lifespan, health, limits


def _lifespan(handler: DjangosHandler, websocket: ASGIApp | None) -> ASGIApp:
    on_shutdown = handler.aclose if isinstance(handler, ASGIHandler) else None
    own = Lifespan(signals.startup, signals.shutdown, Application, on_shutdown)
    if websocket is None:
        return own
    return partial(live_together, [("The application", own), ("The application of WEBSOCKET", websocket)])


def _has_lifespan(settings: conf.Settings) -> bool:
    """Also for what else may have one: under a server that sends no lifespan somebody must think of it."""
    is_theirs = settings.lifespan or settings.middleware or settings.mounts or settings.websocket
    return bool(is_theirs) or any(signal.has_listeners(Application) for signal in (signals.startup, signals.shutdown))


def _health(settings: conf.Settings, forwarding: Forwarding) -> Layer:
    checks = find_checks(settings.ready_checks, settings.where("READY_CHECKS"))
    return partial(
        Health,
        live_path=settings.live_path,
        ready_path=settings.ready_path,
        readiness=Readiness(checks, settings.ready_timeout_seconds),
        is_draining=shutdown.is_announced,
        is_trusted=forwarding.trusts_client,
    )


def _in_flight(settings: conf.Settings) -> Layer:
    return partial(InFlight, maximum=settings.max_in_flight or 0, timeout_seconds=settings.in_flight_timeout_seconds)


# ------------------------------------------------------------------ static files


def _finders_are_wanted() -> bool:
    return (
        django_settings.DEBUG and apps.is_installed("django.contrib.staticfiles") and bool(django_settings.STATIC_URL)
    )


def _collected(settings: conf.Settings) -> list[Layer]:
    """The layer for STATIC_ROOT, if it is to be served from here, and can be."""
    if settings.static == "off" or collected.obstacle() is not None:
        return []
    return [partial(Collected, folder=collected.folder(), url=collected.url(), immutable=collected.hashed_names())]


# ------------------------------------------------------------------ what the project brings


def _managers(settings: conf.Settings) -> dict[str, Callable[[Any], Any]]:
    where = settings.where("LIFESPAN")
    managers = {}
    for path in settings.lifespan:
        make = importer.import_from_string(path, where)
        if not callable(make):
            raise ConfigurationError(
                [f"{path!r} ({where}) can't be called; expected what makes a context manager from the application."]
            )
        managers[f"{path} ({where})"] = make
    return managers


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


def _websocket(settings: conf.Settings) -> ASGIApp | None:
    if settings.websocket is None:
        return None
    return import_application(settings.websocket, settings.where("WEBSOCKET"), if_wsgi="WSGI knows no WebSockets.")


def _origin_check(settings: conf.Settings) -> Layer:
    hosts = list(django_settings.ALLOWED_HOSTS)
    if django_settings.DEBUG and not hosts:
        hosts = [".localhost", "127.0.0.1", "[::1]"]  # as Django takes it
    return partial(OriginCheck, hosts=hosts, origins=settings.websocket_allowed_origins)
