"""Messages between the supervisor and its children: one JSON object each, with descriptors beside it if need be."""

import json
import os
import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLE = "RUNASGI_CHANNEL"  # in the environment of a generation: its end of the channel
MOST_BYTES = 65536
MOST_DESCRIPTORS = 253  # Linux takes no more in one message, and says EINVAL (SCM_MAX_FD, unix(7))

Message = Mapping[str, Any]


class Channel:
    """One end of a pair of sequenced-packet unix sockets: a message arrives whole, or not at all.

    The end of a process is seen at the other side: ``receive`` raises EOFError there once everything is read.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def inherited(cls) -> tuple["Channel", Message] | None:
        """The channel to the supervisor that started this process, and what it said beside it; None without one."""
        text = os.environ.pop(VARIABLE, None)
        if text is None:
            return None
        told = json.loads(text)
        return cls.adopt(told["fd"]), told

    @classmethod
    def adopt(cls, fd: int) -> "Channel":
        os.set_inheritable(fd, False)
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self.sock.fileno()

    def send(self, *, descriptors: Sequence[int] = (), **message: Any) -> bool:
        """False if the other side is gone, or has stopped reading."""
        try:
            socket.send_fds(self.sock, [json.dumps(message).encode()], descriptors)
        except OSError:  # BrokenPipeError, BlockingIOError: the reader's death is seen by reading
            return False
        return True

    def receive(self) -> Iterator[tuple[Message, list[int]]]:
        """What has arrived, without waiting. Raises EOFError at the end."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.sock, MOST_BYTES, MOST_DESCRIPTORS)
            except BlockingIOError:
                return
            except ConnectionError:  # it ended before it had read what we sent
                data, descriptors = b"", []
            if not data:
                raise EOFError
            for fd in descriptors:
                os.set_inheritable(fd, False)  # else programs that the project starts would hold the listening sockets
            yield json.loads(data), descriptors

    def wait(self) -> Iterator[tuple[Message, list[int]]]:
        """What arrives, waiting for it, until the other side is gone."""
        while True:
            select.select([self.sock], [], [])
            try:
                yield from self.receive()
            except EOFError:
                return

    def close(self) -> None:
        self.sock.close()
