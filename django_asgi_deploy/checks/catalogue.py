"""Every check there is, by its number; and those of the research that were dropped, with the reason."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")  # worst first


@dataclass(frozen=True)
class Check:
    """A number and a slug are fixed for ever: they stand in SILENCED_SYSTEM_CHECKS and in comments."""

    number: int
    slug: str
    level: Level  # the usual one; a finding's own follows the handler and the backends that are really used
    title: str  # what is wrong, in a few words
    deploy: bool = True  # False: an error of it means that the site can't work at all

    @property
    def id(self) -> str:
        return f"asgi.{self.number:03}"


_ALL = (
    Check(0, "check-failed", "warning", "A check itself failed"),
    # The entry point
    Check(1, "asgi-import-fails", "error", "A plain server can't import the application"),
    Check(2, "asgi-application-unresolvable", "error", "The application can't be found", deploy=False),
    Check(3, "asgi-app-is-wsgi", "error", "The application isn't an ASGI application", deploy=False),
    Check(4, "asgi-app-factory", "warning", "The application is a factory"),
    Check(5, "asgi2-app", "warning", "The application speaks ASGI 2"),
    Check(6, "settings-module-mismatch", "warning", "manage.py and asgi.py ask for different settings"),
    Check(7, "settings-module-forced", "warning", "asgi.py overrides DJANGO_SETTINGS_MODULE"),
    Check(8, "settings-unresolved", "error", "A plain server finds no settings"),
    Check(9, "import-side-effects", "warning", "The import of the application does more than import"),
    Check(10, "db-access-in-ready", "warning", "AppConfig.ready() queries the database"),
    Check(11, "gevent-patched", "error", "gevent or eventlet has patched the standard library"),
    Check(12, "dev-static-handler", "warning", "Static files are served by the development handler"),
    Check(13, "lifespan", "error", "Start-up or shutdown fails, or doesn't answer"),
    # Settings
    Check(101, "conn-max-age", "error", "Persistent connections are left open"),
    Check(102, "pool-with-conn-max-age", "error", "A connection pool beside persistent connections"),
    Check(103, "pool-too-small", "warning", "The connection pool is smaller than it looks"),
    Check(104, "pool-exceeds-server", "error", "More connections than the database server allows"),
    Check(105, "unbounded-connections", "warning", "Nothing bounds the connections to the database"),
    Check(106, "atomic-requests-async", "error", "ATOMIC_REQUESTS and asynchronous views"),
    Check(107, "sqlite-deploy", "warning", "SQLite and several writers"),
    Check(108, "async-unsafe-env", "error", "Django's guard against queries on the event loop is off"),
    Check(109, "locmem-per-worker", "warning", "Every worker has a cache of its own"),
    Check(110, "file-sessions", "warning", "Sessions in files are read on the event loop"),
    Check(111, "channel-layer-in-memory", "warning", "Every worker has a channel layer of its own"),
    Check(112, "logging-mutes-server", "error", "LOGGING mutes the server"),
    Check(113, "logging-blocking-handler", "warning", "A log handler waits for the network"),
    Check(114, "rotating-log-multiproc", "warning", "Several workers rotate one log file"),
    Check(115, "ssl-redirect-loop", "warning", "Every page redirects to itself"),
    Check(116, "script-name-slash", "warning", "The prefix ends in a slash"),
    Check(117, "root-path-conflict", "warning", "Two prefixes"),
    Check(118, "immediate-tasks", "warning", "Tasks run inside the request"),
    Check(119, "gzip-buffers-stream", "warning", "GZipMiddleware holds streams back"),
    Check(121, "static-unserved", "warning", "Nobody serves the static files"),
    Check(122, "cache-api-threads", "info", "The cache's asynchronous methods run in one thread"),
    # Middleware
    Check(201, "async-call-undeclared", "error", "Asynchronous middleware that doesn't say so", deploy=False),
    Check(202, "async-unmarked", "error", "Asynchronous middleware that isn't marked", deploy=False),
    Check(203, "legacy-marker", "error", "Middleware marked as Python 3.11 understood it", deploy=False),
    Check(204, "async-hook", "error", "An asynchronous hook that can't be one", deploy=False),
    Check(205, "sync-call-override", "error", "MiddlewareMixin with a synchronous __call__", deploy=False),
    Check(
        206, "async-factory-undeclared", "error", "An asynchronous middleware function without decorator", deploy=False
    ),
    Check(207, "sync-only", "warning", "Middleware that is synchronous only"),
    Check(208, "sandwich", "warning", "Synchronous middleware between asynchronous ones"),
    Check(209, "hop-table", "info", "What the middleware costs"),
    Check(210, "thread-local-in-middleware", "warning", "A thread-local in middleware"),
    Check(211, "sync-wraps-stream", "warning", "Middleware that breaks asynchronous streams"),
    # URLconf, views, auth
    Check(301, "sync-wrapper", "error", "A synchronous decorator around an asynchronous view"),
    Check(302, "callable-unmarked", "error", "A view object whose asynchronous __call__ isn't marked"),
    Check(303, "lambda-coroutine", "error", "A lambda that returns a coroutine"),
    Check(304, "atomic-on-async", "error", "transaction.atomic around an asynchronous view"),
    Check(305, "async-view-sync-mixin", "error", "A login mixin on an asynchronous view"),
    Check(306, "method-decorator-dispatch", "error", "A decorated dispatch() of an asynchronous view"),
    Check(307, "sync-override", "error", "A synchronous override in an asynchronous view"),
    Check(308, "async-hook-of-sync-view", "error", "An asynchronous method that is called synchronously"),
    Check(309, "mixed-handlers", "error", "Synchronous and asynchronous handlers in one view"),
    Check(310, "cache-page-on-async", "warning", "cache_page on an asynchronous view"),
    Check(311, "middleware-decorator-on-async", "warning", "Middleware as the decorator of an asynchronous view"),
    Check(312, "drf-async-handler", "error", "An asynchronous handler in Django REST framework"),
    Check(313, "async-wrapper-sync-view", "warning", "An asynchronous decorator around a synchronous view"),
    Check(314, "async-twin-bypass", "error", "The asynchronous twin of an overridden method"),
    Check(315, "async-error-handler", "error", "An asynchronous error handler"),
    Check(316, "async-context-processor", "error", "An asynchronous context processor or template tag"),
    Check(317, "no-async-code", "info", "Nothing asynchronous"),
    # Code in asynchronous functions
    Check(401, "blocking-call", "warning", "A call that holds the event loop"),
    Check(402, "sync-orm", "error", "A query on the event loop"),
    Check(403, "lazy-relation", "error", "A relation that isn't loaded yet"),
    Check(404, "request-user", "error", "request.user or request.session in asynchronous code"),
    Check(405, "unawaited", "error", "A coroutine that nobody awaits"),
    Check(406, "atomic-in-async", "error", "transaction.atomic in asynchronous code"),
    Check(407, "sync-iterator-streaming", "warning", "A stream that is collected before it is sent"),
    Check(408, "orm-in-foreign-thread", "error", "A query in a thread that nobody tidies"),
    Check(409, "sync-to-async-lazy", "error", "sync_to_async around a lazy QuerySet"),
    Check(410, "thread-local", "warning", "A thread-local in asynchronous code"),
    Check(411, "cached-coroutine", "error", "A coroutine in a cache"),
    Check(412, "loop-in-loop", "error", "A second event loop inside the first"),
    Check(413, "fire-and-forget", "warning", "A task that nobody keeps"),
    Check(414, "swallowed-cancellation", "info", "A view that outlives its client"),
    Check(415, "sync-auth", "warning", "Login, mail, files, cache or passwords on the event loop"),
    Check(416, "render-lazy-queryset", "error", "A template that queries on the event loop"),
    Check(417, "gather-serial-orm", "info", "Queries in gather() run one after another"),
    Check(418, "signal-send", "warning", "Signal.send() in asynchronous code"),
    Check(419, "thread-lock", "warning", "A thread's lock around an await"),
    Check(420, "form-validation", "warning", "A form that queries on the event loop"),
    Check(421, "task-enqueue", "info", "A synchronous enqueue() in asynchronous code"),
    Check(422, "masked-type-error", "info", "A TypeError that hides another"),
    # Server and deployment
    Check(501, "websocket-lib-missing", "error", "No WebSocket library"),
    Check(502, "uvloop-httptools-missing", "info", "The faster parts of the server aren't installed"),
    Check(503, "forwarded-allow-ips", "warning", "Anybody may say who they are"),
    Check(504, "no-limit-concurrency", "warning", "A thread for each request, without limit"),
    Check(505, "graceful-timeout", "warning", "The server's end waits for open streams for ever"),
    Check(507, "deprecated-worker", "warning", "uvicorn.workers is deprecated"),
    Check(508, "wsgi-in-deploy-files", "warning", "The deployment starts WSGI"),
    Check(509, "development-flags", "warning", "A development flag in production"),
    Check(510, "uds-remote-addr", "warning", "REMOTE_ADDR isn't always there"),
    Check(511, "versions", "warning", "Versions that don't fit"),
    Check(512, "sse-headers", "warning", "A proxy holds server-sent events back"),
    Check(513, "third-party-table", "info", "Installed packages that keep state by thread"),
    # Channels
    Check(601, "router-without-http", "error", "ProtocolTypeRouter without http"),
    Check(602, "consumer-class-as-route", "error", "A consumer's class in the place of an application"),
    Check(603, "websocket-without-origin-check", "warning", "Any site's pages may open a WebSocket"),
    # The probe
    Check(701, "error", "error", "A request fails"),
    Check(702, "blocking", "error", "A request holds the event loop"),
    Check(703, "runtime-warnings", "warning", "Django or Python warns while a page is made"),
    Check(704, "connection-leak", "error", "Requests leave database connections open"),
    Check(705, "disconnect", "error", "A request goes on after its client has left"),
    Check(706, "cost", "warning", "A response is collected in memory, or comes late"),
    Check(707, "behind-a-proxy", "warning", "A page fails behind a proxy, or a static file is missing"),
    Check(708, "no-answer", "error", "A request isn't answered in time"),
)
CHECKS: dict[int, Check] = {check.number: check for check in _ALL}
BY_SLUG: dict[str, Check] = {check.slug: check for check in _ALL}

DROPPED: dict[int, str] = {
    120: "Django spools every request's body: it is true of all projects, and nothing in a project says whether the "
    "proxy in front bounds it.",
    604: "A query in a consumer is a query on the event loop: it is found and reported as 402, like any other.",
    506: "Whether a proxy keeps idle connections longer than the server can't be known from the project.",
}


def find(name: str) -> Check | None:
    """The check by its number ("101", "asgi.101", "E101") or its slug."""
    if name in BY_SLUG:
        return BY_SLUG[name]
    digits = name.removeprefix("asgi.").lstrip("EWI")
    return CHECKS.get(int(digits)) if digits.isascii() and digits.isdecimal() else None
