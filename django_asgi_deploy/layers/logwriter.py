"""Many lines of a logger at once.

A record, and its way through logging, costs several times what the line in it does. Where all that the handlers do with
a record is to write its message to a stream, the lines can be written there together, and nobody sees a difference.
Where there is more to it (a formatter, a filter, a queue, a record factory, a callHandlers() that is Sentry's), it
takes records.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from logging.handlers import WatchedFileHandler
from typing import Any, TypeGuard

# PIPE_BUF, see pipe(7): several workers write to one pipe, and more than this in one piece may be torn.
TOGETHER_BYTES = 4096

Plain = logging.StreamHandler[Any]

_KINDS = (logging.StreamHandler, logging.FileHandler, WatchedFileHandler)
_FORMATS = {(logging.PercentStyle, "%(message)s"), (logging.StrFormatStyle, "{message}")}


def plain_handlers(logger: logging.Logger, level: int) -> list[Plain] | None:
    """The handlers that get the logger's records of this level; None if one of them does more than write messages."""
    way = getattr(type(logger).callHandlers, "__globals__", None)
    if logger.filters or way is not vars(logging) or logging.getLogRecordFactory() is not logging.LogRecord:
        return None
    found: list[Plain] = []
    each: logging.Logger | None = logger
    while each is not None:
        for handler in each.handlers:
            if handler.level <= level:
                if not _is_plain(handler):
                    return None
                found.append(handler)
        each = each.parent if each.propagate else None
    return found


def _is_plain(handler: logging.Handler) -> TypeGuard[Plain]:
    formatter = handler.formatter
    return (
        isinstance(handler, logging.StreamHandler)
        and type(handler) in _KINDS
        and not handler.filters
        and handler.stream is not None  # of a file that is opened later
        and (
            formatter is None
            or (type(formatter) is logging.Formatter and (type(formatter._style), formatter._fmt) in _FORMATS)
        )
    )


def write(handlers: Iterable[Plain], lines: list[str], last_record: Callable[[], logging.LogRecord]) -> None:
    """Write the lines to each of the handlers; if that fails, ``last_record`` is made for its ``handleError()``."""
    for handler in handlers:
        handler.acquire()
        try:
            if isinstance(handler, WatchedFileHandler):
                handler.reopenIfNeeded()
            for text in _pieces(lines, handler.terminator):
                handler.stream.write(text)
                handler.flush()
        except Exception:
            handler.handleError(last_record())
        finally:
            handler.release()


def _pieces(lines: list[str], terminator: str) -> Iterator[str]:
    """As many lines together as may be."""
    piece, size = "", 0
    for line in lines:
        more = (len(line) if line.isascii() else 4 * len(line)) + len(terminator)
        if piece and size + more > TOGETHER_BYTES:
            yield piece
            piece, size = "", 0
        piece += line + terminator
        size += more
    if piece:
        yield piece
