"""Answers to probes, before Django: whether the process lives, and whether it should get requests."""

import asyncio
import inspect
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django_asgi_deploy.layers.route import note_route
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.health")

KEPT_SECONDS = 1.0  # how long results are good for another probe


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found; ``error`` (str) says what is wrong, and is empty where nothing is."""

    name: str
    milliseconds: float
    error: str = ""


class Check:
    """One check by its name: ``call()`` raises, or returns False, if something is wrong.

    An asynchronous one runs on the event loop. Any other runs in a thread of its own, never in one that requests wait
    for: a full pool doesn't make a worker unready. It is never in two runs at once: as long as one hangs, none begins.
    """

    def __init__(self, name: str, call: Callable[[], Any]) -> None:
        self.name = name
        self.call = call
        self._is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
            getattr(call, "__call__", None)  # noqa: B004 - asked for itself
        )
        self._run: asyncio.Future[str] | None = None
        self._since = 0.0

    async def result(self, timeout_seconds: float) -> Result:
        now = time.monotonic()
        if self._run is not None and not self._run.done():
            seconds = now - self._since
            return Result(self.name, seconds * 1000, f"still running, after {seconds:.1f} seconds")
        self._since = now
        self._run = self._begin()
        await asyncio.wait({self._run}, timeout=timeout_seconds)
        milliseconds = (time.monotonic() - now) * 1000
        if self._run.done():
            return Result(self.name, milliseconds, self._run.result())
        if isinstance(self._run, asyncio.Task):
            self._run.cancel()
        return Result(self.name, milliseconds, f"no result within {timeout_seconds:g} seconds")

    def _begin(self) -> "asyncio.Future[str]":
        loop = asyncio.get_running_loop()
        if self._is_async:
            return loop.create_task(self._on_loop(), name=f"check {self.name}")
        future: asyncio.Future[str] = loop.create_future()
        try:
            threading.Thread(target=self._in_thread, args=(future,), name=f"check {self.name}", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            future.set_result(self._shown(error))
        return future

    async def _on_loop(self) -> str:
        try:
            return _judged(await self.call())
        except asyncio.CancelledError:
            return "cancelled"
        except Exception as error:
            return self._shown(error)

    def _in_thread(self, future: "asyncio.Future[str]") -> None:
        try:
            error = _judged(self.call())
        except BaseException as raised:  # whatever it is, whoever waits is told
            error = self._shown(raised)
        try:
            future.get_loop().call_soon_threadsafe(future.set_result, error)
        except RuntimeError:  # the loop is closed, the process is on its way out
            logger.debug("The check %s ended after the event loop", self.name)

    def _shown(self, error: BaseException) -> str:
        logger.debug("The check %s failed", self.name, exc_info=error)
        return f"{type(error).__name__}: {error}"


def _judged(returned: object) -> str:
    return "it returned False" if returned is False else ""


class Readiness:
    """All checks, at once, each with the deadline ``timeout_seconds``; the results are kept for a second."""

    def __init__(self, checks: Mapping[str, Callable[[], Any]], timeout_seconds: float) -> None:
        self.checks = [Check(name, call) for name, call in checks.items()]
        self.timeout_seconds = timeout_seconds
        self._results: list[Result] = []
        self._results_at = -KEPT_SECONDS
        self._run: asyncio.Task[list[Result]] | None = None

    async def results(self) -> list[Result]:
        if time.monotonic() - self._results_at < KEPT_SECONDS:
            return self._results
        if self._run is None or self._run.done():
            self._run = asyncio.create_task(self._check(), name="readiness")
        return await asyncio.shield(self._run)

    async def _check(self) -> list[Result]:
        failing = {result.name for result in self._results if result.error}
        results = await asyncio.gather(*(check.result(self.timeout_seconds) for check in self.checks))
        for result in results:
            if bool(result.error) != (result.name in failing):
                self._tell(result)
        self._results, self._results_at = results, time.monotonic()
        return results

    @staticmethod
    def _tell(result: Result) -> None:
        """A line for each change; a probe comes every few seconds."""
        if result.error:
            logger.warning("Not ready: the check %s fails: %s", result.name, result.error)
        else:
            logger.info("The check %s is right again.", result.name)


class Health:
    """Answers GET and HEAD at two paths, and passes everything else on to ``app``.

    ``live_path`` is answered with 200 as long as the event loop runs. ``ready_path`` is answered with 503 while a check
    of ``readiness`` fails or ``is_draining()``, otherwise with 200. What is wrong in detail is told to those clients
    only for which ``is_trusted(scope)``. A path that is None isn't answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        live_path: str | None,
        ready_path: str | None,
        readiness: Readiness,
        is_draining: Callable[[], bool],
        is_trusted: Callable[[Scope], bool],
    ) -> None:
        self.app = app
        self.readiness = readiness
        self.is_draining = is_draining
        self.is_trusted = is_trusted
        answers: dict[str | None, Callable[[Scope], Awaitable[tuple[int, dict[str, Any]]]]] = {
            live_path: self._live,
            ready_path: self._ready,
        }
        self.answers = {path: answer for path, answer in answers.items() if path is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if root := scope.get("root_path"):  # a probe comes straight, or as everybody does
            path = path.removeprefix(root.rstrip("/"))
        answer = self.answers.get(path)
        if answer is None:
            await self.app(scope, receive, send)
            return
        note_route(scope, path[1:])
        if scope["method"] in ("GET", "HEAD"):
            await _send(scope, send, *await answer(scope))
        else:
            await _send(scope, send, 405, {"error": "expected GET or HEAD"}, (b"allow", b"GET, HEAD"))

    async def _live(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        return 200, {"live": True}

    async def _ready(self, scope: Scope) -> tuple[int, dict[str, Any]]:
        if self.is_draining():
            return 503, {"ready": False, "draining": True, "checks": []}
        results = await self.readiness.results()
        is_ready = not any(result.error for result in results)
        shows_errors = self.is_trusted(scope)
        checks = [_described(result, shows_errors) for result in results]
        return 200 if is_ready else 503, {"ready": is_ready, "draining": False, "checks": checks}


def _described(result: Result, shows_error: bool) -> dict[str, Any]:
    described = {
        "name": result.name,
        "result": "failed" if result.error else "ok",
        "milliseconds": round(result.milliseconds, 1),
    }
    return described | ({"error": result.error} if result.error and shows_error else {})


async def _send(scope: Scope, send: Send, status: int, content: Any, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps(content).encode() + b"\n"
    own_headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*own_headers, *headers]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
