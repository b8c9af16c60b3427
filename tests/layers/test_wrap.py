"""Middleware around an application."""

import asyncio
from typing import Any

from django_asgi_deploy.layers.wrap import Middleware, wrap
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send
from tests.layers.asgi import Seen, exchange, http


class Marking:
    """Notes its name on the way in."""

    def __init__(self, app: ASGIApp, name: str, **options: Any) -> None:
        self.app = app
        self.name = name
        self.options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "way": [*scope.get("way", []), self.name]}, receive, send)


def test_the_first_middleware_is_the_outermost_and_gets_its_options() -> None:
    seen = Seen()
    app: Any = wrap(seen, [Middleware(Marking, name="outer", level=3), Middleware(Marking, name="inner")])
    asyncio.run(exchange(app, http("/")))
    assert seen.scopes[0]["way"] == ["outer", "inner"]
    assert app.options == {"level": 3}


def test_without_middleware_the_application_is_itself() -> None:
    seen = Seen()
    assert wrap(seen, []) is seen


def test_a_function_that_makes_an_application_is_a_middleware_and_cls_may_be_an_option() -> None:
    def named(app: ASGIApp, cls: str) -> ASGIApp:
        return Marking(app, name=cls)

    seen = Seen()
    asyncio.run(exchange(wrap(seen, [Middleware(named, cls="first")]), http("/")))
    assert seen.scopes[0]["way"] == ["first"]


def test_a_middleware_shows_what_it_will_make() -> None:
    assert repr(Middleware(Marking, name="outer")) == "Middleware(Marking, name='outer')"
