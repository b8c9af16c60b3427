"""One line per request: as text, as JSON, or in a format of your own.

Whatever a client sends is escaped, so that nobody can write a line of his own; and what looks like a secret in a
query string is masked.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from json.encoder import encode_basestring_ascii as quoted  # C code where there is some
from typing import Any
from urllib.parse import quote, unquote_plus

from django_asgi_deploy.layers import logwriter
from django_asgi_deploy.layers.observe import Observation, quietly
from django_asgi_deploy.lines import SHORT, TEXT, check_format
from django_asgi_deploy.logging import utc

logger = logging.getLogger("django_asgi_deploy.access")

MASK = "***"

# Parts of a parameter's name, and whole words of it: "key" isn't meant to hide "keyword". Compiled when there
# is a query: that takes longer than importing this module, and a start should be short.
_SECRET = (
    r"(?i:token|passw|secret|signature|credential|api_?key|access_?key|session)"
    r"|(?:^|[^A-Za-z])(?i:key|code|pwd|pass|sig|sid|auth|otp|jwt)(?:$|[^A-Za-z])"
    r"|[a-z](?:Key|Code|Pwd|Sig|Auth)(?:$|[^a-z])"
)
_MAY_HOLD_SECRET = r"tok|pass|pwd|sec|sig|cred|key|sess|code|sid|auth|otp|jwt|%"


class AccessLog:
    """Writes one log record for each request. ``style`` is "auto" (short), "text", "json", or a format.

    Level INFO; DEBUG where the client left before the end. Raises ValueError for a format with unknown fields.
    """

    def __init__(self, style: str) -> None:
        self.line: Callable[[Observation], str]
        if style == "json":
            self.line = json_line
        else:
            template = {"auto": SHORT, "text": TEXT}.get(style, style)
            check_format(template)
            self.line = lambda seen: template.format_map(Fields(seen))
        self._ended: list[Observation] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, seen: Observation) -> None:
        # All that end in one turn of the event loop are written at its end: in the middle of a request, the code that
        # writes a line comes into a cold cache, and leaves one behind.
        loop = asyncio.get_running_loop()
        self._ended.append(seen)
        if len(self._ended) == 1 or loop is not self._loop:  # the other one may never come to it
            self._loop = loop
            loop.call_soon(self._write)

    def _write(self) -> None:
        ended, self._ended = self._ended, []
        if not logger.isEnabledFor(logging.INFO):
            return
        handlers = None if any(seen.left for seen in ended) else logwriter.plain_handlers(logger, logging.INFO)
        if handlers is None:
            for seen in ended:
                quietly(self._write_one, seen)
        elif handlers:
            lines: list[str] = []
            for seen in ended:
                quietly(lambda seen: lines.append(self.line(seen)), seen)
            logwriter.write(handlers, lines, lambda: self._record(ended[-1], logging.INFO))

    def _write_one(self, seen: Observation) -> None:
        level = logging.DEBUG if seen.left else logging.INFO
        if logger.isEnabledFor(level):
            logger.handle(self._record(seen, level))

    def _record(self, seen: Observation, level: int) -> logging.LogRecord:
        # Not logger.log(): looking for the caller's line would cost more than all the rest.
        record = logging.getLogRecordFactory()(logger.name, level, __file__, 0, self.line(seen), None, None)
        record.request_id = seen.id
        record.status_code = seen.status
        record.request_fields = Fields(seen)
        return record


# ------------------------------------------------------------------ the fields


class Fields(Mapping[str, Any]):
    """The fields of one line, each made when it is asked for; texts are escaped for a line of text."""

    def __init__(self, seen: Observation) -> None:
        self.seen = seen

    def __getitem__(self, name: str) -> Any:
        return FIELDS[name](self.seen)

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)

    def __reduce__(self) -> Any:  # a handler that sends records to another process
        return dict, (dict(self),)


def _client(seen: Observation) -> str:
    client = seen.scope.get("client")
    return escaped(str(client[0])) if client and client[0] else "unix"


def _port(seen: Observation) -> int:
    client = seen.scope.get("client")
    return client[1] if client else 0


def sent_path(seen: Observation) -> str:
    """Path and query as they were sent, secrets masked."""
    scope = seen.scope
    raw = scope.get("raw_path")
    # Some servers' raw_path has the query, too.
    text = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
    query = scope.get("query_string", b"")
    if query:
        text = f"{text}?{masked(query.decode('latin-1'))}"
    return text


def sent_header(seen: Observation, wanted: bytes) -> str:
    for name, value in seen.scope.get("headers", ()):
        if name == wanted:
            return str(value, "utf-8", "backslashreplace")
    return "-"


def _reason(seen: Observation) -> str:
    try:
        return HTTPStatus(seen.status).phrase
    except ValueError:
        return "Client Left" if seen.left else "Unknown"


FIELDS: dict[str, Callable[[Observation], Any]] = {
    "time": lambda seen: utc(time.time() - seen.seconds),
    "client": _client,
    "port": _port,
    "method": lambda seen: escaped(seen.scope.get("method", "GET")),
    "path": lambda seen: escaped(sent_path(seen)),
    "protocol": lambda seen: (
        "WebSocket" if seen.is_websocket else f"HTTP/{escaped(seen.scope.get('http_version', '1.1'))}"
    ),
    "status": lambda seen: seen.status,
    "reason": _reason,
    "bytes": lambda seen: seen.bytes,
    "duration_ms": lambda seen: round(seen.seconds * 1000, 1),
    "wait_ms": lambda seen: round(seen.waited * 1000, 1),
    "left": lambda seen: seen.left,
    "host": lambda seen: escaped(sent_header(seen, b"host")),
    "user_agent": lambda seen: escaped(sent_header(seen, b"user-agent")),
    "referer": lambda seen: escaped(_without_secrets(sent_header(seen, b"referer"))),
    "route": lambda seen: escaped(seen.route or "-"),
    "request_id": lambda seen: seen.id,
    "pid": lambda seen: os.getpid(),
}


def _without_secrets(url: str) -> str:
    start, mark, query = url.partition("?")
    return f"{start}?{masked(query)}" if mark else url


def escaped(text: str) -> str:
    r"""``text`` on one line, without control characters and with quotes as ``\"``: it can't end what it stands in."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def masked(query: str) -> str:
    """The query string with the values of parameters that may be secrets replaced."""
    if not re.search(_MAY_HOLD_SECRET, query.lower()):  # faster than to ignore the case
        return query
    return "&".join(map(_masked_parameters, query.split("&")))


