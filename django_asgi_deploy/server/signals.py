"""Signals as something to wait for: a handler only records, the supervisor's loop acts."""

import signal
import socket
from types import TracebackType

TAKEN = (
    signal.SIGTERM,
    signal.SIGINT,
    *(
        getattr(signal, name)
        for name in ("SIGHUP", "SIGUSR1", "SIGTTIN", "SIGTTOU", "SIGCHLD")
        if hasattr(signal, name)  # not on Windows, where there is no supervisor, but where this file is imported
    ),
)


class Signals:
    """Readable (``fileno``) when signals have come; ``taken`` gives them, in their order. A context manager.

    All signals are blocked until the end of the handover; here, where somebody hears them, they are let in.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> "Signals":
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for sig in TAKEN:
            signal.signal(sig, _record)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        return self._reader.fileno()

    def taken(self) -> list[int]:
        try:
            return list(self._reader.recv(65536))
        except BlockingIOError:
            return []


def _record(sig: int, frame: object) -> None:
    """The number is in the wake-up descriptor already."""
