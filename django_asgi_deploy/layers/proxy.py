"""Behind a proxy: the client's address, the scheme, the host and the prefix are what the client sees.

Only a peer that is trusted is believed, and only the headers that the proxy is said to set: a proxy passes whatever
else a client sends straight through. No layer with a frame of its own: ``asgi.Application`` calls it with each scope.

``Forwarded`` is RFC 7239; for the ``X-Forwarded-*`` there is no standard.
"""

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from urllib.parse import quote, unquote

from django_asgi_deploy.proxies import FORWARDED_HEADERS, TrustedHosts, parse_host
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

PEER = "django_asgi_deploy.peer"  # in the scope: who connected, where a proxy speaks for somebody

UNKNOWN = ("unknown", 0)  # the proxy is trusted, but won't or can't say who the client is (RFC 7239, section 6.2)
UNIX_PEER = ("", 0)  # as WSGI servers have it; without it Django's META has no REMOTE_ADDR at all

LONGEST_ADDRESS = 64  # an IPv6 address in brackets with a port has 47 characters

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+/?")
_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,=]*))\s*""")

Client = tuple[str, int]
Hop = dict[str, str]  # of a Forwarded header: for, proto, host


class Forwarding:
    """A scope as it was meant, from the scope that the server made. Never changes the one that it is given.

    ``headers``: which headers a trusted proxy sets. ``root_path``: the prefix that the site is served under, whether
    the proxy strips it or not.
    """

    def __init__(self, trusted: TrustedHosts, headers: Iterable[str], root_path: str = "") -> None:
        self.trusted = trusted
        wanted = {name.lower().encode() for name in headers}
        self.names = frozenset(name.encode() for name in FORWARDED_HEADERS if name.encode() in wanted)
        self.root_path = root_path.rstrip("/")
        self._read = lru_cache(4096)(self._parse)

    def __call__(self, scope: Scope) -> Scope:
        client = scope.get("client")
        root = self.root_path or scope.get("root_path")
        found: dict[bytes, list[str]] | None = None
        if self.trusted[client[0] if client else ""]:
            names = self.names
            for name, value in scope.get("headers", ()):
                if name in names:
                    if found is None:
                        found = {}
                    found.setdefault(name, []).append(value.decode("latin-1"))
        if client and found is None and not root:
            return scope
        scope = {**scope}
        if not client:
            scope["client"] = UNIX_PEER
        if found is not None:
            self._believe(scope, found)
        elif root:
            place_below(scope, self.root_path)
        return scope

    def trusts_peer(self, scope: Scope) -> bool:
        """Whether who connected may speak for others."""
        peer = scope.get(PEER) or scope.get("client")
        return self.trusted[peer[0] if peer else ""]

    def trusts_client(self, scope: Scope) -> bool:
        """Whether the client itself, behind all proxies, is among the trusted: for what isn't for the public.

        Nobody is only because everybody is ("*"), nor because the proxy doesn't say for whom it speaks.
        """
        client = scope.get("client")
        if PEER in scope and client == scope[PEER]:
            return False
        host = client[0] if client else ""
        return self.trusted.has(parse_host(host)) if host else self.trusted.unix

    def _believe(self, scope: Scope, found: dict[bytes, list[str]]) -> None:
        said = {name: _items(lines) for name, lines in found.items()}
        client, hop, back = scope["client"], Hop(), 0
        if forwarded := found.get(b"forwarded"):
            hops = [hop for line in forwarded for hop in parse_forwarded(line)]
            client, back = self._client([each.get("for", "") for each in hops])
            hop = hops[-1 - back] if hops else Hop()
        elif addresses := said.get(b"x-forwarded-for"):
            client, back = self._client(addresses)
        elif addresses := said.get(b"x-real-ip"):
            client, back = self._client(addresses[-1:])
        scope.setdefault(PEER, scope["client"])
        scope["client"] = client
        if proto := hop.get("proto") or _at(said.get(b"x-forwarded-proto"), back):
            _set_scheme(scope, proto)
        host = hop.get("host") or _at(said.get(b"x-forwarded-host"), back)
        port = _at(said.get(b"x-forwarded-port"), back)
        if host or port:
            _set_host(scope, host, port)
        prefix = _prefix(_at(said.get(b"x-forwarded-prefix"), back)) or self.root_path
        if prefix or scope.get("root_path"):
            place_below(scope, prefix)

    def _client(self, addresses: list[str]) -> tuple[Client, int]:
        """The first from the right who isn't a trusted proxy, and how many are to the right of it.

        What is left of that one was written by nobody we trust. If all are trusted, the first of all is the client.
        """
        client = UNKNOWN
        for back, text in enumerate(reversed(addresses)):
            client, is_proxy = self._read(text) if len(text) <= LONGEST_ADDRESS else (UNKNOWN, False)
            if not is_proxy:
                return client, back
        return client, max(0, len(addresses) - 1)

    def _parse(self, text: str) -> tuple[Client, bool]:
        """Who that is, and whether it is a proxy."""
        client = parse_client(text)
        return (UNKNOWN, False) if client is None else (client, self.trusted.has(parse_host(client[0])))


class Behind:
    """``app`` with the scopes that ``forwarding`` makes: for an application that isn't ours."""

    def __init__(self, app: ASGIApp, forwarding: Callable[[Scope], Scope]) -> None:
        self.app = app
        self.forwarding = forwarding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(self.forwarding(scope) if scope["type"] in ("http", "websocket") else scope, receive, send)


