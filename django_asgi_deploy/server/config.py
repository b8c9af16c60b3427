"""From our settings to uvicorn's: the only place that knows uvicorn's option names."""

import asyncio
import difflib
import inspect
import ssl
import types
import typing
from collections.abc import Mapping
from importlib import util
from typing import Any, Literal, Protocol

import uvicorn
from uvicorn.config import HTTP_PROTOCOLS, LOOP_FACTORIES
from uvicorn.importer import ImportFromStringError

from django_asgi_deploy.exceptions import ConfigurationError
from django_asgi_deploy.importer import import_from_string
from django_asgi_deploy.server.deadlines import Wait
from django_asgi_deploy.server.protocol import limited
from django_asgi_deploy.server.writes import batch_writes
from django_asgi_deploy.types import ASGIApp

# What uvicorn calls it, and the option of ours to use instead.
NAMED_BY_US = {
    "host": "BIND",
    "port": "BIND",
    "uds": "BIND",
    "fd": "BIND",
    "loop": "LOOP",
    "http": "HTTP",
    "workers": "WORKERS",
    "backlog": "BACKLOG",
    "access_log": "ACCESS_LOG",
    "limit_max_requests": "MAX_REQUESTS",
    "limit_max_requests_jitter": "MAX_REQUESTS_JITTER",
    "h11_max_incomplete_event_size": "MAX_HEADER_BYTES",
    "timeout_keep_alive": "KEEP_ALIVE_SECONDS",
    "timeout_graceful_shutdown": "GRACEFUL_TIMEOUT_SECONDS",
    "ssl_certfile": "SSL_CERTFILE",
    "ssl_keyfile": "SSL_KEYFILE",
    "ssl_ca_certs": "SSL_CA_CERTS",
    "proxy_headers": "TRUSTED_PROXIES",
    "forwarded_allow_ips": "TRUSTED_PROXIES",
    "root_path": "ROOT_PATH",
    "app": "APPLICATION",
    "log_config": "the project's LOGGING",
    "log_level": "the project's LOGGING",
    "use_colors": "NO_COLOR or --no-color",
}
# What uvicorn's own command does with these has no place here.
WITHOUT_EFFECT = frozenset(
    parameter
    for parameter in inspect.signature(uvicorn.Config).parameters
    if parameter.startswith("reload") or parameter in ("env_file", "factory", "interface")
)


class ServerSettings(Protocol):
    """The options that concern the server; conf.Settings has them."""

    @property
    def loop(self) -> str: ...
    @property
    def http(self) -> str: ...
    @property
    def max_header_bytes(self) -> int: ...
    @property
    def backlog(self) -> int: ...
    @property
    def header_timeout_seconds(self) -> int: ...
    @property
    def body_timeout_seconds(self) -> int: ...
    @property
    def send_timeout_seconds(self) -> int: ...
    @property
    def keep_alive_seconds(self) -> int: ...
    @property
    def graceful_timeout_seconds(self) -> int: ...
    @property
    def ssl_certfile(self) -> str | None: ...
    @property
    def ssl_keyfile(self) -> str | None: ...
    @property
    def ssl_ca_certs(self) -> str | None: ...
    @property
    def ssl_handshake_timeout_seconds(self) -> int: ...
    @property
    def uvicorn(self) -> Mapping[str, Any]: ...


class Config(uvicorn.Config):
    """uvicorn's, with what it has no name for."""

    deadlines: Mapping[Wait, float]
    ssl_handshake_timeout: float


def problems(settings: ServerSettings) -> list[str]:
    """What is wrong with UVICORN, LOOP and HTTP, one line each."""
    known = inspect.signature(uvicorn.Config).parameters
    found = []
    for name in settings.uvicorn:
        where = f'UVICORN["{name}"]'
        if name in NAMED_BY_US:
            found.append(f"{where}: use {NAMED_BY_US[name]} instead.")
        elif name in WITHOUT_EFFECT:
            found.append(f"{where}: has no effect under runasgi; leave it out.")
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            found.append(f"{where}: uvicorn {uvicorn.__version__} has no such option{hint}")
        elif not _fits(settings.uvicorn[name], name):
            found.append(f"{where} = {settings.uvicorn[name]!r}: expected {inspect.formatannotation(_hint(name))}.")
    choices: dict[str, list[str]] = {
        "LOOP": [name for name in LOOP_FACTORIES if name != "none"],
        "HTTP": [*HTTP_PROTOCOLS],
    }
    for key, names in choices.items():
        value = getattr(settings, key.lower())
        if value not in names and ":" not in value:
            expected = ", ".join(names)
            found.append(f'{key} = {value!r}: expected {expected}, or an import string such as "package.module:name".')
    return found


