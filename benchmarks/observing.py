#!/usr/bin/env python3
"""What access log, request ids and metrics add to a whole request: ``python benchmarks/observing.py``.

As benchmarks/accesslog.py, but in one process and without a network: requests are handed to uvicorn's protocol as
bytes, and what counts is processor time. So it also works beside other work: short rounds go through all
settings in turn, and only what was measured next to each other is compared. Needs what requirements.txt has.
"""

import argparse
import asyncio
import dataclasses
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "site"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
import uvloop
from uvicorn.server import ServerState

from django_asgi_deploy import conf
from django_asgi_deploy.asgi import assemble
from django_asgi_deploy.server.config import build_config

CONNECTIONS = 16
IN_A_ROUND = 8  # requests of each connection

PATHS = ["/sync/", "/async/"]
NONE = {"access_log": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "none": NONE,
    "ACCESS_LOG (json), to a file": {"access_log": "json"},
    "REQUEST_ID_HEADER": {**NONE, "request_id_header": "x-request-id"},
    "METRICS_PATH": {**NONE, "metrics_path": "/metrics"},
}


class Transport(asyncio.Transport):
    """A client that takes whatever is written to it."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 50000)})
        self.answered = asyncio.Event()
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.answered.set()

    def is_closing(self) -> bool:
        return False

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    async def ask(self, request: bytes) -> None:
        for _ in range(IN_A_ROUND):
            self.answered.clear()
            self.protocol.data_received(request)
            await self.answered.wait()


def connections(settings: conf.Settings) -> list[Transport]:
    config = build_config(settings, assemble(settings), lifespan=None)
    state = ServerState()
    made = [Transport() for _ in range(CONNECTIONS)]
    for transport in made:
        transport.protocol = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        transport.protocol.connection_made(transport)
    return made


async def round_of(transports: list[Transport], request: bytes) -> float:
    """Microseconds of processor time per request."""
    started = time.process_time()
    await asyncio.gather(*(each.ask(request) for each in transports))
    return (time.process_time() - started) / (IN_A_ROUND * CONNECTIONS) * 1e6


async def measure(requests: int) -> None:
    settings = conf.load()
    clients = {name: connections(dataclasses.replace(settings, **changes)) for name, changes in SETTINGS.items()}
    for path in PATHS:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        found: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(requests // (IN_A_ROUND * CONNECTIONS) + 1):
            for name, transports in clients.items():
                found[name].append(await round_of(transports, request))
        for name, values in found.items():
            pairs = [*zip(found["none"], values, strict=True)]
            added = statistics.median(value - none for none, value in pairs)
            ratio = statistics.median(none / value for none, value in pairs)
            print(f"{path:8} {name:32} {statistics.median(values):8.1f} microseconds {added:+7.1f} {ratio:7.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="with each of the settings, for each path (20000)")
    requests = parser.parse_args().requests
    os.environ.update(BENCH_OURS="1", DJANGO_SETTINGS_MODULE="benchsite.settings_accesslog")
    django.setup()
    print(f"Python {platform.python_version()}, uvloop {uvloop.__version__}, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.NamedTemporaryFile("w") as lines, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        logging.getLogger("django_asgi_deploy.access").handlers = [logging.StreamHandler(lines)]
        runner.run(measure(requests))


if __name__ == "__main__":
    main()
