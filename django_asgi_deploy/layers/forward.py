"""The server's side of the lifespan protocol, for an application that is inside another one.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from django_asgi_deploy.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.lifespan")

LEAVING_SECONDS = 1.0  # for what an application does after its last answer


class Forwarded:
    """The lifespan of one application, in a task of its own from ``start`` to ``stop``.

    ``state`` is what the application left in ``scope["state"]``.
    """

    def __init__(self, app: ASGIApp, name: str, scope: Scope) -> None:
        self.app = app
        self.name = name
        self.state: dict[str, Any] = dict(scope.get("state", {}))
        self._scope = {**scope, "state": self.state} if "state" in scope else dict(scope)
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._asked = ""
        self._answer: asyncio.Future[Message] | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_received = False
        self._knows_no_lifespan = False
        self._is_up = False

    async def start(self) -> str | None:
        """None if the application is ready, or has no lifespan; otherwise why it failed."""
        self._task = asyncio.create_task(self._run(), name=f"lifespan of {self.name}")
        answer = await self._ask("startup")
        if answer is None:
            self.cancel()
            self._explain(self._error())
            return None
        if answer["type"] == "lifespan.startup.failed":
            await self.end()
            return answer.get("message") or "it gave no reason"
        return None

    async def stop(self) -> str | None:
        """None if the application has come to its end as it should; otherwise what failed."""
        if not self._is_up:
            return None
        answer = await self._ask("shutdown")
        await self.end()
        if answer is None:
            error = self._error()
            return None if error is None else f"{type(error).__name__}: {error}"
        return (answer.get("message") or "it gave no reason") if answer["type"].endswith(".failed") else None

    async def end(self) -> None:
        """End the task, which may need a moment after its last answer."""
        if self._task is not None:
            _, running = await asyncio.wait({self._task}, timeout=LEAVING_SECONDS)
            self.cancel()
            if running:
                await asyncio.wait(running)
            self._error()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await self.app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._has_received and self._asked == "startup" and not self._is_up:
            await self._has_none()  # a loop over messages that passes by those it doesn't know
        self._has_received = True
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._asked == "startup" and not kind.startswith("lifespan."):
            await self._has_none()
        if kind not in (f"lifespan.{self._asked}.complete", f"lifespan.{self._asked}.failed"):
            raise RuntimeError(f"{self.name} answered lifespan.{self._asked} with {kind!r}.")
        self._is_up = kind == "lifespan.startup.complete"
        if self._answer and not self._answer.done():
            self._answer.set_result(message)

    async def _has_none(self) -> None:
        """The application takes every scope for a request or a WebSocket: it won't answer, and will be cancelled."""
        self._knows_no_lifespan = True
        if self._answer:
            self._answer.cancel()
        await asyncio.Event().wait()

    async def _ask(self, what: str) -> Message | None:
        """The answer to ``lifespan.<what>``; None if the application ends without one."""
        assert self._task is not None
        self._asked = what
        self._answer = asyncio.get_running_loop().create_future()
        self._messages.put_nowait({"type": f"lifespan.{what}"})
        ways: set[asyncio.Future[Any]] = {self._task, self._answer}
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        return self._answer.result() if self._answer.done() and not self._answer.cancelled() else None

    def _error(self) -> BaseException | None:
        """What the application raised. Asking also tells asyncio that somebody knows."""
        assert self._task is not None
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None

    def _explain(self, error: BaseException | None) -> None:
        # By the protocol an exception says "no lifespan here". After the first message it may well be a mistake.
        if error is not None and self._has_received and not self._knows_no_lifespan:
            logger.warning("%s has no lifespan, or failed in it: it raised", self.name, exc_info=error)


async def live_together(
    apps: Iterable[tuple[str, ASGIApp]],
    scope: Scope,
    receive: Receive,
    send: Send,
    on_started: Callable[[list[Forwarded]], None] = lambda started: None,
) -> None:
    """The lifespans of named applications as one: started in order, stopped in reverse, their states merged."""
    started: list[Forwarded] = []
    try:
        await receive()
        for name, app in apps:
            each = Forwarded(app, name, scope)
            started.append(each)
            if problem := await each.start():
                problems = [f"{name} failed to start: {problem}", *await _stop(started)]
                await send({"type": "lifespan.startup.failed", "message": "\n".join(problems)})
                return
        for each in started:
            if "state" in scope:
                scope["state"].update(each.state)
        on_started(started)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if problems := await _stop(started):
            await send({"type": "lifespan.shutdown.failed", "message": "\n".join(problems)})
        else:
            await send({"type": "lifespan.shutdown.complete"})
    finally:
        for each in started:
            each.cancel()


async def _stop(started: list[Forwarded]) -> list[str]:
    """Stop the last one first; one line for each that failed."""
    problems = []
    for each in reversed(started):
        if problem := await each.stop():
            problems.append(f"{each.name} failed to stop: {problem}")
    return problems


@asynccontextmanager
async def lifespan_of(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Around the block, ``app`` is started and stopped; gives the state it left, for ``scope["state"]``.

    For frameworks that don't forward the lifespan to what is mounted in them, such as Starlette and FastAPI:
    ``Starlette(lifespan=lambda starlette: lifespan_of(django), ...)``. Raises RuntimeError if ``app`` fails to start.
    """
    forwarded = Forwarded(app, "the application", {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}})
    try:
        if problem := await forwarded.start():
            raise RuntimeError(f"The application failed to start: {problem}")
        try:
            yield forwarded.state
        finally:
            problem = await forwarded.stop()
        if problem:
            raise RuntimeError(f"The application failed to stop: {problem}")
    finally:
        forwarded.cancel()
