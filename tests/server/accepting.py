"""A process that forks workers around one listening socket; each connection is told the pid of the worker it has.

``python -m tests.server.accepting LOOP WORKERS`` prints the port, then the pid of each worker. SIGTERM ends a worker
through ``Listener.close()``; SIGUSR1 blocks its loop for three seconds, and it prints "blocked". A connection that
sends something gets it back.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from typing import ClassVar

import uvloop

from django_asgi_deploy.server.balance import Balance
from django_asgi_deploy.server.listener import Listener

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class TellPid(asyncio.Protocol):
    """Says who has the connection, then echoes."""

    connections: ClassVar[set["TellPid"]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.add(self)
        self.transport = transport
        self.lost = asyncio.get_running_loop().create_future()
        transport.write(f"{os.getpid()}\n".encode())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.connections.discard(self)
        self.lost.set_result(None)

    async def end(self) -> None:
        self.transport.close()
        await self.lost


def block() -> None:
    os.write(1, b"blocked\n")
    time.sleep(3)


async def work(sock: socket.socket, balance: Balance | None) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, block)
    listener = Listener(TellPid, [sock], lambda: len(TellPid.connections), balance=balance)
    listener.start()
    os.write(1, b"%d\n" % os.getpid())  # in one piece
    await stopping.wait()
    await listener.close()
    ends = [protocol.end() for protocol in TellPid.connections]
    await asyncio.gather(*ends)


def main(loop: str, workers: int) -> None:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1000)
    os.write(1, b"%d\n" % sock.getsockname()[1])
    balance = Balance() if workers > 1 else None
    children = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(work(sock, balance))
            os._exit(0)
        children.append(pid)
    sock.close()  # the parent's copy first: a queue that it holds open would be reset with it
    signal.signal(signal.SIGTERM, lambda *_: [os.kill(pid, signal.SIGTERM) for pid in children])
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
