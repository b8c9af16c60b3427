"""MIDDLEWARE, MOUNTS and WEBSOCKET in a project that ``runasgi`` serves."""

import pytest

from tests.utils import Site

API = """
    import django.apps
    assert django.apps.apps.ready  # models can be imported here

    async def api(scope, receive, send):
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{what}"
                print("api", what, flush=True)
                await send({"type": f"lifespan.{what}.complete"})
            return
        text = f"{scope['root_path']} {scope['path']} {scope.get('marked')}"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-api", b"1")]})
        await send({"type": "http.response.body", "body": text.encode()})

    class Marking:
        def __init__(self, app, mark):
            self.app = app
            self.mark = mark

        async def __call__(self, scope, receive, send):
            await self.app({**scope, "marked": self.mark}, receive, send)
"""
OPTIONS = """
    ASGI_DEPLOY = {
        "MIDDLEWARE": [("mysite.api.Marking", {"mark": "by us"})],
        "MOUNTS": {"/api": "mysite.api:api"},
    }
"""


@pytest.fixture
def wrapped(site: Site) -> Site:
    site.write("mysite/api", API)
    site.append("mysite/settings", OPTIONS)
    return site


def test_a_mount_is_served_beside_django_and_lives_and_ends_with_the_server(wrapped: Site) -> None:
    with wrapped.serve() as server:
        assert b"Hello" in server.get("/")
        assert b"\r\n/api /api/users by us\r\n" in server.get("/api/users?x=1")
        assert b"404 Not Found" in server.get("/apixyz")
        assert server.stop() == 0
        told = [line for line in server.lines if line.startswith("api ")]
        assert told == ["api startup", "api shutdown"]


def test_a_stock_asgi_py_gets_the_mounts_too(wrapped: Site) -> None:
    wrapped.write(
        "mysite/asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()"
    )
    with wrapped.serve() as server:
        assert b"\r\n/api /api by us\r\n" in server.get("/api")


def test_a_mount_that_fails_to_start_ends_the_server_with_status_1_and_is_named(wrapped: Site) -> None:
    wrapped.append(
        "mysite/api",
        """
        async def failing(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the queue is away"})
        """,
    )
    wrapped.append("mysite/settings", "ASGI_DEPLOY['MOUNTS']['/failing'] = 'mysite.api.failing'")
    with wrapped.serve() as server:
        assert server.wait() == 1
        server.wait_for("The application at /failing failed to start: the queue is away")
        server.wait_for("api shutdown")
        assert "Serving" not in server.output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "'MOUNTS': {'/api': 'mysite.appi:api'}",
            "'mysite.appi:api' (settings.ASGI_DEPLOY[\"MOUNTS\"][\"/api\"]): there is no module 'mysite.appi'; did you "
            "mean 'mysite.api'?",
        ),
        (
            "'WEBSOCKET': 'mysite.api.apis'",
            "'mysite.api.apis' (settings.ASGI_DEPLOY[\"WEBSOCKET\"]): module 'mysite.api' has no 'apis'; did you mean "
            "'api'?",
        ),
        (
            "'MIDDLEWARE': ['mysite.api.Marking']",
            "'mysite.api.Marking' (settings.ASGI_DEPLOY[\"MIDDLEWARE\"], entry 1) can't be called with (app): missing "
            "a required argument: 'mark'.",
        ),
    ],
)
@pytest.mark.parametrize("has_asgi_py", [True, False])
def test_a_wrong_import_string_is_one_line_with_status_2(
    site: Site, option: str, message: str, has_asgi_py: bool
) -> None:
    site.write("mysite/api", API)
    site.append("mysite/settings", f"ASGI_DEPLOY = {{{option}}}")
    if not has_asgi_py:
        site.remove("mysite/asgi")
    result = site.run("0")
    assert (result.returncode, result.stderr) == (2, f"CommandError: {message}\n")


def test_around_an_application_that_is_not_ours_they_have_no_effect_and_a_note_says_so(wrapped: Site) -> None:
    wrapped.write(
        "mysite/asgi",
        """
        from django.core.asgi import get_asgi_application
        inner = get_asgi_application()
        async def application(scope, receive, send):
            await inner(scope, receive, send)
        """,
    )
    with wrapped.serve() as server:
        assert b"404 Not Found" in server.get("/api")
        server.wait_for("MIDDLEWARE, MOUNTS: no effect, because asgi.py")


def test_print_config_shows_them(wrapped: Site) -> None:
    shown = wrapped.run("--print-config").stdout
    assert '[["mysite.api.Marking", {"mark": "by us"}]]' in shown
    assert '{"/api": "mysite.api:api"}' in shown


def test_print_config_shows_options_that_json_has_no_word_for(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'MIDDLEWARE': [('mysite.api.Marking', {'mark': print})]}")
    assert '"<built-in function print>"' in site.run("--print-config").stdout
    assert '"<built-in function print>"' in site.run("--print-config", "json").stdout
