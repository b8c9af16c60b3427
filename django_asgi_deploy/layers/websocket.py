"""WebSocket handshakes (https://asgi.readthedocs.io/en/latest/specs/www.html#websocket)."""

from django_asgi_deploy.types import Receive, Scope, Send


async def deny(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses the handshake (the client sees 403), where Django's own handler raises."""
    await receive()
    await send({"type": "websocket.close", "code": 1000})
