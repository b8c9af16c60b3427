"""What happens around all requests (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

import asyncio
import atexit
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.dispatch import Signal

from django_asgi_deploy.exceptions import ProjectError
from django_asgi_deploy.layers.forward import Forwarded
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger("django_asgi_deploy.lifespan")

AT_EXIT_SECONDS = 5.0  # for what is left when the process ends under a server that never told


class Lifespan:
    """Answers start-up and shutdown.

    The signals are sent with ``sender`` and ``state``; ``on_shutdown`` is awaited after the second.
    """

    def __init__(
        self,
        startup: Signal,
        shutdown: Signal,
        sender: object,
        on_shutdown: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.startup = startup
        self.shutdown = shutdown
        self.sender = sender
        self.on_shutdown = on_shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        await receive()
        if problem := await self._start(state):
            await send({"type": "lifespan.startup.failed", "message": problem})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        problems = await self._stop(state)
        if self.on_shutdown:
            await self.on_shutdown()
        if problems:
            await send({"type": "lifespan.shutdown.failed", "message": "\n".join(problems)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, state: dict[str, Any]) -> str:
        if not self.startup.has_listeners(self.sender):
            return ""
        try:
            await self.startup.asend(self.sender, state=state)
        except Exception as error:
            return _failed("A receiver of the signal startup", error)
        finally:
            await _tidy()
        return ""

    async def _stop(self, state: dict[str, Any]) -> list[str]:
        if not self.shutdown.has_listeners(self.sender):
            return []
        answers = await self.shutdown.asend_robust(self.sender, state=state)
        await _tidy()
        return [
            _failed(f"The receiver {_name(receiver)} of the signal shutdown", answer, "stop")
            for receiver, answer in answers
            if isinstance(answer, Exception)
        ]


class Contexts:
    """``app`` inside context managers: entered in order when the worker starts, left in reverse when it ends.

    ``managers`` maps names, which messages use, to what makes the managers: it is called with ``application()``.
    They may be asynchronous; synchronous ones are entered and left in asgiref's thread for synchronous code, so that
    they may block and use the database. A dictionary that one yields goes to ``scope["state"]``.

    Under a server that sends no lifespan all this happens at the first request, and at the end of the process.
    """

    def __init__(
        self, app: ASGIApp, managers: Mapping[str, Callable[[Any], Any]], application: Callable[[], object]
    ) -> None:
        self.app = app
        self.managers = managers
        self.application = application
        self.state: dict[str, Any] = {}
        self._is_up = False
        self._starting: asyncio.Task[bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if not self._is_up and not await self._start_untold():
            await _unavailable(scope, receive, send)
            return
        if not self.state.keys() <= scope.get("state", {}).keys():  # the server has no state, or doesn't hand it on
            scope = {**scope, "state": self.state | scope.get("state", {})}
        await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        problems: list[str] = []
        await receive()
        stage = "startup"
        async with AsyncExitStack() as stack:
            await self._start(stack, scope, problems)
            if not problems:
                self._is_up = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
                stage = "shutdown"
        if self.managers:
            await _tidy()
        if problems:
            await send({"type": f"lifespan.{stage}.failed", "message": "\n".join(problems)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack, scope: Scope, problems: list[str]) -> None:
        """Enter the managers, then start what is inside. What fails, now or on the way out, is in ``problems``."""
        self.state = dict(scope.get("state", {}))
        origins: dict[str, str] = {}
        for name, make in self.managers.items():
            try:
                yielded = await _enter(stack, make(self.application()), name, problems)
                self._keep(yielded, name, origins)
            except Exception as error:
                problems.append(_failed(name, error))
                return
        if self.managers:
            await _tidy()
        inside = Forwarded(self.app, "The application", {**scope, "state": self.state})
        stack.push_async_callback(_stop, inside, problems)
        if problem := await inside.start():
            problems.append(problem)
        self.state = inside.state
        if "state" in scope:
            scope["state"].update(self.state)

    def _keep(self, yielded: object, name: str, origins: dict[str, str]) -> None:
        if yielded is None:
            return
        if not isinstance(yielded, Mapping):
            raise TypeError(
                f"it yields {yielded!r}; expected a dictionary, whose items go to request.scope['state'], or nothing"
            )
        for key, value in yielded.items():
            if key in origins:
                raise ValueError(f"it yields {key!r}, as {origins[key]} does already; choose another name")
            origins[key] = name
            self.state[key] = value

    # Servers that don't tell

    async def _start_untold(self) -> bool:
        """Once, however many first requests there are; if it fails, the next one tries again."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start_own(), name="start of the application")
        return await asyncio.shield(self._starting)

    async def _start_own(self) -> bool:
        own = Forwarded(self, "The application", {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}})
        try:
            problem = await own.start()
        finally:
            self._starting = None
        if problem is None:
            atexit.register(_stop_at_exit, own, asyncio.get_running_loop())
        else:
            logger.error("The application failed to start: %s", problem)
        return problem is None


async def _enter(stack: AsyncExitStack, manager: Any, name: str, problems: list[str]) -> object:
    kind = type(manager)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        yielded, leave = await manager.__aenter__(), manager.__aexit__
    elif hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        yielded, leave = await _in_thread(manager.__enter__), partial(_in_thread, manager.__exit__)
    else:
        raise TypeError(
            f"calling it with the application gives {manager!r}; expected a context manager, as functions with "
            "@contextlib.asynccontextmanager make them"
        )
    stack.push_async_callback(_leave, leave, name, problems)
    result: object = yielded
    return result


async def _leave(leave: Callable[..., Awaitable[object]], name: str, problems: list[str]) -> None:
    """One that fails doesn't keep the others from being left."""
    try:
        await leave(None, None, None)
    except Exception as error:
        problems.append(_failed(name, error, "stop"))


async def _stop(inside: Forwarded, problems: list[str]) -> None:
    try:
        if problem := await inside.stop():
            problems.append(problem)
    finally:
        inside.cancel()


def _stop_at_exit(own: Forwarded, loop: asyncio.AbstractEventLoop) -> None:
    """The server has stopped its loop; if it has left it open, the managers can still be left."""
    if loop.is_closed() or loop.is_running():
        return
    try:
        if problem := loop.run_until_complete(asyncio.wait_for(own.stop(), AT_EXIT_SECONDS)):
            logger.error("The application failed to stop: %s", problem)
    except TimeoutError:
        logger.error("The application didn't stop within %d seconds.", AT_EXIT_SECONDS)


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        text = b"503 Service Unavailable"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text)), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": text})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013})  # try again later


async def _tidy() -> None:
    """As after a request: the thread for synchronous code keeps no connection that CONN_MAX_AGE doesn't allow."""
    await _in_thread(close_old_connections)


async def _in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    if threading.main_thread().is_alive():
        return await sync_to_async(call)(*arguments)
    return call(*arguments)  # the interpreter is on its way out, and gives threads no more work


def _failed(what: str, error: Exception, to: str = "start") -> str:
    return str(ProjectError.from_exception(f"{what} failed to {to}:", error))


def _name(receiver: Any) -> str:
    return f"{getattr(receiver, '__module__', '?')}.{getattr(receiver, '__qualname__', receiver)}"
