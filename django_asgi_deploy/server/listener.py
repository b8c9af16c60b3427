"""Accepts connections in the place of the loop's own server.

It differs from ``loop.create_server`` in three ways: workers that share a socket share the connections, too; a process
that runs out of descriptors leaves connections to the kernel's queue, some descriptors to the project, and the
processor alone; and at the end, the kernel's queue is closed and emptied, because closing the socket resets what is in
it.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence

from django_asgi_deploy.exceptions import AddressError
from django_asgi_deploy.server.backlog import (
    SETTLE_SECONDS,
    BorrowedSocket,
    is_empty_for_good,
    refuse_all,
    refuse_new,
)
from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.owner import owner_of_port

logger = logging.getLogger("django_asgi_deploy.server")

# What a connection that ended while it was queued may leave behind, by accept(2).
_OF_THE_CONNECTION = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "EWOULDBLOCK", "EINTR", "ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN"),
        *("EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "ENONET", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
)
_BATCH = 16  # connections per turn of the loop, where there is nobody to share with
_WRITE_SECONDS = 0.25  # how often a worker says that it is alive
_RETRY_SECONDS = 0.1  # how often one without descriptors looks for room
_HANDSHAKES_SECONDS = 1.0  # what TLS handshakes that have begun are given at the end
_CALM_SECONDS = 60.0  # between two lines about the same trouble


class Listener:
    """Accepts on ``sockets`` and makes a protocol for each connection, in the running loop.

    ``connections`` says how many are open; ``balance`` is the table of the workers that share the sockets. ``ssl`` may
    be replaced at any time: it counts for the connections that come then.
    """

    def __init__(
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        sockets: Sequence[socket.socket],
        connections: Callable[[], int],
        *,
        backlog: int = 2048,
        ssl: ssl.SSLContext | None = None,
        ssl_handshake_timeout: float = 10,
        balance: Balance | None = None,
    ) -> None:
        self.ssl = ssl
        self._loop = asyncio.get_running_loop()
        self._protocol_factory = protocol_factory
        self._sockets = list(sockets)
        self._watched = list(sockets)
        self._connections = connections
        self._backlog = backlog
        self._ssl_handshake_timeout = ssl_handshake_timeout
        self._balance = balance
        self._connecting: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._has_waited = False
        self._ceiling = _descriptor_ceiling()
        self._last_complaint = -_CALM_SECONDS

    def start(self) -> None:
        """Raises AddressError if somebody began to listen on an address after it was bound."""
        if self._balance:
            self._balance.take_seat()
            self._write()
        for sock in self._sockets:
            sock.setblocking(False)
            try:
                sock.listen(self._backlog)
            except OSError as error:
                # Two that set SO_REUSEADDR can both bind: the second to listen is the one too many.
                name = sock.getsockname()
                where = name if isinstance(name, str) else ":".join(map(str, name[:2]))
                owner = owner_of_port(name[1]) if error.errno == errno.EADDRINUSE else None
                who = owner or error.strerror
                raise AddressError(f"{where}: another program began to listen there meanwhile: {who}.") from None
        self._watch()

    async def close(self, *, is_last: bool = True) -> None:
        """Close the sockets, and let handshakes finish that have begun.

        ``is_last``: nobody else accepts on these sockets after this, so what the kernel has queued is accepted first.
        """
        if is_last:
            await self._end_queues()
        self._unwatch()
        if self._balance:
            self._balance.leave()
        if is_last:
            self._empty_queues()
        for timer in (self._pause, self._writing):  # an empty queue may just have begun a pause
            if timer:
                timer.cancel()
        for sock in self._sockets:
            sock.close()
        if self._connecting:
            _, late = await asyncio.wait(self._connecting, timeout=_HANDSHAKES_SECONDS if self.ssl else None)
            for task in late:
                task.cancel()

    async def _end_queues(self) -> None:
        """Let none be queued any more; what has begun to be is accepted meanwhile, as always."""
        ours = [sock for sock in self._sockets if not isinstance(sock, BorrowedSocket)]
        settling = [sock for sock in ours if refuse_new(sock)]
        if settling:
            for sock in ours:
                if sock not in settling:
                    self._watch_no_more(sock)
            await asyncio.sleep(SETTLE_SECONDS)

    def _watch_no_more(self, sock: socket.socket) -> None:
        """For one that is closed to new ones, perhaps by another worker: it is readable all the time."""
        if sock in self._watched:
            self._watched.remove(sock)
            self._loop.remove_reader(sock)

    def _empty_queues(self) -> None:
        for sock in self._sockets:
            for _ in range(self._backlog + 1):  # the most that ours can hold; of a borrowed one there is no end
                if not self._accept(sock):
                    break
            if not isinstance(sock, BorrowedSocket):
                refuse_all(sock)

    # ------------------------------------------------------------------ accepting

    def _watch(self) -> None:
        for sock in self._watched:
            self._loop.add_reader(sock, self._on_readable, sock)

    def _unwatch(self) -> None:
        for sock in self._watched:
            self._loop.remove_reader(sock)

    def _on_readable(self, sock: socket.socket) -> None:
        if self._balance is None:
            for _ in range(_BATCH):
                if not self._accept(sock) or self._pause:
                    return
            return
        # One per turn of the loop, so that others get theirs. Who has waited takes one: the others may be busy.
        seconds = 0.0 if self._has_waited else self._balance.wait_seconds(self._count())
        self._has_waited = seconds > 0
        if seconds:
            self._pause_for(seconds)
        else:
            self._accept(sock)
            self._balance.write(self._count())

    def _accept(self, sock: socket.socket) -> bool:
        """Take one connection from the queue; False if there is none, or if it can't be had now."""
        try:
            connection, _ = sock.accept()
        except OSError as error:
            if is_empty_for_good(sock):
                self._watch_no_more(sock)
            elif error.errno not in _OF_THE_CONNECTION:
                self._pause_because(error)
            return False
        self._begin(connection)
        if connection.fileno() >= self._ceiling and self._pause is None:
            self._pause_because(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        return True

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        timeout = self._ssl_handshake_timeout if self.ssl else None
        try:
            await self._loop.connect_accepted_socket(
                self._protocol_factory, connection, ssl=self.ssl, ssl_handshake_timeout=timeout
            )
        except OSError as error:  # of a TLS handshake: ssl.SSLError and a timeout are such, too
            logger.debug("A connection came to nothing: %s", error)
        except asyncio.CancelledError:
            connection.close()
            raise

    def _count(self) -> int:
        return self._connections() + len(self._connecting)

    def _write(self) -> None:
        assert self._balance is not None
        self._balance.write(self._count())
        self._writing = self._loop.call_later(_WRITE_SECONDS, self._write)

    # ------------------------------------------------------------------ pausing

    def _pause_for(self, seconds: float) -> None:
        self._unwatch()
        if self._pause:
            self._pause.cancel()
        self._pause = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        if self._has_room():
            self._watch()
        else:
            self._pause = self._loop.call_later(_RETRY_SECONDS, self._resume)

    def _pause_because(self, error: OSError) -> None:
        """Leave what comes in the kernel's queue for a while, and say so once."""
        self._pause_for(_RETRY_SECONDS)
        if self._is_news():
            hint = ""
            if error.errno == errno.EMFILE:
                hint = (
                    f" The limit is {_descriptor_limit()} (ulimit -n, LimitNOFILE=); the last ones are for the project."
                )
            logger.warning("New connections wait: %s.%s", error.strerror, hint)

    def _is_news(self) -> bool:
        """Whether nothing was wrong for a while, here and in the workers that share the sockets."""
        if self._balance:
            return self._balance.is_first_to_complain(_CALM_SECONDS)
        last, self._last_complaint = self._last_complaint, self._loop.time()
        return self._last_complaint - last >= _CALM_SECONDS

    def _has_room(self) -> bool:
        """Whether a new descriptor would be below the ceiling: the kernel gives the lowest that is free."""
        try:
            lowest = os.dup(self._sockets[0].fileno())
        except OSError:
            return False
        os.close(lowest)
        return lowest < self._ceiling


class WaitingListener(Listener):
    """For a loop without readers, as on Windows: a task for each socket waits for connections."""

    def _watch(self) -> None:
        self._waiting = [self._loop.create_task(self._accept_for_ever(sock)) for sock in self._sockets]

    def _unwatch(self) -> None:
        for task in self._waiting:
            task.cancel()

    async def _accept_for_ever(self, sock: socket.socket) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(sock)
            except OSError as error:
                logger.debug("A connection couldn't be accepted: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._begin(connection)


def _descriptor_limit() -> int:
    try:
        import resource
    except ImportError:  # on Windows
        return 2**31
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else 2**31


def _descriptor_ceiling() -> int:
    """The descriptor from which on connections wait, so that the project can still open files and databases."""
    limit = _descriptor_limit()
    return limit - min(64, limit // 8)
