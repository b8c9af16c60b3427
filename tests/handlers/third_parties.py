"""One site for each third party, served by one handler, and what the third party saw of it, as JSON.

    python -m tests.handlers.third_parties sentry django.core.handlers.asgi.ASGIHandler

A process for each: most of these packages patch Django for good.
"""

import asyncio
import json
import logging
import re
import sys
import tempfile
import threading
from pathlib import Path

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import include, path
from django.utils.module_loading import import_string

log = logging.getLogger("site")

DEFAULT_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
DEFAULT_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

# What a third party wants done inside a view; set by its site.
inside = {"step": lambda name: None}


# --- Views -----------------------------------------------------------------------------------------------------------


def count_users():
    from django.contrib.auth.models import User

    inside["step"]("query")
    return User.objects.count()


def sync_view(request):
    inside["step"]("view")
    log.info("in the view")
    return HttpResponse(f"<html><body>{count_users()} users</body></html>")


async def async_view(request):
    inside["step"]("view")
    log.info("in the view")
    return HttpResponse(f"<html><body>{await sync_to_async(count_users)()} users</body></html>")


def sync_raising(request):
    inside["step"]("view")
    raise ValueError("raised by a view")


async def async_raising(request):
    inside["step"]("view")
    await asyncio.sleep(0)
    raise ValueError("raised by a view")


def sync_stream(request):
    return StreamingHttpResponse(iter(["one ", "two"]))


async def async_stream(request):
    async def chunks():
        yield "one "
        inside["step"]("stream")
        yield "two"

    return StreamingHttpResponse(chunks())


urlpatterns = [
    path("sync/", sync_view),
    path("async/", async_view),
    path("sync-raising/", sync_raising),
    path("async-raising/", async_raising),
    path("sync-stream/", sync_stream),
    path("async-stream/", async_stream),
]
PATHS = ["/sync/", "/async/", "/sync-raising/", "/async-raising/", "/sync-stream/", "/async-stream/", "/missing/"]


# --- Serving ---------------------------------------------------------------------------------------------------------


def configure(directory, **options):
    given = {
        "SECRET_KEY": "not a secret",
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": __name__,
        "MIDDLEWARE": DEFAULT_MIDDLEWARE,
        "INSTALLED_APPS": DEFAULT_APPS,
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3")}},
        "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        "STATIC_URL": "/static/",
        "LOGGING_CONFIG": None,
        "USE_TZ": True,
    }
    settings.configure(**{**given, **options})
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


async def ask(application, path, method="GET", headers=()):
    """Send one request; return status, headers and body, or what the application raised."""
    sent = []
    stays = asyncio.get_running_loop().create_future()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return messages.pop(0) if messages else await stays

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"user-agent", b"tests"), *headers],
        "client": ("127.0.0.1", 1234),
        "server": ("testserver", 80),
    }
    try:
        await asyncio.create_task(application(scope, receive, send))
    except Exception as error:
        return {"path": path, "raised": repr(error)}
    finally:
        stays.cancel()
    start = sent[0]
    return {
        "path": path,
        "status": start["status"],
        "headers": sorted((name.decode(), value.decode()) for name, value in start["headers"]),
        "body": b"".join(message.get("body", b"") for message in sent[1:]).decode("latin1"),
    }


async def ask_all(application, paths=tuple(PATHS), **options):
    return [await ask(application, path, **options) for path in paths]


def where():
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


# --- The third parties -----------------------------------------------------------------------------------------------