def _hint(name: str) -> Any:
    return typing.get_type_hints(uvicorn.Config.__init__)[name]


def _fits(value: object, name: str) -> bool:
    """Whether uvicorn's own annotation allows the value, as far as that is made of plain types and choices."""
    hint = _hint(name)
    alternatives = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(_is_a(value, alternative) for alternative in alternatives)


def _is_a(value: object, hint: object) -> bool:
    if hint is None or hint is type(None):
        return value is None
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return type(value) in (int, float)
    if hint in (int, bool, str):
        return type(value) is hint
    return typing.get_origin(hint) is not list or isinstance(value, list)


def build_config(settings: ServerSettings, app: ASGIApp, *, lifespan: bool | None, websockets: bool = True) -> Config:
    """A loaded Config. ``lifespan``: True if the application is known to answer it, None if it may. ``websockets``:
    whether it may accept any.

    Raises ConfigurationError if a certificate, the loop or the protocol can't be loaded.
    """
    options: dict[str, Any] = {
        "ssl_cert_reqs": ssl.CERT_REQUIRED if settings.ssl_ca_certs else ssl.CERT_NONE,
        "lifespan": "on" if lifespan else "auto",
        "h11_max_incomplete_event_size": settings.max_header_bytes,
        **({} if websockets or not util.find_spec("websockets") else {"ws": _websocket_protocol}),
        **settings.uvicorn,
    }
    try:
        config = Config(
            app,
            loop=_imported(settings.loop, "LOOP", LOOP_FACTORIES),
            http=limited(_imported(settings.http, "HTTP", HTTP_PROTOCOLS), settings.max_header_bytes),
            workers=1,
            interface="asgi3",
            backlog=settings.backlog,
            access_log=False,  # ours, like what a proxy says, is noted in front of the application
            proxy_headers=False,
            log_config=None,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.graceful_timeout_seconds,
            ssl_certfile=settings.ssl_certfile,
            ssl_keyfile=settings.ssl_keyfile,
            ssl_ca_certs=settings.ssl_ca_certs,
            **options,
        )
        config.load()
        config.get_loop_factory()
        batch_writes(config)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError([_tls_problem(settings, error)]) from None
    except (ImportError, ImportFromStringError, LookupError, TypeError, ValueError) as error:
        given = f"LOOP = {settings.loop!r}, HTTP = {settings.http!r}, UVICORN = {settings.uvicorn!r}"
        raise ConfigurationError([f"{given}: uvicorn can't use one of them ({error})."]) from None
    config.deadlines = {
        Wait.IDLE: settings.keep_alive_seconds,
        Wait.HEADERS: settings.header_timeout_seconds,
        Wait.BODY: settings.body_timeout_seconds,
        Wait.READING: settings.send_timeout_seconds,
    }
    config.ssl_handshake_timeout = settings.ssl_handshake_timeout_seconds
    return config


def _websocket_protocol(**options: Any) -> asyncio.Protocol:
    """What uvicorn's "auto" comes to, imported at the first handshake: for sites that mostly see none."""
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    assert AutoWebSocketsProtocol is not None
    return AutoWebSocketsProtocol(**options)


def _imported(value: str, key: str, known: Mapping[str, object]) -> Any:
    return value if value in known else import_from_string(value, key)


def _tls_problem(settings: ServerSettings, error: OSError) -> str:
    for key in ("SSL_CERTFILE", "SSL_KEYFILE", "SSL_CA_CERTS"):
        path = getattr(settings, key.lower())
        if path:
            try:
                open(path, "rb").close()
            except OSError as cause:
                return f"{key} = {path!r}: {cause.strerror}."
    reason = getattr(error, "reason", None) or error
    return (
        f"SSL_CERTFILE = {settings.ssl_certfile!r}, SSL_KEYFILE = {settings.ssl_keyfile!r}: not a PEM pair ({reason})."
    )


def implementations(config: uvicorn.Config) -> str:
    """The loop and HTTP implementation that "auto" came to, for the banner."""
    factory = config.get_loop_factory()
    loop = (factory.__module__ if factory else "asyncio").partition(".")[0]
    protocol = getattr(config.http_protocol_class, "name", None)
    protocol = protocol or config.http_protocol_class.__module__.rpartition(".")[2].removesuffix("_impl")
    return f"{loop}, {protocol}"
