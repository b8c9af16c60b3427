"""What import strings in settings lead to."""

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send
from tests.layers.asgi import Seen

api = Seen("api")
socket = Seen("socket")
number = 3


class Noting:
    """Middleware: ``instances`` has all that were made, each with the scopes it has seen."""

    instances: list["Noting"] = []

    def __init__(self, app: ASGIApp, name: str = "") -> None:
        self.app = app
        self.name = name
        self.scopes: list[Scope] = []
        self.instances.append(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await self.app({**scope, "way": [*scope.get("way", []), self.name]}, receive, send)


def broken(app: ASGIApp) -> ASGIApp:
    raise LookupError("the middleware's own mistake")


def nothing(app: ASGIApp) -> None:
    pass


def factory() -> ASGIApp:
    return api


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket that sends back each text."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return []


async def frames(request: HttpRequest) -> HttpResponse:
    """The modules of all frames that are around this view."""
    frame, modules = sys._getframe(), []
    while frame := frame.f_back:  # type: ignore[assignment]
        modules.append(frame.f_globals["__name__"])
    return HttpResponse("\n".join(modules))


urlpatterns = [path("frames", frames)]