def sentry(make_handler, directory):
    """The events that Sentry sends: errors with their request, tags and breadcrumbs, transactions with their spans."""
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration
    from sentry_sdk.transport import Transport

    events = []

    class InMemory(Transport):
        def capture_envelope(self, envelope):
            for item in envelope.items:
                if item.headers.get("type") in {"event", "transaction"}:
                    events.append(item.payload.json)

    sentry_sdk.init(
        dsn="http://key@localhost/1",
        transport=InMemory,
        integrations=[DjangoIntegration(middleware_spans=True, signals_spans=True)],
        traces_sample_rate=1.0,
        send_default_pii=True,
    )
    configure(directory)
    inside["step"] = lambda name: sentry_sdk.set_tag(f"tag.{name}", name)
    application = make_handler()
    answers = asyncio.run(ask_all(application))
    sentry_sdk.flush()

    def tidy(event):
        request = event.get("request", {})
        return {
            "type": event.get("type", "error"),
            "transaction": event.get("transaction"),
            "source": event.get("transaction_info"),
            "exceptions": [
                (value["type"], value["value"], value["mechanism"]["type"], value["mechanism"]["handled"])
                for value in event.get("exception", {}).get("values", [])
            ],
            "in the view": [
                frame["function"]
                for value in event.get("exception", {}).get("values", [])
                for frame in value["stacktrace"]["frames"]
                if frame["module"] == __name__
            ],
            "request": [request.get(key) for key in ("url", "method", "query_string", "headers", "env")],
            "tags": event.get("tags"),
            "user": event.get("user"),
            "breadcrumbs": [
                (crumb["category"], crumb["message"]) for crumb in event.get("breadcrumbs", {}).get("values", [])
            ],
            "status": event.get("contexts", {}).get("trace", {}).get("status"),
            "spans": sorted(
                {branchless(f"{span['op']}: {span.get('description')}") for span in event.get("spans", [])}
            ),
            "view's parent": [
                parent["op"]
                for span in event.get("spans", [])
                if span["op"] == "db"
                for parent in event["spans"]
                if parent["span_id"] == span["parent_span_id"]
            ],
        }

    def branchless(text):
        return re.sub(r"__acall__|__call__|\.sync_send|\.asend", "call", text)

    return {"answers": answers, "seen": [tidy(event) for event in events]}


