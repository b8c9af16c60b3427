"""What a worker runs before it takes connections: paths through the whole application, and callables."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from django.db import connections

from django_asgi_deploy.exceptions import ProjectError
from django_asgi_deploy.types import ASGIApp, Message, Scope

Steps = Mapping[str, Callable[[], Any] | None]  # by what WARMUP says; None for a path


async def warm_up(steps: Steps, app: ASGIApp, host: str, state: Mapping[str, Any]) -> None:
    """Run the steps one after the other. ``state`` is what the lifespan has left for requests.

    Raises ProjectError if a callable raises, or a path is answered with a status of 500 or above.
    """
    for name, call in steps.items():
        try:
            await (_request(app, name, host, state) if call is None else _called(call))
        except ProjectError:
            raise
        except Exception as error:
            raise ProjectError.from_exception(f"WARMUP: {name} failed:", error) from error


async def _called(call: Callable[[], Any]) -> None:
    if inspect.iscoroutinefunction(call):
        await call()
    else:
        await asyncio.to_thread(_in_thread, call)


def _in_thread(call: Callable[[], Any]) -> None:
    try:
        call()
    finally:
        connections.close_all()  # this thread serves nobody


async def _request(app: ASGIApp, path: str, host: str, state: Mapping[str, Any]) -> None:
    status = 0
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # the client stays until it is cancelled
        sent = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(_scope(path, host, state), receive, send)
    if status >= 500 or not status:
        raise ProjectError(f"WARMUP: {path} was answered with {status or 'nothing'}.")


def _scope(path: str, host: str, state: Mapping[str, Any]) -> Scope:
    path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",  # else SECURE_SSL_REDIRECT would answer
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", host.encode()), (b"user-agent", b"runasgi warm-up")],
        "client": ("127.0.0.1", 0),
        "server": (host, 443),
        "state": dict(state),
    }
