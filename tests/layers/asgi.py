"""What a server does with an application: scopes, messages, a lifespan."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

REQUEST = {"type": "http.request", "body": b"", "more_body": False}
CONNECT = {"type": "websocket.connect"}


def http(path: str, **changes: Any) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "scheme": "http",
        **changes,
    }


def websocket(path: str, **changes: Any) -> Scope:
    scope = http(path, type="websocket", scheme="ws", subprotocols=[], **changes)
    del scope["method"]
    return scope


async def exchange(app: ASGIApp, scope: Scope, *received: dict[str, Any]) -> list[Any]:
    """What the application sends for ``scope`` when it receives these messages, and then nothing more."""
    sent: list[Any] = []
    messages = list(received or ([CONNECT] if scope["type"] == "websocket" else [REQUEST]))

    async def receive() -> Any:
        return messages.pop(0) if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


@asynccontextmanager
async def lifespan(app: ASGIApp, state: dict[str, Any] | None = None) -> AsyncIterator[list[Any]]:
    """The application as it is between start-up and shutdown; gives its answers, at the end both of them."""
    answers: list[Any] = []
    answered = asyncio.Event()
    messages: asyncio.Queue[Any] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    if state is not None:
        scope["state"] = state

    async def send(message: Any) -> None:
        answers.append(message)
        answered.set()

    async def ask(what: str) -> None:
        answered.clear()
        messages.put_nowait({"type": f"lifespan.{what}"})
        waiting = asyncio.ensure_future(answered.wait())
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    task = asyncio.ensure_future(app(scope, messages.get, send))
    await ask("startup")
    try:
        yield answers
        if answers and answers[0]["type"] == "lifespan.startup.complete":
            await ask("shutdown")
            await task
    finally:
        task.cancel()


class Seen:
    """An application that answers 200 and remembers its scopes; of the lifespan it writes a diary.

    ``fails``: "startup" or "shutdown" is answered with failed; ``state`` is what it leaves for its requests.
    """

    def __init__(
        self, name: str = "", diary: list[str] | None = None, fails: str = "", state: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.diary = [] if diary is None else diary
        self.fails = fails
        self.state = state or {}
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{what}"
                self.diary.append(f"{self.name} {what}")
                if self.fails == what:
                    await send({"type": f"lifespan.{what}.failed", "message": "the queue is away"})
                    return
                if self.state:
                    scope["state"].update(self.state)
                await send({"type": f"lifespan.{what}.complete"})
        else:
            self.scopes.append(scope)
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": self.name.encode()})
            else:
                await send({"type": "websocket.accept"})