# ------------------------------------------------------------------ what headers say


def _items(lines: list[str]) -> list[str]:
    """The items of a header, which may come in several lines; empty ones say nothing."""
    if len(lines) == 1 and "," not in lines[0]:
        item = lines[0].strip()
        return [item] if item else []
    return [item for item in (item.strip() for item in ",".join(lines).split(",")) if item]


def _at(items: list[str] | None, back: int) -> str:
    """What the proxy wrote that the client came through; every trusted one adds an item, or the last one sets one."""
    if not items:
        return ""
    return items[-1 - back] if back < len(items) else items[-1]


def parse_client(text: str) -> Client | None:
    """Host and port (0 if there's none) of ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1``, ``[2001:db8::1]:80``.

    None for whatever else, such as "unknown" and the obfuscated identifiers of RFC 7239.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address = parse_host(host)
    if address is None or "%" in host:  # a zone is of use on its own machine only
        return None
    # A port may be obfuscated, too.
    return str(address), int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0


def parse_forwarded(text: str) -> list[Hop]:
    """The elements of one line of Forwarded, by parameter in lower case. One that is broken says nothing: it is empty.

    Commas separate elements, except in quoted strings. From a quote that doesn't end, everything is one broken
    element: nobody can say who wrote it.
    """
    hops: list[Hop] = []
    for element in _split(text, ","):
        if not element.strip():
            continue
        hop = Hop()
        for pair in _split(element, ";"):
            match = _PAIR.fullmatch(pair)
            if match is None or match[1].lower() in hop:
                hop = Hop()
                break
            quoted = match[2]
            hop[match[1].lower()] = match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        hops.append(hop)
    return hops


def _split(text: str, separator: str) -> list[str]:
    """As str.split(), but not within quoted strings."""
    if '"' not in text:
        return text.split(separator)
    return re.findall(rf'(?:"(?:[^"\\]|\\.)*"|"[^\n]*|[^{separator}"])+', text)


def _prefix(text: str) -> str:
    """As in root_path: decoded, no slash at the end. Empty if it isn't a path: ``//evil.example`` would be a host."""
    if not text or not _PREFIX.fullmatch(text):
        return ""
    prefix = unquote(text).rstrip("/")
    segments = prefix.split("/")[1:]
    return prefix if prefix.isprintable() and not {"", ".", ".."} & set(segments) and "\\" not in prefix else ""


# ------------------------------------------------------------------ what becomes of the scope


def _set_scheme(scope: Scope, text: str) -> None:
    scheme = _SCHEMES.get(text.lower())
    if scheme:
        scope["scheme"] = scheme if scope["type"] == "http" else scheme.replace("http", "ws")


def _set_host(scope: Scope, host: str, port: str) -> None:
    """As the Host header, which is where Django looks; Django compares it with ALLOWED_HOSTS afterwards."""
    if not _HOST.fullmatch(host):
        host = ""
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        port = ""
    if not host and not port:
        return
    headers: Collection[tuple[bytes, bytes]] = scope["headers"]
    given = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    match = _HOST.fullmatch(host or given)
    if match is None:
        return
    if port:
        usual = {"http": "80", "https": "443", "ws": "80", "wss": "443"}.get(scope.get("scheme", "http"))
        host = match["name"] if port == usual else f"{match['name']}:{port}"
        scope["server"] = (match["name"], int(port))
    scope["headers"] = [(b"host", host.encode()), *((name, value) for name, value in headers if name != b"host")]


def place_below(scope: Scope, prefix: str) -> None:
    """Give the scope its ``root_path``: ``prefix``, and behind it the one it has already; and a path that has it.

    By the ASGI specification the path is the whole one, with the root_path in front. Proxies that strip the prefix,
    and servers that leave it out, make it shorter.
    """
    own = (scope.get("root_path") or "").rstrip("/")
    root = own if is_below(own, prefix) else prefix + own
    if not root:
        return
    scope["root_path"] = root
    path = scope["path"]
    if is_below(path, root):
        return
    missing = prefix if own and is_below(path, own) else root
    scope["path"] = missing + path
    if scope.get("raw_path") is not None:
        scope["raw_path"] = quote(missing).encode() + scope["raw_path"]


def is_below(path: str, prefix: str) -> bool:
    """Whether ``path`` is ``prefix``, or something under it."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")
