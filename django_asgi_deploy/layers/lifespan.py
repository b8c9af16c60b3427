"""The lifespan protocol (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

from collections.abc import Awaitable, Callable

from django_asgi_deploy.types import Receive, Scope, Send


class Lifespan:
    """Answers start-up and shutdown; ``on_shutdown`` is awaited before the shutdown is answered."""

    def __init__(self, on_shutdown: Callable[[], Awaitable[object]] | None = None) -> None:
        self.on_shutdown = on_shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.on_shutdown:
            await self.on_shutdown()
        await send({"type": "lifespan.shutdown.complete"})
