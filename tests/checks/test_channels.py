"""Channels' routing: what the objects themselves tell."""

import sys
from pathlib import Path

import pytest

from django_asgi_deploy.checks import channels, settings_services
from tests.checks.sites import inspected
from tests.programs import require_package
from tests.utils import Site

pytestmark = pytest.mark.real

HEAD = """
    import os
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    from channels.auth import AuthMiddlewareStack
    from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator
    from channels.sessions import SessionMiddlewareStack
    from django.urls import path, re_path

    class Chat(AsyncJsonWebsocketConsumer): ...

    class Ticker(WebsocketConsumer): ...

    class Own:
        '''Somebody's middleware: it may check by itself.'''
        def __init__(self, application): self.__application = application
        async def __call__(self, scope, receive, send): ...

    async def pages(scope, receive, send): ...

"""
CONTRIB = "INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions']\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    require_package("channels")
    return Site(tmp_path)


def found(site: Site, text: str) -> list[str]:
    site.write("mysite/asgi", HEAD)
    site.append("mysite/asgi", f"\n{text}\n")
    site.append("mysite/settings", CONTRIB)
    with inspected(site.folder, "mysite.asgi") as subject:
        application = sys.modules["mysite.asgi"].application
        subject = type(subject)(**{**vars(subject), "application": application})
        return [f"{each.number} {each.level}" for each in channels.check(subject)]


CHAT = 'URLRouter([path("chat/", Chat.as_asgi())])'
CLASS = 'URLRouter([path("chat/", Chat)])'
NESTED_CLASS = 'URLRouter([path("x/", URLRouter([re_path("t$", Ticker)]))])'


@pytest.mark.parametrize(
    ("websocket", "expected"),
    [
        (f'OriginValidator({CLASS}, ["*"])', ["602 error"]),
        (f'OriginValidator(AuthMiddlewareStack({NESTED_CLASS}), ["a.b"])', ["602 error"]),
        (f"AuthMiddlewareStack({CHAT})", ["603 warning"]),
        ('URLRouter([path("ticker/", Ticker.as_asgi())])', ["603 warning"]),
        (f"AllowedHostsOriginValidator(SessionMiddlewareStack({CHAT}))", []),
        (f'AuthMiddlewareStack(OriginValidator({CHAT}, ["a.b"]))', []),
        (f"Own({CHAT})", []),
    ],
)
def test_what_is_wrong_with_websockets_is_found(site: Site, websocket: str, expected: list[str]) -> None:
    text = f'application = ProtocolTypeRouter({{"http": pages, "websocket": {websocket}}})'
    assert found(site, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'application = ProtocolTypeRouter({{"websocket": AllowedHostsOriginValidator({CHAT})}})', ["601 error"]),
        ("application = ProtocolTypeRouter(dict(lifespan=pages))", ["601 error"]),
        ("application = ProtocolTypeRouter(dict(http=pages))", []),
        ("application = pages", []),
    ],
)
def test_a_router_without_pages_is_found(site: Site, text: str, expected: list[str]) -> None:
    assert found(site, text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'application = ProtocolTypeRouter({{"http": pages, "websocket": {CHAT}}})', 0),
        (f'routes = {CHAT}\napplication = ProtocolTypeRouter({{\n    "http": pages,\n    "websocket": routes}})', 3),
        (f'mapping = {{"http": pages, "websocket": {CHAT}}}\napplication = ProtocolTypeRouter(mapping)', 0),
        (
            'other = ProtocolTypeRouter({"websocket": pages})\n'
            f'application = ProtocolTypeRouter({{"http": pages, "websocket": {CHAT}}})',
            1,
        ),
    ],
)
def test_the_line_is_that_of_the_served_application(site: Site, text: str, line: int) -> None:
    site.write("mysite/asgi", HEAD)
    site.append("mysite/asgi", f"\n{text}\n")
    site.append("mysite/settings", CONTRIB)
    begins = (site.folder / "mysite/asgi.py").read_text().splitlines().index(text.splitlines()[0]) + 1
    with inspected(site.folder, "mysite.asgi") as subject:
        application = sys.modules["mysite.asgi"].application
        subject = type(subject)(**{**vars(subject), "application": application})
        assert [each.place and each.place.line for each in channels.check(subject)] == [begins + line]


LAYERS = """
    from channels.layers import BaseChannelLayer, InMemoryChannelLayer
    class Layer(InMemoryChannelLayer): ...
    class Other(BaseChannelLayer): ...
"""


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("channels.layers.InMemoryChannelLayer", [111]),
        ("mysite.layers.Layer", [111]),
        ("mysite.layers.Other", []),
        ("mysite.nowhere.Layer", []),
    ],
)
def test_a_layer_in_memory_is_found_also_as_a_class_of_ones_own(site: Site, backend: str, expected: list[int]) -> None:
    site.write("mysite/layers", LAYERS)
    site.append("mysite/settings", f"DEBUG = False\nCHANNEL_LAYERS = {{'default': {{'BACKEND': {backend!r}}}}}\n")
    with inspected(site.folder) as subject:
        assert [each.number for each in settings_services.channel_layers(subject)] == expected
