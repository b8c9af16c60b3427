"""systemd's two protocols: sockets that it opened (sd_listen_fds(3)) and what it wants to know (sd_notify(3))."""

import os
import socket
import time
from collections.abc import Mapping

FIRST_DESCRIPTOR = 3
PATIENCE_SECONDS = 2.0  # with a systemd that has too much to read: this process must not hang with it
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_WATCHDOG_VARIABLES = ("WATCHDOG_PID", "WATCHDOG_USEC")


class NotActivatedError(Exception):
    """systemd passed no socket; the text says why."""


def passed_descriptors(environ: Mapping[str, str] = os.environ) -> list[tuple[int, str]]:
    """Each descriptor that systemd passed to this process, and its name (``FileDescriptorName=``).

    Raises NotActivatedError if there is none.
    """
    pid, count = environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
    if not count.isdecimal() or int(count) == 0:
        raise NotActivatedError("LISTEN_FDS isn't set")
    if pid != str(os.getpid()):
        raise NotActivatedError(
            f"LISTEN_PID is {pid or 'not set'}, and this is process {os.getpid()}: something between systemd and "
            "runasgi starts it instead of becoming it (exec)"
        )
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    return [
        (FIRST_DESCRIPTOR + number, names[number] if number < len(names) else "unknown") for number in range(int(count))
    ]


def is_activated(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd passed sockets to this process."""
    try:
        return bool(passed_descriptors(environ))
    except NotActivatedError:
        return False


def forget_descriptors() -> None:
    """So that what this process starts doesn't take them for its own."""
    for name in _VARIABLES:
        os.environ.pop(name, None)


def notify(**fields: str | int) -> bool:
    """Tell systemd, as in ``notify(READY=1, STATUS="2 workers")``; False where it doesn't listen.

    ``RELOADING`` gets the time that systemd wants with it. A failure to send isn't raised: serving is more important.
    Where what was said before isn't read, it is waited for a moment, except with ``WATCHDOG``, of which there is more.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if "RELOADING" in fields:
        fields = {**fields, "MONOTONIC_USEC": time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}
    lines = (f"{name}={_in_one_line(value)}" for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.0 if "WATCHDOG" in fields else PATIENCE_SECONDS)
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall("\n".join(lines).encode())
        except OSError:
            return False
    return True


def watchdog_seconds() -> float | None:
    """How often systemd wants a WATCHDOG=1 at least (``WatchdogSec=``); None if it doesn't."""
    pid, microseconds = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1_000_000


def forget_watchdog() -> None:
    """In what the supervisor starts: it is the supervisor that says so, and what a worker said in its place would hide
    its silence, where WATCHDOG_PID isn't set.
    """
    for name in _WATCHDOG_VARIABLES:
        os.environ.pop(name, None)


def _in_one_line(value: str | int) -> str:
    return " ".join(str(value).splitlines())
