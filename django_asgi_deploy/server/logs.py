"""The server's log lines follow the project's LOGGING; where that says nothing of them, they look as uvicorn's do."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Literal

from uvicorn.logging import DefaultFormatter

ACCESS_LOGGER = "django_asgi_deploy.access"


@contextmanager
def loggers_kept_enabled() -> Iterator[None]:
    """Enables again what a second ``django.setup()`` inside disables.

    Every LOGGING without ``disable_existing_loggers: False`` disables what exists when it is applied again, which a
    stock ``asgi.py`` does (https://github.com/Kludex/uvicorn/issues/180).
    """
    disabled = [logger for logger in _loggers() if logger.disabled]
    yield
    for logger in _loggers():
        if logger not in disabled:
            logger.disabled = False


def configure(access_log: str | Literal[False], *, colour: bool | None = None) -> None:
    """Give uvicorn's usual look to those of the server's loggers whose lines would reach no handler.

    ``access_log``: as in ACCESS_LOG; JSON is for programs, and gets no level in front. ``colour``: None decides by the
    terminal and NO_COLOR (https://no-color.org).
    """
    for logger in _loggers():
        if logger.name.partition(".")[0] in ("uvicorn", "django_asgi_deploy"):
            logger.disabled = False  # by the first setup, if uvicorn was imported before it
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_a_websocket)
    line = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=_colour(sys.stderr, colour))
    request = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=_colour(sys.stdout, colour))
    # The access log first: once its parent has a handler, it would inherit that one.
    _fall_back(ACCESS_LOGGER, sys.stdout, logging.Formatter("%(message)s") if access_log == "json" else request)
    if access_log and access_log != "auto" and not logging.getLogger(ACCESS_LOGGER).level:
        logging.getLogger(ACCESS_LOGGER).setLevel(logging.INFO)  # whoever asks for it wants it whatever the root's is
    _fall_back("uvicorn", sys.stderr, line)
    _fall_back("django_asgi_deploy", sys.stderr, line)


def _is_not_of_a_websocket(record: logging.LogRecord) -> bool:
    """uvicorn writes of each handshake here, whatever its access log is set to, with all secrets of the query."""
    return not str(record.msg).startswith('%s - "WebSocket %s" ')


@contextmanager
def without_start_and_end() -> Iterator[None]:
    """For servers that come and go: not the lines about each start and end, nor about requests that are cut."""
    of_the_process = ("uvicorn/server.py", "uvicorn/lifespan/on.py", "django_asgi_deploy/server/worker.py")

    def is_worth_a_line(record: logging.LogRecord) -> bool:
        is_expected = record.levelno < logging.WARNING or str(record.msg).startswith("Cancel ")
        return not (is_expected and record.pathname.endswith(of_the_process))

    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "django_asgi_deploy.server")]
    for logger in loggers:
        logger.addFilter(is_worth_a_line)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_worth_a_line)


def _loggers() -> list[logging.Logger]:
    return [each for each in list(logging.root.manager.loggerDict.values()) if isinstance(each, logging.Logger)]


def _colour(stream: IO[str], wanted: bool | None) -> bool:
    if wanted is not None:
        return wanted
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _fall_back(name: str, stream: IO[str], formatter: logging.Formatter) -> None:
    logger = logging.getLogger(name)
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
