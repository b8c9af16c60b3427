"""The kernel's queue of connections that nobody has accepted yet: how it is closed to new ones, to be emptied.

Closing a listening socket resets what waits in its queue. Between the last ``accept`` and ``close`` there is always
room for one more, above all if several processes share the socket: so the queue is closed first.
"""

import select
import socket
import struct
import sys
from array import array
from contextlib import suppress

SETTLE_SECONDS = 0.2  # for handshakes that have begun: the client's last word takes a journey there and back

_SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; Python has no name for it
# A program for the kernel's packet filter, which sees segments from the TCP header on. Each instruction is an
# operation, two relative jumps and a constant (<linux/filter.h>).
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x45, 0, 1, 0x02),  # is SYN among them? Otherwise skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
)


class BorrowedSocket(socket.socket):
    """A listening socket that another program opened and may keep: its queue isn't ours to close."""


def refuse_new(sock: socket.socket) -> bool:
    """Let no connection join the queue of ``sock`` any more, for all processes that have it and for good.

    ``accept`` goes on to give what is in the queue, and what joins it from handshakes that have begun. A TCP client
    that comes now asks again after a second, as after a lost packet, and is refused if nobody listens by then.

    Where the system can't do that, the queue gets as short as it may be. False if none can join it from now on; then
    the socket is readable all the time.
    """
    try:
        if sock.family == getattr(socket, "AF_UNIX", None):
            sock.shutdown(socket.SHUT_RD)
            return False
        if sys.platform == "linux":
            _attach_filter(sock)
        else:
            sock.listen(1)  # 0 means the default on some systems
    except OSError:  # not every sandbox has filters
        sock.listen(1)
    return True


def refuse_all(sock: socket.socket) -> None:
    """Have new connections be refused from now on, whoever else has ``sock``: a worker that is stuck can't close it.

    Only ``close`` does so where the system doesn't let a listening socket be shut down.
    """
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def is_empty_for_good(sock: socket.socket) -> bool:
    """Whether none can join the queue of ``sock``, from which ``accept`` has just got nothing."""
    if sys.platform != "linux":
        return False
    if sock.family != socket.AF_UNIX:
        return not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _attach_filter(sock: socket.socket) -> None:
    program = array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in _DROP_SYN))
    address, _ = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_DROP_SYN), address))
