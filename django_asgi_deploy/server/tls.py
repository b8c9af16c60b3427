"""The certificate's files are watched, and a renewed certificate counts for the connections that come then.

Whoever renews it may write in place, rename, or swap a symbolic link, as certbot and Kubernetes do: what counts is
which file is there in the end, and that it hasn't changed between two looks. The renewed files go into a context of
their own: loading them into the one in use would break it if they don't fit together, and leave an old key of another
type in it.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence

logger = logging.getLogger("django_asgi_deploy.server")

LOOK_SECONDS = 2.0

_Signature = tuple[tuple[int, ...] | None, ...]


class WatchedCertificate:
    """``make`` makes a context of ``files`` as they are now, ``use`` gets it. Runs in the event loop."""

    def __init__(
        self, files: Sequence[str], make: Callable[[], ssl.SSLContext], use: Callable[[ssl.SSLContext], None]
    ) -> None:
        self._files = files
        self._make = make
        self._use = use
        self._tried = self._seen = self._signature()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._files:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        before, self._seen = self._seen, self._signature()
        if self._seen == before and self._seen != self._tried:
            self._tried = self._seen
            self._renew()
        self.start()

    def _renew(self) -> None:
        try:
            context = self._make()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or error
            logger.error("%s: changed, and can't be used (%s). The old certificate stays.", self._files[0], reason)
        else:
            self._use(context)
            logger.info("%s: changed; new connections get the new certificate.", self._files[0])

    def _signature(self) -> _Signature:
        """Changes when a file does, or when a link on the way leads to another."""
        return tuple(map(_signature_of, self._files))


def _signature_of(file: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
