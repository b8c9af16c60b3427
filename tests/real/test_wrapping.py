"""Other people's ASGI middleware around Django and a mounted application: what they observe, from a served site."""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, Server, Site

pytestmark = pytest.mark.real

URLS = """
    import asyncio
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    def observed():
        try:
            from asgi_correlation_id import correlation_id
            return correlation_id.get() or ""
        except ImportError:
            return ""

    def span():
        try:
            from opentelemetry import trace
        except ImportError:
            return
        with trace.get_tracer("views").start_as_current_span("inside the view"):
            pass

    def sync(request):
        print("sync view", flush=True)
        span()
        return HttpResponse("sync " * 400, headers={"x-observed": observed()})

    async def asynchronous(request):
        span()
        return HttpResponse("async " * 400, headers={"x-observed": observed()})

    async def stream(request):
        async def parts():
            yield b"first " * 200
            await asyncio.sleep(0)
            yield b"second " * 200
        return StreamingHttpResponse(parts())

    def small(request):
        return HttpResponse("small")

    def error(request):
        raise ValueError("raised by the view")

    urlpatterns = [
        path("sync/", sync), path("async/", asynchronous), path("stream/", stream), path("small/", small),
        path("error/", error),
    ]
"""
MOUNTED = """
    async def application(scope, receive, send):
        if scope["path"].endswith("/error"):
            raise LookupError("raised by the mounted application")
        from mysite.urls import observed
        headers = [(b"x-observed", observed().encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"mounted " * 400})
"""


@contextmanager
def serving(site: Site, middleware: str, settings: str = "") -> Iterator[tuple[Server, httpx.Client]]:
    """The site with one middleware around it; ``middleware`` is an entry of MIDDLEWARE as it is written there."""
    site.write("mysite/urls", URLS)
    site.write("mysite/mounted", MOUNTED)
    site.append("mysite/settings", settings)
    mounts = '{"/mounted": "mysite.mounted.application"}'
    site.append("mysite/settings", f'ASGI_DEPLOY = {{"MIDDLEWARE": [{middleware}], "MOUNTS": {mounts}}}')
    with site.serve() as server, httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        yield server, client


@pytest.mark.parametrize(
    ("path", "text"),
    [("/sync/", "sync " * 400), ("/async/", "async " * 400), ("/mounted/", "mounted " * 400)],
)
def test_starlettes_gzip_compresses_what_is_large_enough(site: Site, path: str, text: str) -> None:
    require_package("starlette")
    with serving(site, '("starlette.middleware.gzip.GZipMiddleware", {"minimum_size": 1000})') as (_, client):
        with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert gzip.decompress(raw).decode() == text
        assert len(raw) < 200
        plain = client.get(path, headers={"accept-encoding": "identity"})
        assert ("content-encoding" in plain.headers, plain.text) == (False, text)
        assert "content-encoding" not in client.get("/small/").headers


