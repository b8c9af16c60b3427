"""What may stand in BIND: text to address, and back."""

import ipaddress
import re
import socket
from dataclasses import dataclass

_HOST_AND_PORT = re.compile(r"^(?:(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/\s]+):)?(?P<port>\d{1,5})$")


@dataclass(frozen=True)
class TCPAddress:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class UnixAddress:
    path: str
    mode: int = 0o666  # a proxy mostly runs as another user

    def __str__(self) -> str:
        return f"unix:{self.path}" + (f"?mode={self.mode:o}" if self.mode != 0o666 else "")


@dataclass(frozen=True)
class InheritedAddress:
    """A socket that the parent process opened; the kernel knows its family."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


@dataclass(frozen=True)
class SystemdAddress:
    """The sockets that systemd opened: those of one name (``FileDescriptorName=``), or all."""

    name: str | None = None

    def __str__(self) -> str:
        return f"systemd:{self.name or ''}"


Address = TCPAddress | UnixAddress | InheritedAddress | SystemdAddress

EXPECTED = (
    'expected "8000", "127.0.0.1:8000", "[::1]:8000", "localhost:8000", "unix:/path", "unix:/path?mode=660", "fd://3" '
    'or "systemd:"'
)


def parse_address(text: str) -> Address:
    """The address that ``text`` means: in Django's forms (``8000``, ``host:port``), ``unix:/path?mode=660``, ``fd://3``,
    ``systemd:`` or ``systemd:name``.

    Raises ValueError with the expected forms.
    """
    if text.startswith("unix:"):
        return _unix(text)
    if text.startswith("fd://"):
        return _inherited(text)
    if text.startswith("systemd:"):
        return SystemdAddress(text.removeprefix("systemd:") or None)
    match = _HOST_AND_PORT.match(text)
    if match is None:
        raise ValueError(EXPECTED)
    port = int(match["port"])
    if port > 65535:
        raise ValueError("a port is a number from 0 (any free one) to 65535")
    return TCPAddress(_host(match["host"] or "127.0.0.1"), port)


def _unix(text: str) -> UnixAddress:
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("Python has no unix sockets on this system; expected a port, or host:port")
    path, question_mark, query = text.removeprefix("unix:").partition("?")
    mode = re.fullmatch(r"mode=0?([0-7]{3})", query)
    if question_mark and mode is None:
        raise ValueError(
            'expected a mode in octal behind the question mark, as in "unix:/run/mysite/asgi.sock?mode=660"'
        )
    if path.startswith("//"):
        path = path[2:]
    if not path:
        raise ValueError('expected a path behind "unix:", as in "unix:/run/mysite/asgi.sock"')
    if len(path.encode()) > 107:
        raise ValueError(f"the path of a unix socket may have 107 bytes at most, this one has {len(path.encode())}")
    return UnixAddress(path, int(mode[1], 8)) if mode else UnixAddress(path)


def _inherited(text: str) -> InheritedAddress:
    number = text.removeprefix("fd://")
    if not number.isdecimal():
        raise ValueError('expected a number behind "fd://", as in "fd://3"')
    return InheritedAddress(int(number))


def _host(host: str) -> str:
    if host.startswith("["):
        ipaddress.IPv6Address(host[1:-1])  # raises ValueError with what is wrong
        return host[1:-1]
    if host == "0":
        return "0.0.0.0"  # as runserver takes it
    if re.fullmatch(r"[\d.]+", host):
        ipaddress.IPv4Address(host)
    return host
