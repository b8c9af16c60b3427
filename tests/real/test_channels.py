"""Channels: routed consumers, logged in through the session, talking over a channel layer, also to views.

Once behind WEBSOCKET, and once as in Channels' own tutorial, where ``asgi.py`` routes by itself.
"""

import asyncio
import sys
from collections.abc import Iterator

import pytest

from tests.programs import require_package
from tests.real.projects import run
from tests.utils import DEADLINE_SECONDS, Server, Site

pytestmark = pytest.mark.real

SETTINGS = """
    ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    INSTALLED_APPS += [f"django.contrib.{name}" for name in ("auth", "contenttypes", "sessions")]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
"""
OPTION = """
    ASGI_DEPLOY = {"WEBSOCKET": "mysite.routing.application"}
"""
TUTORIAL = """
    import os
    from channels.routing import ProtocolTypeRouter
    from channels.security.websocket import AllowedHostsOriginValidator
    from django.core.asgi import get_asgi_application

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    django_asgi_app = get_asgi_application()

    from mysite.routing import application as websocket

    application = ProtocolTypeRouter({"http": django_asgi_app, "websocket": AllowedHostsOriginValidator(websocket)})
"""
ROUTING = """
    from channels.auth import AuthMiddlewareStack
    from asgiref.sync import async_to_sync
    from channels.generic.websocket import AsyncJsonWebsocketConsumer, JsonWebsocketConsumer
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

    class Members(JsonWebsocketConsumer):
        def connect(self):
            async_to_sync(self.channel_layer.group_add)("members", self.channel_name)
            self.accept()

        def receive_json(self, content):
            from django.contrib.auth.models import User
            self.send_json({"members": User.objects.count()})

        def say(self, event):
            self.send_json({"said": event["text"]})

    application = AuthMiddlewareStack(
        URLRouter([path("ws/members/", Members.as_asgi()), path("ws/<room>/", Chat.as_asgi())])
    )
"""
URLS = """
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer
    from django.contrib.auth import login
    from django.contrib.auth.models import User
    from django.http import HttpResponse
    from django.urls import path

    def enter(request, name):
        login(request, User.objects.get_or_create(username=name)[0])
        return HttpResponse("entered")

    def announce(request, room, text):
        async_to_sync(get_channel_layer().group_send)(room, {"type": "say", "text": text})
        return HttpResponse("announced")

    urlpatterns = [path("enter/<name>/", enter), path("announce/<room>/<text>/", announce)]
"""


@pytest.fixture(params=["WEBSOCKET", "the tutorial's asgi.py"])
def server(site: Site, request: pytest.FixtureRequest) -> Iterator[Server]:
    require_package("channels")
    site.append("mysite/settings", SETTINGS)
    if request.param == "WEBSOCKET":
        site.append("mysite/settings", OPTION)
    else:
        site.write("mysite/asgi", TUTORIAL)
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
            connect(f"{base}/ws/room/", additional_headers={"cookie": cookies_of("grace")}, origin=server.url) as grace,
            connect(f"{base}/ws/elsewhere/", origin=server.url) as stranger,
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


def test_a_view_speaks_to_consumers_and_a_synchronous_consumer_asks_the_database(server: Server) -> None:
    import httpx
    from websockets.sync.client import connect

    with connect(f"ws://127.0.0.1:{server.port}/ws/members/", origin=server.url) as members:
        members.send("{}")
        assert members.recv(DEADLINE_SECONDS) == '{"members": 0}'
        assert httpx.get(f"{server.url}/announce/members/hello/").text == "announced"
        assert members.recv(DEADLINE_SECONDS) == '{"said": "hello"}'


def test_a_strangers_page_is_refused(server: Server) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{server.port}/ws/members/", origin="https://evil.example")  # type: ignore[arg-type]
