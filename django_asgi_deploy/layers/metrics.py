"""Metrics for Prometheus, right across worker processes and their restarts.

With several workers, PROMETHEUS_MULTIPROC_DIR must be in the environment before ``prometheus_client`` is imported by
anybody: the library then keeps its values in files there, and whichever worker is asked answers for all of them
(https://prometheus.github.io/client_python/multiprocess/).
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from django_asgi_deploy.handlers.pool import PoolStats
from django_asgi_deploy.layers.observe import Observation, quietly
from django_asgi_deploy.layers.route import note_route
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

logger = logging.getLogger("django_asgi_deploy.metrics")

SAMPLE_SECONDS = 1.0  # between two looks at the loop, the pool and the memory

# Names that a client makes up are one: nobody else may add time series.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
OTHER = "(other)"
NO_ROUTE = "(none)"

DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)

_STATM = Path("/proc/self/statm")


class Families:
    """What is measured. Made once in a process: the registry knows each name once."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            os.makedirs(folder, mode=0o700, exist_ok=True)  # whoever tidies /tmp may have taken it for forgotten

        def now(name: str, text: str, mode: Literal["livesum", "livemax", "liveall"] = "livesum") -> Gauge:
            return Gauge(f"django_asgi_{name}", text, multiprocess_mode=mode)

        self.requests = Counter("django_asgi_requests_total", "Requests answered.", ["method", "route", "status"])
        self.duration = Histogram(
            "django_asgi_request_duration_seconds",
            "From the request's first line to the response's last byte.",
            ["method", "route"],
            buckets=DURATIONS,
        )
        self.response_size = Histogram(
            "django_asgi_response_size_bytes", "Size of the responses' bodies.", ["method", "route"], buckets=SIZES
        )
        self.request_size = Histogram(
            "django_asgi_request_size_bytes", "Size of the requests' bodies, as announced.", buckets=SIZES
        )
        self.wait = Histogram(
            "django_asgi_thread_wait_seconds", "Time that requests waited for a thread.", buckets=DURATIONS
        )
        self.disconnects = Counter(
            "django_asgi_disconnects_total", "Requests whose client left before the end of the response."
        )
        self.in_flight = now("requests_in_flight", "Requests that are being answered.")
        self.websockets = Counter("django_asgi_websockets_total", "WebSocket connections that ended.", ["status"])
        self.websockets_open = now("websockets_open", "WebSocket connections that are open.")
        self.threads = now("pool_threads", "Threads of the pool.")
        self.busy = now("pool_threads_busy", "Threads of the pool that are in use.")
        self.waiting = now("pool_requests_waiting", "Requests that wait for a thread.")
        self.hung = now("pool_threads_hung", "Threads that have been in one call for a minute or longer.")
        self.abandoned = now("pool_threads_abandoned", "Threads in a call whose client has left.")
        self.lag = now("loop_lag_seconds", "How late the event loop was in the last second.", "livemax")
        self.worker_starts = Counter("django_asgi_worker_starts_total", "Worker processes that began to serve.")
        self.worker_start_time = now("worker_start_time_seconds", "When the worker began to serve.", "liveall")
        self.worker_memory = now("worker_resident_memory_bytes", "Resident memory of the worker.", "liveall")


families = cache(Families)

Labels = tuple[str, str | None, int]  # method, route, status
# Counts a request; observes its seconds, and its bytes.
Noting = tuple[Callable[[], None], Callable[[float], None], Callable[[float], None]]


