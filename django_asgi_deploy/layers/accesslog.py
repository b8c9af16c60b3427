"""One line per request: as text, as JSON, or in a format of your own.

Whatever a client sends is escaped, so that nobody can write a line of his own; and what looks like a secret in a
query string is masked.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from json.encoder import encode_basestring_ascii as quoted  # C code where there is some
from typing import Any
from urllib.parse import quote, unquote_plus

from django_asgi_deploy.layers import logwriter
from django_asgi_deploy.layers.observe import Observation, quietly
from django_asgi_deploy.lines import SHORT, TEXT, check_format
from django_asgi_deploy.logging import utc

logger = logging.getLogger("django_asgi_deploy.access")

HIDDEN = "***"
NOTHING = '""'

# Parts of a parameter's name, and whole words of it: "key" isn't meant to hide "keyword". Compiled when there
# is a query: that takes longer than importing this module, and a start should be short.
_SECRET = (
    r"(?i:token|passw|secret|signature|credential|api_?key|access_?key|session)"
    r"|(?:^|[^A-Za-z])(?i:key|code|pwd|pass|sig|sid|auth|otp|jwt)(?:$|[^A-Za-z])"
    r"|[a-z](?:Key|Code|Pwd|Sig|Auth)(?:$|[^a-z])"
)
_MAY_HOLD_SECRET = r"tok|pass|pwd|sec|sig|cred|key|sess|code|sid|auth|otp|jwt|%"


class AccessLog:
    """Writes one log record for each request. ``style`` is "auto" (short), "text", "json", or a format; ``masked``,
    names of parameters whose values aren't to be seen, beside those that look like secrets.

    Level INFO; DEBUG where the client left before the end. Raises ValueError for a format with unknown fields.
    """

    def __init__(self, style: str, masked: Iterable[str] = ()) -> None:
        self.mask = Mask(masked)
        self.lines: Callable[[Sequence[Observation]], Iterable[str]]
        if style == "json":
            self.lines = partial(json_lines, self.mask)
        else:
            template = {"auto": SHORT, "text": TEXT}.get(style, style)
            check_format(template)
            self.lines = lambda ended: [template.format_map(Fields(seen, self.mask)) for seen in ended]

    def __call__(self, ended: list[Observation]) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        handlers = None if any(seen.left for seen in ended) else logwriter.plain_handlers(logger, logging.INFO)
        if handlers is None:
            for seen in ended:
                quietly(self._write_one, seen)
        elif handlers:
            logwriter.write(handlers, self._lines_of(ended), lambda: self._record(ended[-1], logging.INFO))

    def _lines_of(self, ended: list[Observation]) -> list[str]:
        try:
            return [*self.lines(ended)]
        except Exception:  # of one of them
            lines: list[str] = []
            for seen in ended:
                quietly(lambda seen: lines.extend(self.lines([seen])), seen)
            return lines

    def _write_one(self, seen: Observation) -> None:
        level = logging.DEBUG if seen.left else logging.INFO
        if logger.isEnabledFor(level):
            logger.handle(self._record(seen, level))

    def _record(self, seen: Observation, level: int) -> logging.LogRecord:
        # Not logger.log(): looking for the caller's line would cost more than all the rest.
        (line,) = self.lines([seen])
        record = logging.getLogRecordFactory()(logger.name, level, __file__, 0, line, None, None)
        record.request_id = seen.id
        record.status_code = seen.status
        record.request_fields = Fields(seen, self.mask)
        return record


# ------------------------------------------------------------------ the fields


class Fields(Mapping[str, Any]):
    """The fields of one line, each made when it is asked for; texts are escaped for a line of text."""

    def __init__(self, seen: Observation, mask: "Mask") -> None:
        self.seen = seen
        self.mask = mask

    def __getitem__(self, name: str) -> Any:
        value = FIELDS[name](self.seen)
        return escaped(self.mask.in_url(value)) if name in URLS else value

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
    """Path and query as they were sent."""
    scope = seen.scope
    raw = scope.get("raw_path")
    # Some servers' raw_path has the query, too.
    text = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
    query = scope.get("query_string", b"")
    return f"{text}?{query.decode('latin-1')}" if query else text


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
    "path": sent_path,
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
    "referer": lambda seen: sent_header(seen, b"referer"),
    "route": lambda seen: escaped(seen.route or "-"),
    "request_id": lambda seen: seen.id,
    "pid": lambda seen: os.getpid(),
}


URLS = frozenset({"path", "referer"})  # what these hold isn't fit to be shown yet


def escaped(text: str) -> str:
    r"""``text`` on one line, without control characters and with quotes as ``\"``: it can't end what it stands in."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


class Mask:
    """Replaces the values of parameters that may be secrets, by their names: those that look like it, and ``names``."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(name.lower() for name in names)
        self._may_hold_some = "|".join([_MAY_HOLD_SECRET, *map(re.escape, sorted(self.names))])

    def in_url(self, url: str) -> str:
        start, mark, query = url.partition("?")
        return f"{start}?{self.in_query(query)}" if mark else url

    def in_query(self, query: str) -> str:
        if not re.search(self._may_hold_some, query.lower()):  # faster than to ignore the case
            return query
        return "&".join(map(self._in_parameters, query.split("&")))

    def _in_parameters(self, text: str) -> str:
        """One, or several with semicolons between them, or a secret with some in it: behind one, all is hidden."""
        parts = text.split(";")
        for number, part in enumerate(parts):
            name, _, value = part.partition("=")
            if value and self._hides(unquote_plus(name)):
                return ";".join([*parts[:number], f"{name}={HIDDEN}"])
        return text

    def _hides(self, name: str) -> bool:
        return name.lower() in self.names or re.search(_SECRET, name) is not None


# ------------------------------------------------------------------ JSON


def json_lines(mask: Mask, ended: Sequence[Observation]) -> Iterator[str]:
    """All that there is worth keeping, in one object each. Made by hand: this is what every request pays for."""
    now, end = time.time(), f'"pid": {os.getpid()}}}'
    for seen in ended:
        scope = seen.scope
        client, path = scope.get("client"), sent_path(seen)
        if "?" in path:
            path = mask.in_url(path)
        if seen.is_websocket:
            method, protocol = '"GET"', '"WebSocket"'
        else:
            method, protocol = quoted(scope["method"]), quoted(f"HTTP/{scope.get('http_version', '1.1')}")
        yield (
            f'{{"time": "{utc(now - seen.seconds)}", "client": {quoted(str(client[0])) if client else NOTHING}, '
            f'"method": {method}, "path": {quoted(path)}, "protocol": {protocol}, '
            f'"status": {seen.status}, "bytes": {seen.bytes}, '
            f'"duration_ms": {_milliseconds(seen.seconds)}, "wait_ms": {_milliseconds(seen.waited)}, '
            f'"left": {"true" if seen.left else "false"}, "user_agent": {quoted(sent_header(seen, b"user-agent"))}, '
            f'"request_id": "{seen.id}", {end}'
        )


def _milliseconds(seconds: float) -> str:
    """With one decimal; of whole numbers, because those of floats take several times as long."""
    tenths = int(seconds * 10_000 + 0.5)
    return f"{tenths // 10}.{tenths % 10}"
