"""Requests to an application, one after another or several at once, each with a deadline."""

import asyncio
import contextvars
import threading
from collections.abc import Sequence
from typing import Any

from django_asgi_deploy.checks.frames import busy_threads
from django_asgi_deploy.checks.handshake import Handshake, scope_of
from django_asgi_deploy.checks.hops import Hop, noted
from django_asgi_deploy.checks.probe import (
    Answer,
    Exchange,
    LoopBlocked,
    LoopThread,
    Visitor,
)
from django_asgi_deploy.checks.stalls import Stalls
from django_asgi_deploy.types import ASGIApp


class Driver:
    """What asks. ``left_behind`` says that something which hangs couldn't be ended."""

    def __init__(self, app: ASGIApp, visitor: Visitor, deadline_seconds: float) -> None:
        self.app = app
        self.visitor = visitor
        self.deadline_seconds = deadline_seconds
        self.older_threads = {thread.ident or 0 for thread in threading.enumerate()}
        self.thread = LoopThread()
        self.state: dict[str, Any] = {}  # of the lifespan
        self.left_behind = False

    def ask(
        self,
        url: str,
        method: str = "GET",
        *,
        app: ASGIApp | None = None,
        body: Sequence[bytes] = (),
        leave: asyncio.Event | None = None,
        leave_after_seconds: float | None = None,
        hops: list[Hop] | None = None,
        cookie: str | None = None,
        root_path: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> Answer:
        """The answer. The client leaves when the event is set, or after so many seconds. ``headers``: more of them."""
        context = contextvars.Context()
        if hops is not None:
            context.run(noted.set, hops)
        scope = self.visitor.scope(
            method, url, self.state, size=sum(map(len, body)), cookie=cookie, root_path=root_path
        )
        scope["headers"] = [*scope["headers"], *headers]
        exchange = Exchange(app or self.app, scope, body, leave, leave_after_seconds)
        exchange.answer.url = url
        return self._run([exchange], [context])[0]

    def ask_at_once(self, url: str, count: int) -> list[Answer]:
        """So many of the same GET, all under way together."""
        scopes = [self.visitor.scope("GET", url, self.state) for _ in range(count)]
        exchanges = [Exchange(self.app, scope) for scope in scopes]
        return self._run(exchanges, [contextvars.Context() for _ in range(count)])

    def connect(self, path: str, origin: str | None, cookie: str | None) -> Handshake:
        """A WebSocket, opened by a page of ``origin``, or by none, and left at once."""
        scope = scope_of(self.visitor, path, origin, cookie)
        handshake = Handshake(self.app, {**scope, "state": self.state.copy()})
        handshake.answer.url = path
        self._run([handshake], [contextvars.Context()])
        return handshake

    def _run(self, exchanges: Sequence[Exchange], contexts: list[contextvars.Context]) -> list[Answer]:
        longest = exchanges[0].longest_seconds(self.deadline_seconds)
        try:
            self.thread.run(self._all(exchanges, contexts), longest)
        except LoopBlocked as blocked:
            for exchange in exchanges:
                answer = exchange.answer
                answer.is_late = answer.blocks = answer.is_left_behind = True
                answer.place, answer.seconds = blocked.place, longest
            self.replace_thread()
        answers = [exchange.answer for exchange in exchanges]
        self.left_behind |= any(answer.is_left_behind for answer in answers)
        return answers

    async def _all(self, exchanges: Sequence[Exchange], contexts: list[contextvars.Context]) -> None:
        stalls = Stalls()
        older_threads = self.older_threads | busy_threads()  # in what hung before
        with stalls.watching():
            await asyncio.gather(
                *(
                    exchange.run(self.deadline_seconds, context, older_threads)
                    for exchange, context in zip(exchanges, contexts, strict=True)
                )
            )
        exchanges[0].answer.stalls = stalls.places

    def replace_thread(self) -> None:
        """The loop's thread is lost: something holds it."""
        self.left_behind = True
        self.thread = LoopThread()
