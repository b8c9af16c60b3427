"""For the project's LOGGING: the id of the request that a record belongs to, and records as JSON.

::

    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": "django_asgi_deploy.logging.RequestIDFilter"}},
        "formatters": {"json": {"()": "django_asgi_deploy.logging.JSONFormatter"}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "json"},
        },
        "root": {"handlers": ["console"], "level": "INFO"},
    }
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol


class Identified(Protocol):
    """What has a request's id, or makes it when it is asked for."""

    @property
    def id(self) -> str: ...


current: ContextVar[Identified | None] = ContextVar("django_asgi_deploy.request", default=None)


def get_request_id() -> str | None:
    """The id of the request that this code runs for; None outside of one, and while nothing asks for ids."""
    request = current.get()
    return None if request is None else request.id


class RequestIDFilter(logging.Filter):
    """Gives each record a ``request_id``: "-" outside of a request. Lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "request_id"):
            record.request_id = get_request_id() or "-"
        return True


class JSONFormatter(logging.Formatter):
    """One line of JSON per record: time (UTC), level, logger, message, request_id, pid, and the traceback if any.

    For a line of the access log, the fields of the request are there in the place of the message.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": utc(record.created),
            "level": record.levelname,
            "logger": record.name,
        }
        request = getattr(record, "request_fields", None)
        if request is None:
            fields |= {
                "message": record.getMessage(),
                "request_id": getattr(record, "request_id", None) or get_request_id(),
                "pid": record.process,
            }
        else:
            fields |= request
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(fields, default=str, ensure_ascii=True)


def utc(seconds: float) -> str:
    """``2026-11-25T09:30:00.123Z``"""
    whole = int(seconds)
    return f"{_second(whole)}.{str(1000 + int((seconds - whole) * 1000))[1:]}Z"


@lru_cache(4)  # most lines are of the same second as the one before
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
