"""WebSocket handshakes (https://asgi.readthedocs.io/en/latest/specs/www.html#websocket)."""

import logging
from collections.abc import Iterable

from django_asgi_deploy.origins import OriginPattern, is_allowed
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.websocket")


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses the handshake (the client sees 403), where Django's own handler raises."""
    await receive()
    await send({"type": "websocket.close", "code": 1000})


class OriginCheck:
    """Refuses handshakes that pages of other sites start: a browser would send them this site's cookies.

    Allowed are the pages of ``hosts``, written as in ALLOWED_HOSTS, and of ``origins``, which may also have a scheme.
    A handshake without an Origin header doesn't come from a page in a browser, and is let through.
    Raises ValueError if one of ``origins`` is none.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self.app = app
        self.patterns = [*map(OriginPattern.of_host, hosts), *map(OriginPattern.parse, origins)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            for name, value in scope["headers"]:
                if name == b"origin" and not is_allowed(value.decode("latin-1"), self.patterns):
                    logger.warning(
                        "A WebSocket handshake from %r to %r is refused: neither ALLOWED_HOSTS nor "
                        "WEBSOCKET_ALLOWED_ORIGINS allows this origin.",
                        value.decode("latin-1"),
                        scope["path"],
                    )
                    await deny(scope, receive, send)
                    return
        await self.app(scope, receive, send)
