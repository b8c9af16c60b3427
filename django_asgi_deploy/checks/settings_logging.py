"""LOGGING: what mutes the server, waits for the network, or rotates one file from several processes. (112 to 114)"""

import logging.handlers
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings as django_settings
from django.utils.log import AdminEmailHandler
from django.utils.module_loading import import_string

from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected

WAITING = (
    logging.handlers.SMTPHandler,
    logging.handlers.HTTPHandler,
    logging.handlers.SocketHandler,
    AdminEmailHandler,
)
ROTATING = (logging.handlers.RotatingFileHandler, logging.handlers.TimedRotatingFileHandler)
# Django logs these from a thread, or before there is a server.
SAFE_LOGGERS = ("django", "uvicorn")


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((muted_server, waiting_handlers, rotated_files), inspected)


def muted_server(inspected: Inspected) -> Iterator[Finding]:
    config = _config()
    if (
        not config
        or django_settings.LOGGING_CONFIG != "logging.config.dictConfig"
        or config.get("disable_existing_loggers", True) is False
        or config.get("incremental")
        or any(name.partition(".")[0] == "uvicorn" for name in config.get("loggers") or {})
    ):
        return
    ours = inspected.handler == "pooled"
    kept = " runasgi keeps them; started by its own command," if ours else ""
    yield found(
        112,
        f"LOGGING disables the loggers that exist already, the server's among them:{kept} uvicorn writes no access log "
        "and no traceback, and a site that fails is silent.",
        'In LOGGING: "disable_existing_loggers": False.',
        level="info" if ours else "error",
        object="LOGGING",
        place=inspected.place_of_setting("LOGGING"),
    )


def waiting_handlers(inspected: Inspected) -> Iterator[Finding]:
    waiting = {name: cls for name, handler in _handlers() if (cls := _class_of(handler)) and _waits(cls, handler)}
    for logger, config, keys in _loggers():
        names = [name for name in config.get("handlers") or () if name in waiting]
        if not names:
            continue
        told = ", ".join(f"{name!r} ({waiting[name].__name__})" for name in names)
        yield found(
            113,
            f"The logger {logger or 'root'!r} waits for the network with every line that its handler {told} takes: in "
            "asynchronous code all other visitors wait, too.",
            "Put a logging.handlers.QueueHandler with a QueueListener in front, as in the standard library's cookbook.",
            object=f"LOGGING, logger {logger or 'root'!r}",
            place=inspected.place_of_setting("LOGGING", *keys),
        )


def rotated_files(inspected: Inspected) -> Iterator[Finding]:
    if inspected.is_development and inspected.workers == 1:
        return
    used = {name for _, config, _ in _loggers(with_djangos=True) for name in config.get("handlers") or ()}
    for name, handler in _handlers():
        cls = _class_of(handler)
        if cls and issubclass(cls, ROTATING) and name in used:
            yield found(
                114,
                f"Every worker rotates the file of the log handler {name!r} by itself: lines are lost, and old files "
                "are overwritten.",
                'Take "logging.handlers.WatchedFileHandler" and let logrotate rotate, or log to standard error.',
                level="warning" if inspected.workers > 1 else "info",
                object=f"LOGGING, handler {name!r}",
                place=inspected.place_of_setting("LOGGING", "handlers", name),
            )


def _config() -> Mapping[str, Any]:
    config = django_settings.LOGGING
    return config if isinstance(config, Mapping) else {}


def _handlers() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, handler in (_config().get("handlers") or {}).items():
        if isinstance(handler, Mapping):
            yield name, handler


def _loggers(with_djangos: bool = False) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """Name, configuration and place in LOGGING; the root's name is empty."""
    config = _config()
    if isinstance(config.get("root"), Mapping):
        yield "", config["root"], ("root",)
    for name, logger in (config.get("loggers") or {}).items():
        if isinstance(logger, Mapping) and (with_djangos or name.partition(".")[0] not in SAFE_LOGGERS):
            yield name, logger, ("loggers", name)


def _class_of(handler: Mapping[str, Any]) -> type | None:
    given = handler.get("class") or handler.get("()")
    try:
        cls = import_string(given) if isinstance(given, str) else given
    except ImportError:  # logging says so
        return None
    return cls if isinstance(cls, type) else None


def _waits(cls: type, handler: Mapping[str, Any]) -> bool:
    if issubclass(cls, logging.handlers.DatagramHandler):
        return False
    if issubclass(cls, logging.handlers.SysLogHandler):
        return handler.get("socktype") in (socket.SOCK_STREAM, "ext://socket.SOCK_STREAM")
    return issubclass(cls, WAITING)
