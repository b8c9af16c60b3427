"""Where a page comes from that opens a WebSocket: the Origin header, and patterns for it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True)
class Origin:
    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "Origin | None":
        """None if the text is no origin with a host: ``null``, or nonsense."""
        if not re.fullmatch(r"[!-~]+", text):  # urlsplit() would take some of the others out
            return None
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            return None
        if not (parts.scheme and parts.hostname) or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            return None
        return cls(parts.scheme, parts.hostname.rstrip("."), port or DEFAULT_PORTS.get(parts.scheme))


@dataclass(frozen=True)
class OriginPattern:
    """``*``, a host as in ALLOWED_HOSTS, or a scheme and a host as in CSRF_TRUSTED_ORIGINS."""

    host: str  # with a dot in front: it and everything below; "*": any
    scheme: str | None = None  # None: any, with any port
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "OriginPattern":
        """Raises ValueError saying what was expected."""
        if "://" in text:
            origin = Origin.parse(text)
            if origin is None or "*" in origin.host.removeprefix("*."):
                raise ValueError('expected "https://example.com", "https://*.example.com" or with a port behind it')
            return cls(re.sub(r"^\*\.", ".", origin.host), origin.scheme, origin.port)
        if text != "*" and not re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*\.?|\[[\da-fA-F:.]+\]", text):
            raise ValueError('expected "https://example.com", "example.com", ".example.com" or "*"')
        return cls.of_host(text)

    @classmethod
    def of_host(cls, text: str) -> "OriginPattern":
        """From an entry of ALLOWED_HOSTS; one that isn't right allows nothing, as in Django."""
        return cls(text.lower().rstrip(".").removeprefix("[").removesuffix("]"))

    def matches(self, origin: Origin) -> bool:
        if self.scheme is not None and (self.scheme, self.port) != (origin.scheme, origin.port):
            return False
        if self.host.startswith("."):
            return origin.host == self.host[1:] or origin.host.endswith(self.host)
        return self.host in ("*", origin.host)


def is_allowed(header: str, patterns: Iterable[OriginPattern]) -> bool:
    """Whether one of the patterns allows what an Origin header says."""
    origin = Origin.parse(header)
    if origin is None:
        return any(pattern == OriginPattern("*") for pattern in patterns)
    return any(pattern.matches(origin) for pattern in patterns)
