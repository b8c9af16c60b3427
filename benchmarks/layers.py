#!/usr/bin/env python3
"""What each layer adds to a request that it lets through, in microseconds of this process.

``python benchmarks/layers.py [--seconds 10]``; needs the package, its dependencies and prometheus_client.
Rounds measure all layers in turn around the same application; of a layer's rounds the fastest counts, less that of the
application alone.
"""

import argparse
import asyncio
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from django_asgi_deploy.layers.accesslog import AccessLog
from django_asgi_deploy.layers.health import Health, Readiness
from django_asgi_deploy.layers.lifespan import Contexts
from django_asgi_deploy.layers.limits import BodyLimit, Deadline, InFlight
from django_asgi_deploy.layers.metrics import Metrics
from django_asgi_deploy.layers.mount import Mount
from django_asgi_deploy.layers.observe import Observed
from django_asgi_deploy.layers.proxy import Behind, Forwarding
from django_asgi_deploy.proxies import TrustedHosts
from django_asgi_deploy.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = 2000  # in a round
TOGETHER = 10  # in one turn of the event loop

HEADERS = [  # a browser's, through a proxy
    (b"host", b"example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"csrftoken=0123456789abcdef0123456789abcdef; sessionid=0123456789abcdef0123456789abcdef"),
    (b"sec-fetch-mode", b"navigate"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
]
SCOPE: Scope = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/notes/7/",
    "raw_path": b"/notes/7/",
    "query_string": b"",
    "root_path": "",
    "headers": HEADERS,
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
    "state": {},
}


FORWARDED = ("x-forwarded-for", "x-forwarded-proto")


def in_context(app: ASGIApp) -> ASGIApp:
    contexts = Contexts(app, {}, lambda: None)
    contexts._is_up = True  # as after a lifespan start-up
    return contexts


def in_metrics(app: ASGIApp) -> ASGIApp:
    metrics = Metrics(None)
    return Observed(app, [metrics], counts=metrics.open)


LAYERS: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "LIFESPAN": in_context,
    "LIVE_PATH, READY_PATH": lambda app: Health(
        app, "/livez", "/readyz", Readiness({}, 3), is_draining=lambda: False, is_trusted=lambda scope: True
    ),
    "MAX_BODY_BYTES": lambda app: BodyLimit(app, 10_000_000),
    "REQUEST_TIMEOUT_SECONDS": lambda app: Deadline(app, 30),
    "MAX_IN_FLIGHT": lambda app: InFlight(app, 100, 5),
    "TRUSTED_PROXIES (nothing forwarded)": lambda app: Behind(app, Forwarding(TrustedHosts(["127.0.0.1"]), [])),
    "TRUSTED_PROXIES (address, scheme)": lambda app: Behind(app, Forwarding(TrustedHosts(["127.0.0.1"]), FORWARDED)),
    "REQUEST_ID_HEADER": lambda app: Observed(app, [], request_id_header="x-request-id"),
    "ACCESS_LOG (json), to /dev/null": lambda app: Observed(app, [AccessLog("json")]),
    "METRICS_PATH": in_metrics,
    "MOUNTS": lambda app: Mount({"/api": hello}, app),
}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello"})


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


async def round_of(app: ASGIApp) -> float:
    """Microseconds per request."""
    started = time.perf_counter()
    for _ in range(REQUESTS // TOGETHER):
        for _ in range(TOGETHER):
            await app({**SCOPE}, receive, send)
        await asyncio.sleep(0)  # the access log writes at the end of the loop's turn
    return (time.perf_counter() - started) / REQUESTS * 1e6


async def measure(seconds: float) -> dict[str, float]:
    """Microseconds that each layer adds, and of the application alone under ``""``."""
    apps: dict[str, Any] = {"": hello, **{name: wrap(hello) for name, wrap in LAYERS.items()}}
    fastest = dict.fromkeys(apps, float("inf"))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, app in apps.items():
            fastest[name] = min(fastest[name], await round_of(app))
    alone = fastest[""]
    return {name: value - alone if name else value for name, value in fastest.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    access_logger = logging.getLogger("django_asgi_deploy.access")
    access_logger.setLevel(logging.INFO)
    access_logger.addHandler(logging.FileHandler(os.devnull))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        added = runner.run(measure(seconds))
    print(f"Python {platform.python_version()}, uvloop {uvloop.__version__}, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'the application alone':40}{added.pop(''):8.2f} microseconds")
    for name, value in added.items():
        print(f"{name:40}{value:+8.2f}")


if __name__ == "__main__":
    main()
