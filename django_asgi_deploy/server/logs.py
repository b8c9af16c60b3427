"""The server's log lines follow the project's LOGGING; where that says nothing of them, they look as uvicorn's do."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

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


def configure(*, colour: bool | None = None, bare: bool = False) -> None:
    """Give uvicorn's usual look to those of the server's loggers whose lines would reach no handler.

    ``colour``: None decides by the terminal and NO_COLOR (https://no-color.org). ``bare``: lines of the access log are
    for programs, and get no level in front.
    """
    for logger in _loggers():
        if logger.name.partition(".")[0] in ("uvicorn", "django_asgi_deploy"):
            logger.disabled = False  # by the first setup, if uvicorn was imported before it
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_a_websocket)
    line = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=_colour(sys.stderr, colour))
    request = DefaultFormatter("%(levelprefix)s %(message)s", use_colors=_colour(sys.stdout, colour))
    # The access log first: once its parent has a handler, it would inherit that one.
    _fall_back(ACCESS_LOGGER, sys.stdout, logging.Formatter("%(message)s") if bare else request)
    _fall_back("uvicorn", sys.stderr, line)
    _fall_back("django_asgi_deploy", sys.stderr, line)


def _is_not_of_a_websocket(record: logging.LogRecord) -> bool:
    """uvicorn writes of each handshake here, whatever its access log is set to, with all secrets of the query."""
    return not str(record.msg).startswith('%s - "WebSocket %s" ')


@contextmanager
def without_start_and_end() -> Iterator[None]:
    """For servers that come and go: not uvicorn's lines about each start and end, nor about requests that are cut."""

    def is_worth_a_line(record: logging.LogRecord) -> bool:
        is_about_the_process = record.pathname.endswith(("uvicorn/server.py", "uvicorn/lifespan/on.py"))
        is_expected = record.levelno < logging.WARNING or str(record.msg).startswith("Cancel ")
        return not (is_about_the_process and is_expected)

    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(is_worth_a_line)
    try:
        yield
    finally:
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
