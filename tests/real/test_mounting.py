"""One site of Django, Starlette and FastAPI, each inside the other: paths, links, redirects, WebSockets, lifespan."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.programs import require_package
from tests.utils import DEADLINE_SECONDS, Server, Site, run_server, run_to_end

pytestmark = pytest.mark.real

FASTAPI = """
    from contextlib import asynccontextmanager
    from fastapi import FastAPI, Request, WebSocket

    @asynccontextmanager
    async def lifespan(app):
        print("fastapi up", flush=True)
        yield {"db": "fastapi's"}
        print("fastapi down", flush=True)

    app = FastAPI(lifespan=lifespan)

    @app.get("/items/{number}")
    async def item(request: Request, number: int, q: str = ""):
        return {
            "number": number, "q": q, "root_path": request.scope["root_path"], "path": request.scope["path"],
            "url": str(request.url), "link": str(request.url_for("item", number=number + 1)),
            "db": getattr(request.state, "db", None),
        }

    @app.get("/")
    async def root():
        return {"root": True}

    @app.get("/notes")
    async def notes():
        from django.contrib.auth.models import User  # Django is set up
        return {"users": await User.objects.acount()}

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(f"fastapi {websocket.scope['root_path']} {await websocket.receive_text()}")
        await websocket.close()
"""
STARLETTE = """
    from contextlib import asynccontextmanager
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route

    async def page(request):
        return JSONResponse({
            "path": request.url.path, "link": str(request.url_for("deep:page", name="next")),
            "root_path": request.scope["root_path"], "name": request.path_params["name"],
            "db": getattr(request.state, "db", None),
        })

    @asynccontextmanager
    async def lifespan(app):
        print("starlette up", flush=True)
        yield {"db": "starlette's"}
        print("starlette down", flush=True)

    routes = [Mount("/deep", routes=[Route("/page/{name}", page, name="page")], name="deep")]
    app = Starlette(routes=routes, lifespan=lifespan)
"""
URLS = """
    from django.http import HttpResponseRedirect, JsonResponse
    from django.urls import path, reverse

    def where(request, name):
        return JsonResponse({
            "path": request.path, "path_info": request.path_info, "script_name": request.META["SCRIPT_NAME"],
            "link": reverse("where", args=["next"]), "url": request.build_absolute_uri(), "name": name,
        })

    async def where_async(request, name):
        return where(request, name)

    def away(request):
        return HttpResponseRedirect(reverse("where", args=["there"]))

    urlpatterns = [
        path("where/<name>/", where, name="where"), path("async/<name>/", where_async), path("away/", away),
    ]
