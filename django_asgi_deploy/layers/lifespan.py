"""The lifespan protocol (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

from django_asgi_deploy.types import Receive, Scope, Send


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers start-up and shutdown, so that no server says that the application doesn't support lifespan."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
