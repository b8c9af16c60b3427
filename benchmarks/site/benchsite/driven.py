"""
Our application in process, without a server: ``python -m benchsite.driven PATH COUNT``.

That many requests by 32 clients on one event loop, after 100 more that don't count. benchmarks/instructions.py counts
what it does.
"""

import asyncio
import os
import sys

import uvloop
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from benchsite.asgi import application
from benchsite.chain import SCOPE

CLIENTS = 32
WARM = 100


class Cycle:
    """What a request and its response need of uvicorn's cycle, and its own receive()."""

    receive = RequestResponseCycle.receive
    body = b""
    more_body = False
    waiting_for_100_continue = False
    disconnected = False

    def __init__(self):
        self.flow = self
        self.message_event = asyncio.Event()
        self.message_event.set()
        self.response_complete = False
        self.status = None

    def resume_reading(self):
        pass

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body"):
            self.response_complete = True
            self.message_event.set()


async def client(path, numbers):
    for _ in numbers:
        cycle = Cycle()
        scope = {**SCOPE, "path": path, "raw_path": path.encode(), "headers": list(SCOPE["headers"]), "state": {}}
        await asyncio.create_task(application(scope, cycle.receive, cycle.send))
        if cycle.status != 200 or not cycle.response_complete:
            raise SystemExit(f"{path} answered {cycle.status}.")


async def main(path, count):
    for requests in (WARM, count):
        numbers = iter(range(requests))
        await asyncio.gather(*(client(path, numbers) for _ in range(CLIENTS)))
    os._exit(0)  # what the end of a process does isn't a request's


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
