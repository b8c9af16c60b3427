"""The probe opens WebSockets as the site's pages, other sites' pages and programs would, and says what goes wrong."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checks.test_probe import CONTRIB, report
from tests.programs import require_package
from tests.utils import Site, run_to_end

pytestmark = pytest.mark.real

SETTINGS = """
    DEBUG = False
    ALLOWED_HOSTS = ["example.com"]
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
"""
ROUTING = """
    import asyncio, time
    from asgiref.sync import sync_to_async
    from channels.auth import AuthMiddlewareStack
    from channels.db import database_sync_to_async
    from channels.generic.websocket import (AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, JsonWebsocketConsumer,
                                            WebsocketConsumer)
    from channels.routing import URLRouter
    from django.contrib.auth.models import Group, User
    from django.urls import path, re_path

    class Chat(AsyncJsonWebsocketConsumer):
        async def connect(self):
            self.room = self.scope["url_route"]["kwargs"]["room"]
            await self.channel_layer.group_add(self.room, self.channel_name)
            await self.accept()
            await self.send_json({"room": self.room})
        async def disconnect(self, code):
            await self.channel_layer.group_discard(self.room, self.channel_name)

    class Ticker(WebsocketConsumer):
        def connect(self):
            self.accept()
            self.send(str(User.objects.count()))

    class Members(AsyncWebsocketConsumer):
        async def connect(self):
            if not self.scope["user"].is_authenticated:
                return await self.close(code=4401)
            self.groups_ = await database_sync_to_async(lambda: list(self.scope["user"].groups.all()))()
            await self.accept()

    class Rooms(AsyncWebsocketConsumer):
        async def connect(self):
            self.group = await Group.objects.aget(pk=self.scope["url_route"]["kwargs"]["pk"])
            await self.accept()

    class NeverAccepts(AsyncWebsocketConsumer):
        async def connect(self):  # expect: 708
            await self.channel_layer.group_add("all", self.channel_name)

    class Waits(AsyncWebsocketConsumer):
        async def connect(self):
            await asyncio.Event().wait()  # expect: 708
            await self.accept()

    class ForgetsToAwait(AsyncWebsocketConsumer):
        async def connect(self):
            self.accept()  # expect: 703

    class Raises(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            self.room = self.scope["url_route"]["kwargs"]["room"]  # expect: 701

    class Queries(AsyncWebsocketConsumer):
        async def connect(self):
            self.count = User.objects.count()  # expect: 701
            await self.accept()

    class QueriesForMembers(AsyncWebsocketConsumer):
        async def connect(self):
            if self.scope["user"].is_anonymous:
                await self.close()
                return
            self.names = list(self.scope["user"].groups.all())  # expect: 701
            await self.accept()

    class AcceptsTwice(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            await self.accept()  # expect: 701

    class SendsFirst(AsyncWebsocketConsumer):
        async def connect(self):
            await self.send(text_data="hello")  # expect: 701
            await self.accept()

    class SendsFirstInAThread(WebsocketConsumer):
        def connect(self):
            self.send(text_data="hello")  # expect: 701
            self.accept()

    class ClosesAndGoesOn(AsyncWebsocketConsumer):
        async def connect(self):
            if self.scope["user"].is_anonymous:
                await self.close()
            await  self.accept()  # expect: 701

    class Sleeps(AsyncWebsocketConsumer):
        async def connect(self):
            time.sleep(0.05)  # expect: 702
            await self.accept()

    class Computes(AsyncWebsocketConsumer):
        async def connect(self):
            ends = time.thread_time() + 0.4
            while time.thread_time() < ends:  # expect: 702
                pass
            await self.accept()

    class GoesOn(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            while True:
                await asyncio.sleep(0.05)  # expect: 705

    class FailsAtTheEnd(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
        async def disconnect(self, code):
            await self.channel_layer.group_discard(self.room, self.channel_name)  # expect: 701

    class Loses(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            asyncio.ensure_future(self.push())
            await asyncio.sleep(0)
        async def push(self):
            raise ValueError("nothing to push")  # expect: 703

    class Push(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()
            self.task = asyncio.create_task(self.push())
        async def push(self):
            while True:
                await asyncio.sleep(0.01)
                await self.send(text_data="tick")
        async def disconnect(self, code):
            self.task.cancel()

    class PushesOn(Push):
        async def disconnect(self, code):
            pass

    class Kick(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept()

    nested = URLRouter([path("waits/", Waits.as_asgi()), re_path(r"^raises/$", Raises.as_asgi())])
    router = URLRouter([
        path("ws/chat/<slug:room>/", Chat.as_asgi()), path("ws/ticker/", Ticker.as_asgi()),
        path("ws/members/", Members.as_asgi()), path("ws/rooms/<int:pk>/", Rooms.as_asgi()),
        path("ws/never/", NeverAccepts.as_asgi()), path("ws/in/", nested),
        path("ws/forgets/", ForgetsToAwait.as_asgi()),
        path("ws/queries/", Queries.as_asgi()), path("ws/for-members/", QueriesForMembers.as_asgi()),
        path("ws/twice/", AcceptsTwice.as_asgi()), path("ws/first/", SendsFirst.as_asgi()),
        path("ws/first-thread/", SendsFirstInAThread.as_asgi()), path("ws/closes/", ClosesAndGoesOn.as_asgi()),
        path("ws/sleeps/", Sleeps.as_asgi()), path("ws/computes/", Computes.as_asgi()),
        path("ws/goes-on/", GoesOn.as_asgi()), path("ws/end/", FailsAtTheEnd.as_asgi()),
        path("ws/loses/", Loses.as_asgi()), path("ws/push/", Push.as_asgi()), path("ws/pushes-on/", PushesOn.as_asgi()),
        re_path(r"ws/feeds/(?P<name>[a-z]+)$", Ticker.as_asgi()), path("ws/rooms/<int:pk>/kick/", Kick.as_asgi()),
    ])
    application = AuthMiddlewareStack(router)
"""
ROUTED = """
    from channels.routing import ProtocolTypeRouter
    from channels.security.websocket import AllowedHostsOriginValidator
    from django_asgi_deploy.asgi import get_asgi_application

    pages = get_asgi_application("mysite.settings")
    from mysite.routing import application as sockets

    application = ProtocolTypeRouter({
        "http": pages, "lifespan": pages,
        "websocket": AllowedHostsOriginValidator(sockets),
    })
"""


FILL = """
from django.contrib.auth.models import User
User.objects.create_user("ada")
"""
PLAIN_URLS = "from django.urls import path\nurlpatterns = []\n"


def make(folder: Path, *, asgi: str | None = None, settings: str = "", routing: str = ROUTING) -> Site:
    require_package("channels")
    require_package("blockbuster")
    site = Site(folder, mysite__routing=routing, mysite__urls=PLAIN_URLS)
    site.append("mysite/settings", CONTRIB)
    site.append("mysite/settings", SETTINGS)
    site.append("mysite/settings", settings)
    if asgi:
        site.write("mysite/asgi", asgi)
    return site


def migrated(site: Site) -> Site:
    """With two users."""
    for arguments in (("migrate",), ("shell", "-c", FILL)):
        done = run_to_end([sys.executable, "manage.py", *arguments], site.folder, {})
        assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The consumers above, as Channels' tutorial has them."""
    return report(migrated(make(tmp_path_factory.mktemp("routed"), asgi=ROUTED)), all_pages=True, timeout=4)


def seen(found: Any, path: str) -> set[tuple[str, int | None]]:
    """What was found on a WebSocket: number and line."""
    return {
        (each["id"].removeprefix("asgi."), each["line"])
        for each in found["findings"]
        if f"WS {path}" in (each["object"] or "").split(", ")
    }


def handshakes(found: Any, path: str) -> list[str]:
    return [f"{each['status']} {each['outcome']}" for each in found["requests"] if each["url"] == path]


def line(code: str, text: str = ROUTING) -> int:
    return next(number for number, each in enumerate(text.splitlines(), 1) if code in each)


@pytest.mark.parametrize(
    ("path", "number", "code"),
    [
        ("/ws/never/", "708", "async def connect(self):  # expect: 708"),
        ("/ws/in/waits/", "708", "await asyncio.Event().wait()"),
        ("/ws/forgets/", "703", "self.accept()  # expect: 703"),
        ("/ws/in/raises/", "701", 'self.room = self.scope["url_route"]["kwargs"]["room"]  # expect'),
        ("/ws/queries/", "701", "self.count ="),
        ("/ws/for-members/", "701", "self.names ="),
        ("/ws/twice/", "701", "await self.accept()  # expect: 701"),
        ("/ws/first/", "701", 'await self.send(text_data="hello")'),
        ("/ws/first-thread/", "701", '            self.send(text_data="hello")'),
        ("/ws/sleeps/", "702", "time.sleep(0.05)"),
        ("/ws/goes-on/", "705", "await asyncio.sleep(0.05)"),
        ("/ws/end/", "701", "self.channel_layer.group_discard(self.room, self.channel_name)  # expect"),
        ("/ws/loses/", "703", "raise ValueError"),
    ],
)
def test_a_mistake_is_seen_at_the_consumers_line(routed: Any, path: str, number: str, code: str) -> None:
    assert (number, line(code)) in seen(routed, path)


def test_what_is_sent_after_close_is_seen(routed: Any) -> None:
    assert seen(routed, "/ws/closes/") == {("701", line("await  self.accept()"))}


def test_computing_in_connect_is_seen(routed: Any) -> None:
    ((number, where),) = seen(routed, "/ws/computes/")
    assert number == "702"
    assert where in (line("# expect: 702", ROUTING[ROUTING.index("class Computes") :]), *range(90, 110))


@pytest.mark.parametrize(
    "path", ["/ws/chat/1/", "/ws/ticker/", "/ws/members/", "/ws/rooms/1/", "/ws/push/", "/ws/pushes-on/", "/ws/feeds/a"]
)
def test_what_is_right_is_tried_and_not_reported(routed: Any, path: str) -> None:
    """Also where the row of a guessed path isn't there, and where a task is just sending when the client leaves."""
    assert len(handshakes(routed, path)) == 4
    assert seen(routed, path) == set()


def test_who_opens_it_is_told(routed: Any) -> None:
    assert handshakes(routed, "/ws/members/") == [
        "403 refused",
        "101 accepted, logged in",
        "403 refused, from another site",
        "403 refused, without Origin",  # as Channels' OriginValidator has it
    ]


# ------------------------------------------------------------------ whose pages may open one

UNCHECKED = ROUTED.replace("AllowedHostsOriginValidator(sockets)", "sockets")
PUBLIC = """
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import URLRouter
    from django.urls import path

    class Feed(AsyncWebsocketConsumer):
        pass

    application = URLRouter([path("ws/feed/", Feed.as_asgi())])
"""
BY_OPTION = 'ASGI_DEPLOY = {"WEBSOCKET": "mysite.routing.application"}\n'
ALL_ORIGINS = BY_OPTION.replace("}", ', "WEBSOCKET_ALLOWED_ORIGINS": ["*"]}')


def origins(folder: Path, asgi: str | None = None, settings: str = "", routing: str = PUBLIC) -> list[str]:
    """What is found on an origin."""
    found = report(make(folder, asgi=asgi, settings=settings, routing=routing), all_pages=True)
    return [f"{each['id']} {each['level']} {each['file']}:{each['line']}" for each in found["findings"]]


def test_a_handshake_from_another_site_that_is_accepted_is_found_where_the_static_check_finds_it(
    tmp_path: Path,
) -> None:
    where = line('"websocket": sockets', UNCHECKED)
    assert origins(tmp_path, UNCHECKED) == [f"asgi.603 warning mysite/asgi.py:{where}"]


@pytest.mark.parametrize("settings", [BY_OPTION, ALL_ORIGINS])
def test_websocket_checks_the_origin_unless_all_are_allowed_on_purpose(tmp_path: Path, settings: str) -> None:
    assert origins(tmp_path, settings=settings) == []


@pytest.mark.parametrize(("debug", "level"), [(True, "info"), (False, "warning")])
def test_allowed_hosts_that_allow_every_site_are_found(tmp_path: Path, debug: bool, level: str) -> None:
    found = origins(tmp_path, ROUTED, f"ALLOWED_HOSTS = ['*']\nDEBUG = {debug}\n")
    assert [each.split()[:2] for each in found] == [["asgi.603", level]]


# ------------------------------------------------------------------ other applications

HANDWRITTEN = """
    import asyncio
    from django_asgi_deploy.asgi import get_asgi_application
    from mysite.sockets import sockets

    pages = get_asgi_application("mysite.settings")

    async def application(scope, receive, send):
        if scope["type"] == "websocket":
            await sockets(scope, receive, send)
        else:
            await pages(scope, receive, send)
"""
SOCKETS = """
    import asyncio

    OWN = (b"https://example.com", b"http://example.com")

    async def sockets(scope, receive, send):
        await receive()
        if dict(scope["headers"]).get(b"origin", OWN[0]) not in OWN:
            await send({"type": "websocket.close"})
            return
        if scope["path"] == "/ws/echo/":
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        elif scope["path"] == "/ws/silent/":
            return
        elif scope["path"] in ("/ws/denies/", "/ws/broken/"):
            status = 401 if "denies" in scope["path"] else 503
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
        elif scope["path"] == "/ws/holds/":
            while True:
                pass
        else:
            raise ValueError("no such path")
"""


@pytest.fixture(scope="module")
def handwritten(tmp_path_factory: pytest.TempPathFactory) -> Any:
    site = make(tmp_path_factory.mktemp("handwritten"), asgi=HANDWRITTEN)
    site.write("mysite/sockets", SOCKETS)
    return report(site, all_pages=True, timeout=3)


def test_the_paths_that_an_applications_code_names_are_tried(handwritten: Any) -> None:
    tried = {each["url"] for each in handwritten["requests"] if each["purpose"] == "websocket"}
    assert tried == {"/ws/echo/", "/ws/silent/", "/ws/denies/", "/ws/broken/", "/ws/holds/"}
    assert handshakes(handwritten, "/ws/echo/")[0] == "101 accepted"
    assert handshakes(handwritten, "/ws/denies/")[0] == "401 refused"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ws/echo/", set()),
        ("/ws/silent/", {"701"}),
        ("/ws/denies/", set()),
        ("/ws/broken/", {"701"}),
        ("/ws/holds/", {"702"}),
    ],
)
def test_what_a_plain_application_does_is_judged(handwritten: Any, path: str, expected: set[str]) -> None:
    assert {number for number, _ in seen(handwritten, path)} == expected


def test_a_socket_that_holds_the_loop_is_seen_at_its_line(handwritten: Any) -> None:
    ((_, where),) = seen(handwritten, "/ws/holds/")
    assert where in (line("while True:", SOCKETS), line("while True:", SOCKETS) + 1)


MOUNTED = """
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route, WebSocketRoute

    async def room(websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    async def broken(websocket):
        await websocket.accept()
        await websocket.send_json({"room": websocket.path_params["nr"]})  # expect: 701

    async def page(request): ...

    app = Starlette(routes=[
        Route("/page", page), WebSocketRoute("/rooms/{number:int}", room),
        Mount("/inner", routes=[WebSocketRoute("/broken", broken)]),
    ])
"""


def test_a_mounted_applications_websockets_are_tried_below_its_prefix(tmp_path: Path) -> None:
    require_package("starlette")
    site = make(tmp_path, settings='ASGI_DEPLOY = {"MOUNTS": {"/live": "mysite.live:app"}}\n')
    site.write("mysite/live", MOUNTED)
    found = report(site, all_pages=True)
    assert handshakes(found, "/live/rooms/1")[0] == "101 accepted"
    assert seen(found, "/live/inner/broken") == {
        ("701", line("# expect: 701", MOUNTED)),
        ("603", line("async def broken", MOUNTED)),
    }


BARE = """
    from channels.auth import AuthMiddlewareStack
    from channels.generic.websocket import AsyncWebsocketConsumer

    class Feed(AsyncWebsocketConsumer):
        async def connect(self):  # expect: 708
            pass

    application = AuthMiddlewareStack(Feed.as_asgi())
"""


def test_a_consumer_without_a_router_is_tried(tmp_path: Path) -> None:
    found = report(make(tmp_path, settings=BY_OPTION, routing=BARE), all_pages=True, timeout=3)
    assert seen(found, "/") == {("708", line("# expect: 708", BARE))}


def test_an_installed_application_whose_paths_are_not_known_is_not_tried(tmp_path: Path) -> None:
    """It may fail at a path that nobody asks it for."""
    routing = "from channels.security.websocket import WebsocketDenier\napplication = WebsocketDenier()\n"
    found = report(make(tmp_path, settings=BY_OPTION, routing=routing), all_pages=True)
    assert not any(each["purpose"] == "websocket" for each in found["requests"])
    assert any("not tried" in note for note in found["notes"])


def test_an_application_without_websockets_is_left_alone(tmp_path: Path) -> None:
    site = make(tmp_path, settings='ASGI_DEPLOY = {"MOUNTS": {"/pages": "mysite.other:app"}}\n')
    site.write("mysite/other", "async def app(scope, receive, send):\n    raise ValueError(scope['type'])\n")
    found = report(site, all_pages=True)
    assert not any(each["purpose"] == "websocket" for each in found["requests"])


# ------------------------------------------------------------------ which are tried


def test_with_a_path_only_that_is_tried(tmp_path: Path) -> None:
    site = make(tmp_path, settings=BY_OPTION)
    found = report(site, websockets=["/ws/rooms/7/kick/"])
    tried = [each["url"] for each in found["requests"] if each["purpose"] in ("url", "websocket")]
    assert {*tried} == {"/ws/rooms/7/kick/"}


def test_a_layer_that_is_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """Who connects often tells the others over it."""
    layer = '{"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"hosts": [("redis.example.com", 6379)]}}'
    site = make(tmp_path, settings=f"{BY_OPTION}CHANNEL_LAYERS = {{'default': {layer}}}\n", routing=PUBLIC)
    found = report(site, all_pages=True)
    assert not any(each["purpose"] == "websocket" for each in found["requests"])
    assert any("default (redis.example.com)" in note for note in found["notes"])


def test_what_is_not_tried_is_told(routed: Any) -> None:
    assert any("/ws/rooms/<int:pk>/kick/" in note for note in routed["notes"])
