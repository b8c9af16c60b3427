"""The listening sockets: who opens them closes them, and unlinks what it made."""

import errno
import os
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TypeVar

from django_asgi_deploy.addresses import Address, InheritedAddress, SystemdAddress, TCPAddress, UnixAddress
from django_asgi_deploy.exceptions import AddressError, ExitStatus
from django_asgi_deploy.server import systemd
from django_asgi_deploy.server.backlog import BorrowedSocket
from django_asgi_deploy.server.owner import Owner, owner_of_port, owner_of_unix_socket
from django_asgi_deploy.server.unlink import MadeFile

MOST_SOCKETS = 250  # go to a worker in one message, with the table of the workers and its channel
_RETRY_SECONDS = 0.05
_UNSEEN_OWNER_SECONDS = 0.2  # it may end while it is looked for; or it is another user's
_OTHERS_SECONDS = 1.0  # for an instance that takes over a stale socket just now

T = TypeVar("T")


class Sockets:
    """Bound stream sockets for ``addresses``, not yet listening; a context manager.

    ``reuse_port``: other programs that ask for it, too, may bind the same TCP ports.

    Raises AddressError, with whatever was opened until then closed again.
    """

    def __init__(self, addresses: Sequence[Address], *, reuse_port: bool = False) -> None:
        self.sockets: list[socket.socket] = []
        self.made: list[MadeFile] = []  # of each unix socket
        self._addresses = addresses
        self._reuse_port = reuse_port
        try:
            for address in addresses:
                self._open(address)
            if len(self.sockets) > MOST_SOCKETS:
                raise AddressError(
                    f"BIND opens {len(self.sockets)} sockets; workers can share {MOST_SOCKETS} at most. "
                    "Let a proxy listen on the others, or start a second instance for them."
                )
            if any(isinstance(address, SystemdAddress) for address in addresses):
                systemd.forget_descriptors()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Sockets":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        for file in self.made:
            file.unlink_if_still_ours()
        self.made.clear()

    def close_copies(self) -> None:
        """In a fork: leave the sockets, and what was made for them, to the other process."""
        self.made.clear()
        self.close()

    @property
    def borrowed(self) -> list[bool]:
        """Of each socket, whether another program may keep it."""
        return [isinstance(sock, BorrowedSocket) for sock in self.sockets]

    def urls(self, *, tls: bool) -> list[str]:
        """What a person types to reach each socket, with the real port."""
        return [_url(sock, tls) for sock in self.sockets]

    def _open(self, address: Address) -> None:
        if isinstance(address, TCPAddress):
            self._open_tcp(address)
        elif isinstance(address, UnixAddress):
            self._open_unix(address)
        elif isinstance(address, SystemdAddress):
            self.sockets += _adopt_from_systemd(address)
        else:
            self.sockets.append(_adopt(address))

    def _open_tcp(self, address: TCPAddress) -> None:
        port = address.port
        infos = _resolve(address)
        for family, host in infos:
            try:
                sock = _patiently(partial(self._bind_tcp, family, host, port), partial(owner_of_port, port))
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and (family, host) != infos[0]:
                    continue  # a name with an IPv6 address on a host without IPv6
                raise _tcp_error(address, error) from None
            except _InUseError as error:
                raise _port_in_use(address, error.owner, reuse_port=self._reuse_port) from None
            self.sockets.append(sock)
            port = sock.getsockname()[1]  # a name's addresses share one port, also for port 0

    def _bind_tcp(self, family: int, host: str, port: int) -> socket.socket:
        # With the protocol named, asyncio sets TCP_NODELAY on what it accepts; on Linux the option is inherited too.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if sys.platform != "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not self._is_dual_stack(host, port))
            sock.bind((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def _is_dual_stack(self, host: str, port: int) -> bool:
        """``[::]`` takes IPv4 too, as elsewhere, unless ``0.0.0.0`` is bound beside it."""
        return host == "::" and TCPAddress("0.0.0.0", port) not in self._addresses

    def _open_unix(self, address: UnixAddress) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sockets.append(sock)
        try:
            _patiently(partial(self._bind_unix, sock, address), partial(owner_of_unix_socket, address.path))
            os.chmod(address.path, address.mode)  # nobody can connect yet: it doesn't listen
        except OSError as error:
            message = f"Can't make the unix socket {address.path}: {error.strerror}."
            raise AddressError(message, ExitStatus.USAGE) from None
        except _InUseError as error:
            by = _by(error.owner)
            raise AddressError(f"{address} is in use{by}. Stop that, or choose another path.") from None

    def _bind_unix(self, sock: socket.socket, address: UnixAddress) -> None:
        with _alone_in(os.path.dirname(address.path) or "."):
            _remove_stale(address)
            sock.bind(address.path)
            self.made.append(MadeFile.of(address.path))


def _resolve(address: TCPAddress) -> list[tuple[int, str]]:
    try:
        infos = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        passing = getattr(error, "errno", None) == socket.EAI_AGAIN
        status = ExitStatus.TEMPORARY if passing else ExitStatus.USAGE
        raise AddressError(f"{address}: the host {address.host!r} can't be resolved ({error}).", status) from None
    return list(dict.fromkeys((info[0], str(info[4][0])) for info in infos))


class _InUseError(Exception):
    def __init__(self, owner: Owner | None) -> None:
        self.owner = owner


def _patiently(bind: Callable[[], T], find_owner: Callable[[], Owner | None]) -> T:
    """Wait a moment for an instance of ours that is on its way out. Raises _InUseError."""
    began = time.monotonic()
    patience = _UNSEEN_OWNER_SECONDS
    while True:
        try:
            return bind()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        if owner := find_owner():
            patience = owner.patience_seconds and max(patience, owner.patience_seconds)
        if time.monotonic() - began >= patience:
            raise _InUseError(owner)
        time.sleep(_RETRY_SECONDS)


def _by(owner: Owner | None) -> str:
    return f" by {owner}" if owner else ""


def _port_in_use(address: TCPAddress, owner: Owner | None, *, reuse_port: bool) -> AddressError:
    other = TCPAddress(address.host, address.port + (1 if address.port < 65535 else -1))
    why = ", which doesn't share it: it was started without REUSE_PORT, or by another user" if reuse_port else ""
    return AddressError(f"{address} is in use{_by(owner)}{why}. Stop that, or choose another port: runasgi {other}")


def _tcp_error(address: TCPAddress, error: OSError) -> AddressError:
    if error.errno == errno.EACCES:
        return AddressError(
            f"{address}: ports below 1024 need a privilege this process doesn't have. Use a port above, as in "
            "runasgi 8000, behind a proxy or with systemd's socket activation, or grant CAP_NET_BIND_SERVICE.",
            ExitStatus.USAGE,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return AddressError(
            f"{address}: {address.host} isn't an address of this machine (now). "
            f"0.0.0.0:{address.port} listens on all it has."
        )
    return AddressError(f"{address}: {error.strerror or error}.")


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Of several instances that find a stale socket at the same moment, the second must not remove the first one's.

    A lock on the folder, since a socket can't have one. Who can't get it goes on without: it may be anybody's.
    """
    import fcntl  # not on Windows, where Python has no unix sockets

    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + _OTHERS_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_RETRY_SECONDS)
            except OSError:
                break  # a file system without locks
            else:
                break
        yield
    finally:
        os.close(fd)


def _remove_stale(address: UnixAddress) -> None:
    """Remove a socket file that no process has any more.

    Raises OSError (EADDRINUSE) if one has, and AddressError for what isn't a socket.
    """
    try:
        mode = os.lstat(address.path).st_mode
    except OSError:
        return  # not there; or bind() will say what is wrong
    if not stat.S_ISSOCK(mode):
        message = f"{address.path} exists and isn't a socket; it is left alone. Choose another path for {address}."
        raise AddressError(message, ExitStatus.USAGE)
    # Of the wrong kind first: the kernel says so (EPROTOTYPE) even where the right one would be refused, because the
    # server is still loading and doesn't listen yet.
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            probe.setblocking(False)  # a full backlog answers EAGAIN: alive
            try:
                probe.connect(address.path)
            except ConnectionRefusedError:
                continue
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                    return  # bind() will say what is wrong
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(address.path)


def _adopt(address: InheritedAddress) -> BorrowedSocket:
    """The socket that was inherited as ``fd``; the kernel tells its family and protocol."""
    try:
        sock = BorrowedSocket(fileno=address.fd)
    except OSError as error:
        message = f"{address}: descriptor {address.fd} isn't a socket that this process inherited ({error.strerror})."
        raise AddressError(message, ExitStatus.USAGE) from None
    if sock.type != socket.SOCK_STREAM:
        sock.detach()
        raise AddressError(f"{address}: not a stream socket.", ExitStatus.USAGE)
    sock.set_inheritable(False)  # programs that the project starts aren't meant
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _adopt_from_systemd(address: SystemdAddress) -> list[socket.socket]:
    try:
        passed = systemd.passed_descriptors()
    except systemd.NotActivatedError as reason:
        message = f"{address}: systemd has passed no sockets ({reason}). Start the .socket unit, or give an address."
        raise AddressError(message, ExitStatus.USAGE) from None
    wanted = [fd for fd, name in passed if address.name in (None, name)]
    if not wanted:
        names = ", ".join(dict.fromkeys(name for _, name in passed))
        message = f"{address}: systemd has passed no socket of that name; FileDescriptorName= says: {names}."
        raise AddressError(message, ExitStatus.USAGE)
    sockets: list[socket.socket] = []
    try:
        for fd in wanted:
            sockets.append(_adopt(InheritedAddress(fd)))
    except AddressError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _url(sock: socket.socket, tls: bool) -> str:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        host, port = sock.getsockname()[:2]
        return f"{'https' if tls else 'http'}://{TCPAddress(host, port)}"
    name = sock.getsockname()
    return str(UnixAddress(os.fsdecode(name)))