def _masked_parameters(text: str) -> str:
    """One, or several with semicolons between them, or a secret with semicolons in it: behind one, all is hidden."""
    parts = text.split(";")
    for number, part in enumerate(parts):
        name, _, value = part.partition("=")
        if value and re.search(_SECRET, unquote_plus(name)):
            return ";".join([*parts[:number], f"{name}={MASK}"])
    return text


# ------------------------------------------------------------------ JSON


def json_line(seen: Observation) -> str:
    """All that there is worth keeping, in one object. Made by hand: this is what every request pays for."""
    scope = seen.scope
    client = scope.get("client")
    protocol = "WebSocket" if seen.is_websocket else f"HTTP/{scope.get('http_version', '1.1')}"
    return (
        f'{{"time": "{utc(time.time() - seen.seconds)}", "client": {quoted(str(client[0]) if client else "")}, '
        f'"method": {quoted(scope.get("method", "GET"))}, "path": {quoted(sent_path(seen))}, '
        f'"protocol": {quoted(protocol)}, "status": {seen.status}, "bytes": {seen.bytes}, '
        f'"duration_ms": {seen.seconds * 1000:.1f}, "wait_ms": {seen.waited * 1000:.1f}, '
        f'"left": {"true" if seen.left else "false"}, "user_agent": {quoted(sent_header(seen, b"user-agent"))}, '
        f'"request_id": "{seen.id}", "pid": {os.getpid()}}}'
    )