class Metrics:
    """Notes requests that are over, and once a second the state of the process.

    ``stats`` tells of the handler's pool, if it has one; ``open`` has how many requests and WebSockets are open, by the
    type of their scope. Raises ImportError where prometheus_client isn't installed.
    """

    def __init__(self, stats: Callable[[], PoolStats] | None) -> None:
        import prometheus_client  # noqa: F401

        self.stats = stats
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self.open = {"http": 0, "websocket": 0}
        # labels() takes a lock and makes a tuple of strings; this is as bounded as the labels are.
        self._by_labels: dict[Labels, Noting] = {}

    @property
    def families(self) -> Families:
        """Not made before a request is there: the process that workers are forked from is no worker."""
        return families()

    def __call__(self, ended: list[Observation]) -> None:
        for seen in ended:
            quietly(self._note, seen)

    def _note(self, seen: Observation) -> None:
        known = self.families
        if seen.is_websocket:
            known.websockets.labels(seen.status).inc()
            return
        scope = seen.scope
        method = scope["method"]
        key = (method if method in METHODS else OTHER, seen.route, seen.status)
        count, duration, size = self._by_labels.get(key) or self._labelled(key)
        count()
        duration(seen.seconds)
        size(seen.bytes)
        known.wait.observe(seen.waited)
        if seen.left:
            known.disconnects.inc()
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                known.request_size.observe(int(value[:18]))

    def _labelled(self, key: Labels) -> Noting:
        known = self.families
        method, route, status = key
        name = NO_ROUTE if route is None else f"/{route}"
        found = self._by_labels[key] = (
            known.requests.labels(method, name, status).inc,
            known.duration.labels(method, name).observe,
            known.response_size.labels(method, name).observe,
        )
        return found

    # The state of the process

    def is_new_here(self) -> bool:
        """Whether ``start`` is to be called: once for each process and event loop."""
        return self._loop is not asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to look at the process now and then."""
        loop = self._loop = asyncio.get_running_loop()
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self.families.worker_starts.inc()
            self.families.worker_start_time.set(time.time())
        self.sample(0.0)
        self._sample_later(loop)

    def _sample_later(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(SAMPLE_SECONDS, self._tick, loop, loop.time() + SAMPLE_SECONDS)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if loop is self._loop:
            self.sample(max(0.0, loop.time() - due))
            self._sample_later(loop)

    def sample(self, lag: float | None = None) -> None:
        known = self.families
        if lag is not None:
            known.lag.set(lag)
        known.in_flight.set(self.open["http"])
        known.websockets_open.set(self.open["websocket"])
        if self.stats:
            stats = self.stats()
            known.threads.set(stats.threads)
            known.busy.set(stats.busy)
            known.waiting.set(stats.waiting)
            known.hung.set(stats.hung)
            known.abandoned.set(stats.abandoned)
        try:
            resident = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return  # no Linux
        known.worker_memory.set(resident)


class Exposition:
    """Answers GET at ``path`` with the metrics, to clients that ``trusts`` says yes to; to others there is no such
    page. Everything else goes to ``app``."""

    def __init__(self, app: ASGIApp, metrics: Metrics, path: str, trusts: Callable[[Scope], bool]) -> None:
        self.app = app
        self.metrics = metrics
        self.path = path
        self.trusts = trusts

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self.metrics.is_new_here():
            self._start()
        if scope["type"] == "http" and self._is_meant(scope):
            note_route(scope, self.path[1:])
            return self._answer(scope, send)
        return self.app(scope, receive, send)

    def _start(self) -> None:
        try:
            self.metrics.start()
        except OSError:  # of the shared directory
            logger.exception("The metrics of this process can't be kept")

    def _is_meant(self, scope: Scope) -> bool:
        path: str = scope["path"]
        if not path.endswith(self.path):
            return False
        root = (scope.get("root_path") or "").rstrip("/")
        return path == self.path or (bool(root) and path == root + self.path)

    async def _answer(self, scope: Scope, send: Send) -> None:
        if not self.trusts(scope):
            status, kind, body = 404, "text/plain; charset=utf-8", b"Not Found"
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, "text/plain; charset=utf-8", b"Method Not Allowed"
        else:
            self.metrics.sample()
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
            status, (kind, body) = 200, await asyncio.to_thread(_exposed, accept)
        headers = [
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _exposed(accept: str) -> tuple[str, bytes]:
    """Content type and body, in the form that the client likes best."""
    from prometheus_client.exposition import choose_encoder

    encode, kind = choose_encoder(accept)
    return kind, encode(_registry())


def _registry() -> "CollectorRegistry":
    """What there is to expose: everybody's values from the shared directory, or this process's own."""
    from prometheus_client import REGISTRY, CollectorRegistry

    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder:
        return REGISTRY
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(Shared(Path(folder)))
    return registry


class Shared:
    """As ``prometheus_client.multiprocess.MultiProcessCollector``, which can't read a file that is still empty.

    That is what a worker has made and not yet written to, or was killed before it could.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> "Iterable[Metric]":
        from prometheus_client.multiprocess import MultiProcessCollector

        merge: Any = MultiProcessCollector.merge
        metrics: Iterable[Metric] = merge([str(file) for file in self.folder.glob("*.db") if _has_bytes(file)])
        return metrics


def _has_bytes(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # of a worker that was there a moment ago
        return False