"""
SETTINGS = """
    INSTALLED_APPS += ["django.contrib.auth", "django.contrib.contenttypes"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    ASGI_DEPLOY = {"WEBSOCKET": "mysite.socket.echo"}
"""
SOCKET = """
    async def echo(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        said = (await receive())["text"]
        await send({"type": "websocket.send", "text": f"django {scope['root_path']} {scope['path']} {said}"})
        await send({"type": "websocket.close"})
"""


@pytest.fixture
def mixed(site: Site) -> Site:
    """Django with a FastAPI and a Starlette application beside it, not yet put together."""
    for name in ("fastapi", "starlette"):
        require_package(name)
    site.write("mysite/api", FASTAPI)
    site.write("mysite/star", STARLETTE)
    site.write("mysite/urls", URLS)
    site.write("mysite/socket", SOCKET)
    site.append("mysite/settings", SETTINGS)
    return site


@contextmanager
def client_of(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        yield client


def say(server: Server, path: str, text: str) -> str:
    """What a WebSocket at ``path`` answers."""
    from websockets.asyncio.client import connect

    async def main() -> str:
        async with connect(f"ws://127.0.0.1:{server.port}{path}") as websocket:
            await websocket.send(text)
            return str(await websocket.recv())

    return asyncio.run(main())


# ------------------------------------------------------------------ FastAPI and Starlette in Django


@pytest.fixture
def inside(mixed: Site) -> Site:
    mounts = '{"/api": "mysite.api.app", "/star": "mysite.star:app"}'
    mixed.append("mysite/settings", f"ASGI_DEPLOY['MOUNTS'] = {mounts}\n")
    return mixed


def test_a_mounted_fastapi_routes_links_and_documents_itself_under_its_prefix(inside: Site) -> None:
    with inside.serve() as server, client_of(server) as client:
        seen = client.get("/api/items/3?q=x").json()
        assert seen == {
            "number": 3,
            "q": "x",
            "root_path": "/api",
            "path": "/api/items/3",
            "url": f"{server.url}/api/items/3?q=x",
            "link": f"{server.url}/api/items/4",
            "db": "fastapi's",
        }
        assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]
        assert "'/api/openapi.json'" in client.get("/api/docs").text
        redirect = client.get("/api")
        assert (redirect.status_code, redirect.headers["location"]) == (307, f"{server.url}/api/")
        assert client.get("/api/").json() == {"root": True}
        assert client.get("/api/nothing").json() == {"detail": "Not Found"}


def test_a_mounted_starlette_with_mounts_of_its_own_routes_and_links(inside: Site) -> None:
    with inside.serve() as server, client_of(server) as client:
        assert client.get("/star/deep/page/caf%C3%A9").json() == {
            "path": "/star/deep/page/café",
            "link": f"{server.url}/star/deep/page/next",
            "root_path": "/star/deep",
            "name": "café",
            "db": "starlette's",
        }


def test_django_beside_them_is_at_the_root(inside: Site) -> None:
    with inside.serve() as server, client_of(server) as client:
        seen = client.get("/where/here/").json()
        assert (seen["path_info"], seen["script_name"], seen["link"]) == ("/where/here/", "", "/where/next/")
        assert client.get("/apiary/").status_code == 404
        assert "Page not found" in client.get("/apiary/").text


def test_what_is_mounted_may_use_djangos_models(inside: Site) -> None:
    migrated = run_to_end([sys.executable, "manage.py", "migrate"], inside.folder)
    assert migrated.returncode == 0, migrated.stderr
    with inside.serve() as server, client_of(server) as client:
        answer = client.get("/api/notes")
        assert answer.status_code == 200, server.output
        assert answer.json() == {"users": 0}


def test_websockets_go_where_their_path_leads(inside: Site) -> None:
    with inside.serve() as server:
        assert say(server, "/api/ws", "hello") == "fastapi /api hello"
        assert say(server, "/chat/", "hello") == "django  /chat/ hello"


def test_they_are_started_after_django_and_stopped_before_it(inside: Site) -> None:
    with inside.serve() as server:
        server.wait_for("^Serving")
        assert server.stop() == 0
        told = [line for line in server.lines if line.startswith(("fastapi ", "starlette "))]
        assert told == ["fastapi up", "starlette up", "starlette down", "fastapi down"]
        assert "Traceback" not in server.output


def test_under_a_root_path_of_the_server_all_of_them_link_with_it(inside: Site) -> None:
    """As behind a proxy that takes /site away."""
    inside.append("mysite/settings", "ASGI_DEPLOY['ROOT_PATH'] = '/site'")
    with inside.serve() as server, client_of(server) as client:
        seen = client.get("/api/items/3").json()
        assert (seen["root_path"], seen["path"]) == ("/site/api", "/site/api/items/3")
        assert seen["link"] == f"{server.url}/site/api/items/4"
        assert client.get("/star/deep/page/x").json()["link"] == f"{server.url}/site/star/deep/page/next"
        seen = client.get("/where/here/").json()
        assert (seen["script_name"], seen["path_info"], seen["link"]) == ("/site", "/where/here/", "/site/where/next/")


# ------------------------------------------------------------------ Django in Starlette and in FastAPI

IN_STARLETTE = """
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from django_asgi_deploy.asgi import get_asgi_application
    from django_asgi_deploy.layers.forward import lifespan_of

    django = get_asgi_application("mysite.settings")

    from mysite.api import app as api

    application = Starlette(
        routes=[Mount("/api", api), Mount("/site", django)], lifespan=lambda starlette: lifespan_of(django)
    )
"""
IN_FASTAPI = """
    from fastapi import FastAPI
    from django_asgi_deploy.asgi import get_asgi_application
    from django_asgi_deploy.layers.forward import lifespan_of

    django = get_asgi_application("mysite.settings")
    application = FastAPI(lifespan=lambda fastapi: lifespan_of(django))

    from mysite.api import app as api
    application.mount("/api", api)

    @application.get("/hello")
    async def hello():
        return {"hello": "FastAPI"}

    application.mount("/site", django)
"""


@pytest.fixture(params=[IN_STARLETTE, IN_FASTAPI], ids=["starlette", "fastapi"])
def outside(mixed: Site, request: pytest.FixtureRequest) -> Site:
    mixed.write("mysite/asgi", request.param)
    return mixed


@pytest.mark.parametrize("kind", ["where", "async"])
def test_a_mounted_django_routes_links_and_redirects_under_its_prefix(outside: Site, kind: str) -> None:
    with outside.serve() as server, client_of(server) as client:
        assert client.get(f"/site/{kind}/café/?q=x").json() == {
            "path": f"/site/{kind}/café/",
            "path_info": f"/{kind}/café/",
            "script_name": "/site",
            "link": "/site/where/next/",
            "url": f"{server.url}/site/{kind}/caf%C3%A9/?q=x",
            "name": "café",
        }
        redirect = client.get("/site/away/")
        assert (redirect.status_code, redirect.headers["location"]) == (302, "/site/where/there/")
        without_slash = client.get("/site/where/here")
        assert (without_slash.status_code, without_slash.headers["location"]) == (301, "/site/where/here/")
        assert client.get("/api/items/3").json()["link"].endswith("/items/4")


def test_a_mounted_djangos_websocket_knows_the_prefix(outside: Site) -> None:
    with outside.serve() as server:
        assert say(server, "/site/chat/", "hello") == "django /site /site/chat/ hello"


def test_a_mounted_django_ends_its_threads_with_the_framework_around_it(outside: Site) -> None:
    """Under runasgi and under uvicorn: the process ends by itself, in time, without a traceback."""
    with outside.serve() as server, client_of(server) as client:
        assert client.get("/site/where/here/").status_code == 200
        assert server.stop() == 0
        assert "Traceback" not in server.output
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "mysite.asgi:application"]
    with run_server(command, outside.folder) as server:
        port = server.wait_for(r"running on http://127.0.0.1:(\d+)")[1]
        assert httpx.get(f"http://127.0.0.1:{port}/site/where/here/").json()["script_name"] == "/site"
        server.process.terminate()
        server.wait()
        server.wait_for("Application shutdown complete")
        assert "Traceback" not in server.output
