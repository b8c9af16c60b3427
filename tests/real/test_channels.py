"""A Channels consumer behind WEBSOCKET: routed, logged in through the session, and talking over a channel layer."""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tests.programs import require_package
from tests.real.projects import run
from tests.utils import Server, Site

pytestmark = pytest.mark.real

SETTINGS = """
    INSTALLED_APPS += [f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions")]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    ASGI_DEPLOY = {"WEBSOCKET": "mysite.routing.application"}
"""
ROUTING = """
    from channels.auth import AuthMiddlewareStack
    from channels.generic.websocket import AsyncJsonWebsocketConsumer
    from channels.routing import URLRouter
    from django.urls import path

    class Chat(AsyncJsonWebsocketConsumer):
        async def connect(self):
            self.room = self.scope["url_route"]["kwargs"]["room"]
            await self.channel_layer.group_add(self.room, self.channel_name)
            await self.accept()
            await self.send_json({"you": self.scope["user"].username})

        async def receive_json(self, content):
            await self.channel_layer.group_send(self.room, {"type": "say", "text": content["text"]})

        async def say(self, event):
            await self.send_json({"said": event["text"]})

    application = AuthMiddlewareStack(URLRouter([path("ws/<room>/", Chat.as_asgi())]))
"""
URLS = """
    from django.contrib.auth import login
    from django.contrib.auth.models import User
    from django.http import HttpResponse
    from django.urls import path

    def enter(request, name):
        login(request, User.objects.get_or_create(username=name)[0])
        return HttpResponse("entered")

    urlpatterns = [path("enter/<name>/", enter)]
"""


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    require_package("channels")
    site.append("mysite/settings", SETTINGS)
    site.write("mysite/routing", ROUTING)
    site.write("mysite/urls", URLS)
    run([sys.executable, "manage.py", "migrate"], site.folder)
    with site.serve() as server:
        server.wait_for("^Serving")
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.output


def test_two_users_of_one_room_hear_each_other_and_are_who_they_logged_in_as(server: Server) -> None:
    import httpx
    from websockets.asyncio.client import connect

    def cookies_of(name: str) -> str:
        answer = httpx.get(f"{server.url}/enter/{name}/")
        return f"sessionid={answer.cookies['sessionid']}"

    async def talk() -> list[str | bytes]:
        base = server.url.replace("http", "ws")
        async with (
            connect(f"{base}/ws/room/", additional_headers={"cookie": cookies_of("ada")}, origin=server.url) as ada,
            connect(f"{base}/ws/room/", additional_headers={"cookie": cookies_of("grace")}) as grace,
            connect(f"{base}/ws/elsewhere/") as stranger,
        ):
            heard = [await ada.recv(), await grace.recv(), await stranger.recv()]
            await grace.send('{"text": "hello"}')
            heard += [await ada.recv(), await grace.recv()]
            await stranger.send('{"text": "alone"}')
            return [*heard, await stranger.recv()]

    assert asyncio.run(talk()) == [
        '{"you": "ada"}',
        '{"you": "grace"}',
        '{"you": ""}',
        '{"said": "hello"}',
        '{"said": "hello"}',
        '{"said": "alone"}',
    ]
