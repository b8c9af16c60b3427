"""What a worker does at its edge: it accepts connections, keeps clients to deadlines, renews its certificate.

Where it is the process that systemd watches, it also says that it is alive.
"""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

from django_asgi_deploy.server import private, systemd
from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.config import Config
from django_asgi_deploy.server.deadlines import Deadlines
from django_asgi_deploy.server.listener import Listener, WaitingListener
from django_asgi_deploy.server.tls import WatchedCertificate


class Listening:
    """``protocol_factory`` makes a connection's protocol, ``connections`` is the set of them that uvicorn keeps.

    ``balance``: the table of the workers that share the sockets, if there are others.
    """

    def __init__(
        self,
        config: Config,
        protocol_factory: Callable[[], asyncio.Protocol],
        sockets: Sequence[socket.socket],
        connections: set[Any],
        balance: Balance | None = None,
    ) -> None:
        self._deadlines = Deadlines(connections, config.deadlines)
        make_listener = WaitingListener if sys.platform == "win32" else Listener
        self._listener = make_listener(
            protocol_factory,
            sockets,
            lambda: len(connections),
            backlog=config.backlog,
            ssl=config.ssl,
            ssl_handshake_timeout=config.ssl_handshake_timeout,
            balance=balance,
        )
        files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
        self._certificate = WatchedCertificate(
            [os.fspath(file) for file in files if file], lambda: private.fresh_ssl_context(config), self._renew
        )

    def start(self) -> None:
        self._deadlines.start()
        self._certificate.start()
        if seconds := systemd.watchdog_seconds():
            self._beat(seconds / 2)
        self._listener.start()

    def _beat(self, seconds: float) -> None:
        """From the loop, so that a blocked one is noticed."""
        systemd.notify(WATCHDOG=1)
        asyncio.get_running_loop().call_later(seconds, self._beat, seconds)

    async def close(self, *, is_last: bool = True) -> None:
        """Accept no more; the last one on these sockets takes what the kernel has queued. The deadlines go on."""
        self._certificate.stop()
        await self._listener.close(is_last=is_last)

    def _renew(self, context: ssl.SSLContext) -> None:
        self._listener.ssl = context