def opentelemetry(make_handler, directory):
    """The spans: name, kind, attributes, status, and each one's parent up to the caller's own."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer(__name__)
    configure(directory)
    DjangoInstrumentor().instrument()

    def step(name):
        with tracer.start_as_current_span(name):
            pass

    inside["step"] = step
    caller = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    answers = asyncio.run(ask_all(make_handler(), headers=[caller]))
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans} | {0xB7AD6B7169203331: "the caller"}
    seen = [
        {
            "name": span.name,
            "parent": span.parent and names.get(span.parent.span_id, "lost"),
            "in the caller's trace": span.context.trace_id == 0x0AF7651916CD43DD8448EB211C80319C,
            "kind": span.kind.name,
            "status": span.status.status_code.name,
            "attributes": {key: str(value) for key, value in sorted(span.attributes.items())},
            "events": [event.name for event in span.events],
        }
        for span in spans
    ]
    return {"answers": answers, "seen": seen}


def debug_toolbar(make_handler, directory):
    """The rows of the SQL panel, and what the other panels say of the request."""
    configure(
        directory,
        DEBUG=True,
        INTERNAL_IPS=["127.0.0.1"],
        INSTALLED_APPS=[*DEFAULT_APPS, "debug_toolbar"],
        MIDDLEWARE=["debug_toolbar.middleware.DebugToolbarMiddleware", *DEFAULT_MIDDLEWARE],
        DEBUG_TOOLBAR_CONFIG={"RENDER_PANELS": False},
    )
    from debug_toolbar.urls import urlpatterns as toolbar_urls

    urlpatterns.append(path("__debug__/", include((toolbar_urls, "djdt"))))
    from debug_toolbar.store import get_store

    answers = asyncio.run(ask_all(make_handler(), ["/sync/", "/async/", "/sync-stream/", "/async-stream/"]))
    store = get_store()
    seen = []
    for request_id in list(store.request_ids()):
        panels = dict(store.panels(request_id))
        seen.append(
            {
                "url": panels["HistoryPanel"].get("request_url"),
                "queries": [query["sql"] for query in panels["SQLPanel"].get("queries", [])],
                "headers": panels["HeadersPanel"].get("request_headers"),
                "response headers": sorted(set(panels["HeadersPanel"].get("response_headers", ())) - {"Server-Timing"}),
                # Each name once: dead receivers are listed until the collector has come by.
                "signals": [[name, sorted(set(names))] for name, names in panels["SignalsPanel"].get("signals", [])],
                "panels": sorted(panels),
            }
        )
    for answer in answers:
        timings = dict(answer["headers"]).get("Server-Timing", "")
        varying = {"Server-Timing", "djdt-request-id", "Content-Length"}
        answer["headers"] = [header for header in answer["headers"] if header[0] not in varying]
        answer["timings"] = sorted(re.findall(r"([A-Za-z]\w*);", timings))
        answer["has toolbar"] = "djDebug" in answer["body"]
        answer["body"] = ""
    return {"answers": answers, "seen": seen}


def structlog(make_handler, directory):
    """Every log line with the keys bound to it, in their order."""
    import structlog

    lines = []

    def keep(logger, method, event):
        lines.append({"level": method, **{key: str(value) for key, value in event.items()}})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep], cache_logger_on_first_use=False)
    configure(
        directory,
        INSTALLED_APPS=[*DEFAULT_APPS, "django_structlog"],
        MIDDLEWARE=[*DEFAULT_MIDDLEWARE, "django_structlog.middlewares.RequestMiddleware"],
    )

    def step(name):
        structlog.contextvars.bind_contextvars(**{f"bound_in_{name}": "yes"})
        structlog.get_logger("site").info("in the view")

    inside["step"] = step
    answers = asyncio.run(ask_all(make_handler()))
    numbers = {}
    for line in lines:
        if "request_id" in line:
            number = numbers.setdefault(line["request_id"], len(numbers) + 1)
            line["request_id"] = f"id {number}"
        line.pop("exc_info", None)
    return {"answers": answers, "seen": lines}


def whitenoise(make_handler, directory):
    """Static files: whole, by head, a range, not modified, immutable; and everything else passed on."""
    static = directory / "static"
    static.mkdir()
    (static / "hello.0123456789ab.txt").write_text("hello, " * 40_000)
    configure(
        directory,
        STATIC_ROOT=str(static),
        MIDDLEWARE=[DEFAULT_MIDDLEWARE[0], "whitenoise.middleware.WhiteNoiseMiddleware", *DEFAULT_MIDDLEWARE[1:]],
    )
    application = make_handler()
    file = "/static/hello.0123456789ab.txt"

    async def serve():
        answers = [await ask(application, file), await ask(application, file, method="HEAD")]
        etag = dict(answers[0]["headers"])["ETag"].encode()
        answers += [
            await ask(application, file, headers=[(b"range", b"bytes=3-9")]),
            await ask(application, file, headers=[(b"range", b"bytes=999999-")]),
            await ask(application, file, headers=[(b"if-none-match", etag)]),
            await ask(application, file, method="POST"),
            *await ask_all(application),
        ]
        return answers

    answers = asyncio.run(serve())
    seen = [(answer["status"], len(answer["body"])) for answer in answers]
    for answer in answers:
        answer["headers"] = [header for header in answer["headers"] if header[0] not in {"Last-Modified", "ETag"}]
    return {"answers": answers, "seen": seen}


def channels(make_handler, directory):
    """HTTP through ProtocolTypeRouter, and a consumer that shares the process and the database."""
    configure(directory, INSTALLED_APPS=[*DEFAULT_APPS, "channels"])
    from asgiref.testing import ApplicationCommunicator
    from channels.auth import AuthMiddlewareStack
    from channels.db import database_sync_to_async
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter

    class Consumer(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await self.send(f"{text_data}: {await database_sync_to_async(count_users)()} users")

    async def consuming_view(request):
        return HttpResponse(f"{await database_sync_to_async(count_users)()} users")

    urlpatterns.append(path("channels/", consuming_view))
    places = []
    inside["step"] = lambda name: places.append((name, where()))
    application = ProtocolTypeRouter(
        {
            "http": make_handler(),
            "websocket": AuthMiddlewareStack(URLRouter([path("ws/", Consumer.as_asgi())])),
        }
    )

    async def serve():
        answers = await ask_all(application)
        scope = {"type": "websocket", "path": "/ws/", "headers": [], "query_string": b"", "subprotocols": []}
        websocket = ApplicationCommunicator(application, scope)
        await websocket.send_input({"type": "websocket.connect"})
        connected = (await websocket.receive_output())["type"]
        await websocket.send_input({"type": "websocket.receive", "text": "ping"})
        said = (await websocket.receive_output())["text"]
        answers.append(await ask(application, "/channels/"))
        await websocket.send_input({"type": "websocket.disconnect", "code": 1000})
        await websocket.wait()
        return answers, [connected, said]

    answers, said = asyncio.run(serve())
    return {"answers": answers, "seen": [said, places]}


SITES = {
    function.__name__: function for function in (sentry, opentelemetry, debug_toolbar, structlog, whitenoise, channels)
}


def main():
    _, name, handler_path = sys.argv
    handlers = []

    def make_handler():
        # Imported when the third party has patched what it patches, as in a project's asgi.py.
        handler = import_string(handler_path)()
        handlers.append(handler)
        return handler

    with tempfile.TemporaryDirectory() as directory:
        seen = SITES[name](make_handler, Path(directory))
    for handler in handlers:
        if hasattr(handler, "close"):
            handler.close()
    seen["reasons"] = getattr(handlers[0], "fallback_reasons", [])
    print(json.dumps(seen))


if __name__ == "__main__":
    # The views are named by this module's own name, whichever way it was started.
    from tests.handlers import third_parties

    third_parties.main()
