"""MIDDLEWARE, MOUNTS and WEBSOCKET in ASGI_DEPLOY: what stands where around the request handler."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from django_asgi_deploy.asgi import Application, get_asgi_application
from django_asgi_deploy.exceptions import ASGIDeployError
from django_asgi_deploy.layers.websocket import deny
from tests.layers import samples
from tests.layers.asgi import exchange, http, lifespan, websocket

NOTING = "tests.layers.samples.Noting"
API = "tests.layers.samples:api"
SOCKET = "tests.layers.samples.socket"


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    yield
    samples.Noting.instances.clear()
    for each in (samples.api, samples.socket):
        each.scopes.clear()
        each.diary.clear()


def application(settings: Settings, **options: Any) -> Application:
    settings.ASGI_DEPLOY = {"STATIC": "off", **options}
    return get_asgi_application()


def test_what_is_not_configured_adds_no_frame(settings: Settings) -> None:
    app = application(settings)
    assert app.apps["http"] is app.handler
    assert app.apps["websocket"] is deny


def test_layers_stand_in_the_order_of_the_design_and_limits_are_for_requests_only(settings: Settings) -> None:
    app = application(
        settings,
        LIFESPAN=["tests.layers.samples.api"],
        LIVE_PATH="/livez",
        MAX_BODY_BYTES=1,
        REQUEST_TIMEOUT_SECONDS=1,
        MAX_IN_FLIGHT=1,
        MIDDLEWARE=[NOTING],
        MOUNTS={"/api": API},
    )
    assert names_inside(app.apps["http"], "http") == [
        "Contexts",
        "ByType",
        "Health",
        "BodyLimit",
        "Deadline",
        "InFlight",
        "Noting",
        "Mount",
    ]
    assert names_inside(app.apps["websocket"], "websocket") == ["Contexts", "ByType", "Noting", "Mount"]


def names_inside(app: Any, kind: str) -> list[str]:
    names = []
    while not isinstance(app, type(None)):
        names.append(type(app).__name__)
        app = app.apps[kind] if hasattr(app, "apps") else getattr(app, "app", None)
    return names


def test_with_the_defaults_a_view_sees_no_frame_of_ours_but_the_handlers(settings: Settings) -> None:
    """Nor is there one behind a proxy: what it says is read before the first layer, by the application itself."""
    settings.ROOT_URLCONF = "tests.layers.samples"
    settings.ASGI_DEPLOY = {}
    sent = asyncio.run(
        exchange(get_asgi_application(), http("/frames", headers=[(b"x-forwarded-for", b"203.0.113.9")]))
    )
    files = sent[1]["body"].decode().split()
    ours = {file for file in files if file.startswith("django_asgi_deploy.")}
    assert {file for file in ours if not file.startswith("django_asgi_deploy.handlers.")} == {"django_asgi_deploy.asgi"}
    assert files.count("django_asgi_deploy.asgi") == 1


def test_access_log_request_id_and_metrics_are_one_frame_more(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.layers.samples"
    settings.ASGI_DEPLOY = {"ACCESS_LOG": "json", "REQUEST_ID_HEADER": "x-request-id"}
    sent = asyncio.run(exchange(get_asgi_application(), http("/frames")))
    layers = [file for file in sent[1]["body"].decode().split() if file.startswith("django_asgi_deploy.layers.")]
    assert layers == ["django_asgi_deploy.layers.observe"]


def test_middleware_is_around_mounts_and_django_and_the_first_is_the_outermost(settings: Settings) -> None:
    options = {"name": "outer"}
    app = application(settings, MIDDLEWARE=[(NOTING, options), [NOTING, {"name": "inner"}]], MOUNTS={"/api": API})
    asyncio.run(exchange(app, http("/api/users")))
    asyncio.run(exchange(app, http("/")))
    (scope,) = samples.api.scopes
    assert scope["way"] == ["outer", "inner"]
    assert scope["root_path"] == "/api"
    requests = [[scope for scope in each.scopes if scope["type"] == "http"] for each in samples.Noting.instances]
    assert [[scope["path"] for scope in each] for each in requests] == [["/api/users", "/"]] * 2


def test_a_middleware_is_made_once_and_sees_every_type_of_scope(settings: Settings) -> None:
    app = application(settings, MIDDLEWARE=[NOTING], WEBSOCKET=SOCKET)

    async def main() -> None:
        async with lifespan(app) as answers:
            await exchange(app, http("/"))
            await exchange(app, websocket("/ws"))
        assert [answer["type"] for answer in answers] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(main())
    (middleware,) = samples.Noting.instances
    assert [scope["type"] for scope in middleware.scopes] == ["lifespan", "http", "websocket"]


def test_the_lifespan_reaches_mounts_and_ends_the_handlers_threads(settings: Settings) -> None:
    app = application(settings, MIDDLEWARE=[NOTING], MOUNTS={"/api": API})

    async def main() -> None:
        async with lifespan(app):
            start, _ = await exchange(app, http("/"))
            assert start["status"] == 200
            assert app.handler.stats().threads == 1  # type: ignore[attr-defined]
        assert app.handler.stats().threads == 0  # type: ignore[attr-defined]

    asyncio.run(main())
    assert samples.api.diary == ["api startup", "api shutdown"]


def test_a_mounted_application_takes_its_own_websockets_and_the_others_go_to_websocket(settings: Settings) -> None:
    app = application(settings, MOUNTS={"/api": API}, WEBSOCKET=SOCKET)
    asyncio.run(exchange(app, websocket("/api/ws")))
    asyncio.run(exchange(app, websocket("/ws")))
    assert [scope["path"] for scope in samples.api.scopes] == ["/api/ws"]
    assert [scope["path"] for scope in samples.socket.scopes] == ["/ws"]


@pytest.mark.parametrize(
    ("origin", "answer"),
    [
        ("https://example.com", "websocket.accept"),
        ("https://app.example.org", "websocket.accept"),
        ("https://evil.com", "websocket.close"),
        (None, "websocket.accept"),
    ],
)
def test_an_origin_must_be_in_allowed_hosts_or_websocket_allowed_origins(
    settings: Settings, origin: str | None, answer: str
) -> None:
    settings.ALLOWED_HOSTS = ["example.com"]
    app = application(settings, WEBSOCKET=SOCKET, WEBSOCKET_ALLOWED_ORIGINS=["https://app.example.org"])
    headers = [(b"origin", origin.encode())] if origin else []
    (message,) = asyncio.run(exchange(app, websocket("/ws", headers=headers)))
    assert message["type"] == answer


@pytest.mark.parametrize(("debug", "answer"), [(True, "websocket.accept"), (False, "websocket.close")])
def test_with_debug_and_no_allowed_hosts_the_own_machine_is_allowed(
    settings: Settings, debug: bool, answer: str
) -> None:
    settings.DEBUG = debug
    settings.ALLOWED_HOSTS = []
    app = application(settings, WEBSOCKET=SOCKET)
    headers = [(b"origin", b"http://localhost:8000")]
    (message,) = asyncio.run(exchange(app, websocket("/ws", headers=headers)))
    assert message["type"] == answer


@pytest.mark.parametrize(
    ("static_url", "path", "status"),
    [
        ("static/", "/site/static/admin/css/base.css", 200),
        ("static/", "/site/static/admin/css/none.css", 404),
        ("/site/static/", "/site/static/admin/css/base.css", 200),
        ("https://cdn.example/static/", "/site/static/admin/css/base.css", 404),
    ],
)
def test_below_a_root_path_the_finders_know_static_url_from_there(
    settings: Settings, static_url: str, path: str, status: int
) -> None:
    """As when Django is mounted in another framework; there the links in its pages begin with the prefix."""
    settings.DEBUG = True
    settings.STATIC_URL = static_url
    contrib = ("admin", "auth", "contenttypes", "staticfiles")
    settings.INSTALLED_APPS = ["django_asgi_deploy", *(f"django.contrib.{name}" for name in contrib)]
    app = application(settings, STATIC="auto")
    start, *_ = asyncio.run(exchange(app, http(path, root_path="/site")))
    assert start["status"] == status


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"MOUNTS": {"/api": "tests.layers.sampels:api"}},
            '\'tests.layers.sampels:api\' (settings.ASGI_DEPLOY["MOUNTS"]["/api"]): there is no module '
            "'tests.layers.sampels'",
        ),
        (
            {"MOUNTS": {"/api": "tests.layers.samples:ap"}},
            "'tests.layers.samples:ap' (settings.ASGI_DEPLOY[\"MOUNTS\"][\"/api\"]): module 'tests.layers.samples' "
            "has no 'ap'; did you mean 'api'?",
        ),
        (
            {"MOUNTS": {"/api": "api"}},
            '\'api\' (settings.ASGI_DEPLOY["MOUNTS"]["/api"]): expected "package.module:attribute"',
        ),
        (
            {"MOUNTS": {"/api": "tests.layers.samples:number"}},
            'tests.layers.samples:number (settings.ASGI_DEPLOY["MOUNTS"]["/api"]) is int 3, which can\'t be called',
        ),
        (
            {"MOUNTS": {"/api": "tests.layers.samples:wsgi"}},
            'tests.layers.samples:wsgi (settings.ASGI_DEPLOY["MOUNTS"]["/api"]) is a WSGI application; over ASGI it '
            "would answer 500 to everything. Mount it as a2wsgi.WSGIMiddleware(...).",
        ),
        (
            {"MOUNTS": {"/api": "tests.layers.samples:factory"}},
            'tests.layers.samples:factory (settings.ASGI_DEPLOY["MOUNTS"]["/api"]) makes an application instead of',
        ),
        (
            {"MOUNTS": {"api": API}},
            "settings.ASGI_DEPLOY[\"MOUNTS\"] = {'api': 'tests.layers.samples:api'}: 'api': expected a prefix such as",
        ),
        ({"MOUNTS": {"/": API}}, "'/': Django itself is there; expected a prefix such as \"/api\"."),
        ({"MOUNTS": {"/api": API, "/api/": API}}, "MOUNTS (settings.ASGI_DEPLOY): two of '/api', '/api/' are the same"),
        ({"MOUNTS": {"/api": samples.api}}, "expected a dictionary of prefixes and import strings."),
        ({"MIDDLEWARE": NOTING}, "expected a list of import strings, or pairs of an import string and a dictionary"),
        ({"MIDDLEWARE": [(NOTING, "outer")]}, "'outer'): expected an import string, or a pair of an import string and"),
        (
            {"MIDDLEWARE": [NOTING, "tests.layers.samples.Nothing"]},
            "'tests.layers.samples.Nothing' (settings.ASGI_DEPLOY[\"MIDDLEWARE\"], entry 2): module "
            "'tests.layers.samples' has no 'Nothing'; did you mean 'Noting'?",
        ),
        (
            {"MIDDLEWARE": [(NOTING, {"nmae": "outer"})]},
            f"'{NOTING}' (settings.ASGI_DEPLOY[\"MIDDLEWARE\"], entry 1) can't be called with (app, nmae='outer'): got "
            "an unexpected keyword argument 'nmae'.",
        ),
        (
            {"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware"]},
            "is Django's kind of middleware; that belongs in settings.MIDDLEWARE.",
        ),
        ({"MIDDLEWARE": ["tests.layers.samples.number"]}, "can't be called; expected a class that takes the"),
        ({"MIDDLEWARE": ["tests.layers.samples.nothing"]}, "makes NoneType, which can't be called."),
        ({"WEBSOCKET": "tests.layers.samples.socke"}, '(settings.ASGI_DEPLOY["WEBSOCKET"]): module \'tests.layers.sa'),
        (
            {"WEBSOCKET": SOCKET, "WEBSOCKET_ALLOWED_ORIGINS": ["example.com:8000"]},
            "'example.com:8000': expected \"https://example.com\"",
        ),
        ({"WEBSOCKET_ALLOWED_ORIGINS": ["*"]}, "needs WEBSOCKET beside it"),
    ],
)
def test_a_mistake_is_one_line_that_quotes_it_and_says_where_it_is(
    settings: Settings, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ASGIDeployError) as raised:
        application(settings, **options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_middleware_that_raises_when_it_is_made_is_named_with_the_projects_own_lines(settings: Settings) -> None:
    with pytest.raises(ASGIDeployError) as raised:
        application(settings, MIDDLEWARE=["tests.layers.samples.broken"])
    first, *_, last = str(raised.value).splitlines()
    assert first == "'tests.layers.samples.broken' (settings.ASGI_DEPLOY[\"MIDDLEWARE\"], entry 1) can't be made:"
    assert last == "LookupError: the middleware's own mistake"


def test_mounts_and_middleware_can_come_from_the_environment_as_json(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASGI_DEPLOY_MOUNTS", '{"/api": "tests.layers.samples:ap"}')
    with pytest.raises(ASGIDeployError, match=r"^'tests.layers.samples:ap' \(ASGI_DEPLOY_MOUNTS\[\"/api\"\]\)"):
        application(settings)
    monkeypatch.setenv("ASGI_DEPLOY_MOUNTS", '{"/api": "tests.layers.samples:api"}')
    monkeypatch.setenv("ASGI_DEPLOY_MIDDLEWARE", '[["tests.layers.samples.Noting", {"name": "outer"}]]')
    asyncio.run(exchange(application(settings), http("/api")))
    assert samples.api.scopes[0]["way"] == ["outer"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"LIFESPAN": ["tests.layers.samples.ap"]}, "module 'tests.layers.samples' has no 'ap'; did you mean 'api'?"),
        (
            {"LIFESPAN": ["tests.layers.samples.number"]},
            """'tests.layers.samples.number' (settings.ASGI_DEPLOY["LIFESPAN"]) can't be called""",
        ),
        ({"LIFESPAN": ["tests.layers.samples.api"] * 2}, "LIFESPAN: 'tests.layers.samples.api' is given twice."),
        ({"LIVE_PATH": "livez"}, "'livez': expected a path from the root"),
        ({"READY_PATH": "/a?b"}, "'/a?b': expected a path from the root"),
        ({"LIVE_PATH": "/z", "READY_PATH": "/z"}, "LIVE_PATH and READY_PATH are both '/z'"),
        ({"READY_CHECKS": ["database"]}, "READY_CHECKS (settings.ASGI_DEPLOY) needs READY_PATH beside it"),
        ({"READY_PATH": "/z", "READY_CHECKS": ["databse"]}, "there is no such check; did you mean 'database'?"),
        ({"READY_PATH": "/z", "READY_CHECKS": ["cache", "cache"]}, "READY_CHECKS: 'cache' is given twice."),
        ({"IN_FLIGHT_TIMEOUT_SECONDS": 3}, "IN_FLIGHT_TIMEOUT_SECONDS (settings.ASGI_DEPLOY) needs MAX_IN_FLIGHT"),
        ({"MAX_BODY_BYTES": 0}, "expected a whole number, at least 1"),
    ],
)
def test_what_is_wrong_with_lifespan_health_and_limits_is_an_error(
    settings: Settings, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ASGIDeployError) as raised:
        application(settings, **options)
    assert expected in str(raised.value)