def test_starlettes_gzip_compresses_a_stream_part_by_part(site: Site) -> None:
    require_package("starlette")
    with serving(site, '"starlette.middleware.gzip.GZipMiddleware"') as (_, client):
        answer = client.get("/stream/", headers={"accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text == "first " * 200 + "second " * 200


def test_starlettes_trusted_host_answers_before_django_is_asked(site: Site) -> None:
    require_package("starlette")
    options = '{"allowed_hosts": ["good.example"]}'
    with serving(site, f'("starlette.middleware.trustedhost.TrustedHostMiddleware", {options})') as (server, client):
        for path in ("/sync/", "/mounted/"):
            refused = client.get(path, headers={"host": "evil.example"})
            assert (refused.status_code, refused.text) == (400, "Invalid host header")
        assert "sync view" not in server.lines
        assert client.get("/sync/", headers={"host": "good.example"}).status_code == 200
        server.wait_for("^sync view$")


def test_starlettes_cors_answers_preflights_and_marks_answers(site: Site) -> None:
    require_package("starlette")
    options = '{"allow_origins": ["https://app.example"], "allow_methods": ["PUT"]}'
    with serving(site, f'("starlette.middleware.cors.CORSMiddleware", {options})') as (server, client):
        preflight = {"origin": "https://app.example", "access-control-request-method": "PUT"}
        answer = client.options("/sync/", headers=preflight)
        assert (answer.status_code, answer.text) == (200, "OK")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-methods"] == "PUT"
        assert "sync view" not in server.lines
        for path in ("/sync/", "/async/", "/mounted/"):
            answer = client.get(path, headers={"origin": "https://app.example"})
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
            answer = client.get(path, headers={"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/sync/", "/async/", "/mounted/"])
def test_correlation_ids_reach_views_in_threads_and_on_the_loop(site: Site, path: str) -> None:
    """The context variable that asgi-correlation-id sets is the view's, and the answer's header says the same."""
    require_package("asgi_correlation_id")
    with serving(site, '"asgi_correlation_id.CorrelationIdMiddleware"') as (_, client):
        made = [client.get(path) for _ in range(3)]
        assert [answer.headers["x-observed"] for answer in made] == [answer.headers["x-request-id"] for answer in made]
        assert len({answer.headers["x-request-id"] for answer in made}) == 3
        given = "0123456789abcdef0123456789abcdef"
        answer = client.get(path, headers={"x-request-id": given})
        assert (answer.headers["x-observed"], answer.headers["x-request-id"]) == (given, given)


SENTRY = """
    import json, sys
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Printing(Transport):
        def capture_envelope(self, envelope):
            for item in envelope.items:
                if item.type in ("event", "transaction"):
                    sys.stdout.write(f"SENTRY {json.dumps(item.payload.json, default=str)}\\n")  # in one piece

    sentry_sdk.init(dsn="http://key@localhost/1", transport=Printing, traces_sample_rate=1.0)
"""


def told(server: Server, word: str, count: int) -> list[dict]:
    """The first ``count`` objects that the server has printed, or will, as JSON behind ``word``."""

    def shown() -> list[str]:
        return [line.removeprefix(f"{word} ") for line in server.lines if line.startswith(f"{word} ")]

    with server._changed:
        assert server._changed.wait_for(lambda: len(shown()) >= count, DEADLINE_SECONDS), server.output
        return [json.loads(line) for line in shown()]


def test_sentrys_middleware_sends_errors_and_one_transaction_for_each_request(site: Site) -> None:
    require_package("sentry_sdk")
    with serving(site, '"sentry_sdk.integrations.asgi.SentryAsgiMiddleware"', SENTRY) as (server, client):
        statuses = [client.get(path).status_code for path in ("/sync/", "/async/", "/error/", "/mounted/error")]
        assert statuses == [200, 200, 500, 500]
        seen = told(server, "SENTRY", 6)
        errors = {event["exception"]["values"][-1]["value"]: event for event in seen if "exception" in event}
        transactions = [event for event in seen if event.get("type") == "transaction"]
        assert set(errors) == {"raised by the view", "raised by the mounted application"}
        traces = {event["request"]["url"]: event["contexts"]["trace"]["trace_id"] for event in transactions}
        assert len(transactions) == len(traces) == 4
        assert set(traces) == {f"{server.url}{path}" for path in ("/sync/", "/async/", "/error/", "/mounted/error")}
        for message, path in (
            ("raised by the view", "/error/"),
            ("raised by the mounted application", "/mounted/error"),
        ):
            assert errors[message]["contexts"]["trace"]["trace_id"] == traces[server.url + path]
        mechanism = errors["raised by the mounted application"]["exception"]["values"][-1]["mechanism"]
        assert (mechanism["type"], mechanism["handled"]) == ("asgi", False)


OPENTELEMETRY = """
    import json, sys
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Printing(SpanExporter):
        def export(self, spans):
            for span in spans:
                shown = {
                    "name": span.name, "kind": span.kind.name, "trace": span.context.trace_id,
                    "id": span.context.span_id, "parent": span.parent and span.parent.span_id,
                    "attributes": dict(span.attributes),
                }
                sys.stdout.write(f"SPAN {json.dumps(shown, default=str)}\\n")  # in one piece
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Printing()))
    trace.set_tracer_provider(provider)
"""


@pytest.mark.parametrize("path", ["/sync/", "/async/"])
def test_opentelemetrys_span_is_the_parent_of_those_made_in_views(site: Site, path: str) -> None:
    """Also in a thread; and the caller's trace goes on."""
    require_package("opentelemetry.instrumentation.asgi")
    middleware = (
        '("opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware", {"exclude_spans": ["receive", "send"]})'
    )
    with serving(site, middleware, OPENTELEMETRY) as (server, client):
        trace_id, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        assert client.get(path, headers={"traceparent": f"00-{trace_id}-{caller}-01"}).status_code == 200
        inner, outer = told(server, "SPAN", 2)
        assert (inner["name"], inner["parent"]) == ("inside the view", outer["id"])
        assert (outer["kind"], outer["parent"]) == ("SERVER", int(caller, 16))
        assert inner["trace"] == outer["trace"] == int(trace_id, 16)
        assert outer["attributes"]["http.status_code"] == 200
        assert outer["attributes"]["http.target"] == path


def test_opentelemetrys_span_has_the_mounted_applications_path_and_status(site: Site) -> None:
    require_package("opentelemetry.instrumentation.asgi")
    middleware = (
        '("opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware", {"exclude_spans": ["receive", "send"]})'
    )
    with serving(site, middleware, OPENTELEMETRY) as (server, client):
        assert client.get("/mounted/x").status_code == 200
        (span,) = told(server, "SPAN", 1)
        assert span["attributes"]["http.target"] == "/mounted/x"
        assert span["attributes"]["http.status_code"] == 200


def test_all_of_them_together_see_each_request(site: Site) -> None:
    """GZip outside, ids and CORS inside: each does its work on the same answer."""
    require_package("starlette")
    require_package("asgi_correlation_id")
    cors = '("starlette.middleware.cors.CORSMiddleware", {"allow_origins": ["*"]})'
    middleware = f'"starlette.middleware.gzip.GZipMiddleware", "asgi_correlation_id.CorrelationIdMiddleware", {cors}'
    with serving(site, middleware) as (_, client):
        answer = client.get("/sync/", headers={"origin": "https://app.example", "accept-encoding": "gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["x-request-id"] == answer.headers["x-observed"] != ""
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.text == "sync " * 400


def test_requirements_name_every_package_that_is_wrapped_here() -> None:
    """So that CI has them."""
    required = (Path(__file__).parent / "requirements.txt").read_text()
    for name in ("starlette", "fastapi", "asgi-correlation-id", "sentry-sdk", "opentelemetry-instrumentation-asgi"):
        assert re.search(rf"^{name}\b", required, re.MULTILINE), name
