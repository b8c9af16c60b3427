"""
Which thread runs a request's synchronous code.

What holds a thread, and for how long:

* A request with a synchronous view: from its turn in the queue to its response.
* A request with an asynchronous view: from its first synchronous step (a query, a middleware hook) to its response.
* A response that streams from a synchronous iterator: to its last chunk. The iterator may keep a database cursor or
  thread-local state, so it stays where it was made, as under WSGI. Files are read elsewhere.
* A response that streams from an asynchronous iterator holds none: its thread goes back before the first chunk, and
  each later synchronous step takes any thread for as long as it runs. Only an open transaction keeps it to the end.

The same holds whether the pool is idle or full.
"""

import asyncio
import contextvars
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import SyncToAsync, sync_to_async

from django_asgi_deploy.handlers import private
from django_asgi_deploy.handlers.pool import Job, Lease, ThreadPool

T = TypeVar("T")

current: "contextvars.ContextVar[RequestThread]" = contextvars.ContextVar("django_asgi_deploy.request_thread")


class RequestThread:
    """One request's way to its thread. A task that outlives the request gets any thread for each call."""

    __slots__ = ("_lease", "housekeeping", "label", "loop", "loose", "pool", "users")

    def __init__(self, pool: ThreadPool, loop: asyncio.AbstractEventLoop, label: object) -> None:
        self.pool = pool
        self.loop = loop
        self.label = label
        self._lease: Lease | None = None
        # Whether the thread is to be tidied here, because Django's own signal receivers aren't called.
        self.housekeeping = False
        self.loose = False
        self.users = 1  # requests that share it: a request that calls the application is the second's owner, too

    @property
    def lease(self) -> Lease:
        if self._lease is None:
            self._lease = self.pool.lease(self.label)
        return self._lease

    @property
    def waited(self) -> float:
        """Seconds in the queue, until now."""
        return 0.0 if self._lease is None else self._lease.waited

    # The two ways in

    def submit(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        """For asgiref, from any event loop: its thread-sensitive calls."""
        loop = asyncio.get_running_loop()
        if self.pool.is_own_thread():  # asyncio.run() in a synchronous view: any other thread may never come free
            return _run_here(private.without_bridge(call), loop)
        if self.loose or loop is not self.loop:
            return self.pool.submit(partial(_tidily, call), loop, self.label).future
        return self._submit(call).future

    def _submit(self, call: Callable[[], Any]) -> Job:
        lease = self.lease
        if self.housekeeping and not lease.touched:
            call = partial(_after_tidying, call)
        return lease.submit(call, self.loop)

    async def run(self, call: Callable[[], T]) -> T:
        """
        Run ``call`` in the request's thread and in a copy of the task's context, which comes back changed.

        If the task is cancelled before the call began, it never begins; otherwise cancelling ends what async_to_sync()
        waits for in it, and waits for its end.
        """
        loop = self.loop
        task_context: list[asyncio.Task[Any]] = []
        context = contextvars.copy_context()
        step = partial(private.run_in_thread, loop, sys.exc_info(), task_context, context, call)
        job = self.pool.submit(partial(_tidily, step), loop, self.label) if self.loose else self._submit(step)
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            if not job.delivered and not job.withdraw():
                job.lease.abandoned = True
                for task in task_context:
                    task.cancel()
                await job.ended()
            raise
        finally:
            private.restore_context(context)
        return result

    @property
    def takes_steps(self) -> bool:
        """Whether step() does for its caller, in this task and thread, what submit() would."""
        return (
            not self.loose
            and self.loop is asyncio.get_running_loop()
            and private.thread_sensitive_context.get(None) is private.KEY
            and not self.pool.is_own_thread()
            and not private.has_parent_thread()
        )

    async def step(self, call: Callable[[], T]) -> T:
        """
        What ``await sync_to_async(call)()`` does, in fewer steps.

        Unlike run(), a cancelled task doesn't wait for a call that has begun, unless async_to_sync() waits in it.
        """
        task_context: list[asyncio.Task[Any]] = []
        context = contextvars.copy_context()
        job = self._submit(partial(private.run_in_thread, self.loop, sys.exc_info(), task_context, context, call))
        try:
            result: T = await job.future
        except asyncio.CancelledError as cancellation:
            if job.delivered or not task_context:
                raise
            result = await _cancel_inside(job, task_context[0], cancellation)
        finally:
            private.restore_context(context)
        return result

    # Its end

    def let_go(self) -> None:
        """In the thread: no later step needs it."""
        self.loose = True
        self.lease.let_go()

    async def begin_streaming(self) -> None:
        """Give the thread back, if there's one, unless a transaction is open in it."""
        if self.loose or self.users > 1:
            return
        if self._lease is None or not self._lease.touched:
            self.loose = True
        elif not await self.run(private.in_transaction):
            self.end()

    def leave(self) -> None:
        """The request is over; the last one takes the thread back."""
        self.users -= 1
        if not self.users:
            self.end()

    def end(self) -> None:
        if not self.loose:
            self.loose = True
            if self._lease is not None:
                self._lease.end(private.end_request)


async def _cancel_inside(job: Job, task: "asyncio.Task[Any]", cancellation: BaseException) -> Any:
    """As in SyncToAsync: what async_to_sync() waits for in a call may refuse to be cancelled; then the call goes on."""
    outcome = job.future = job.mailbox.loop.create_future()
    outcome.add_done_callback(lambda future: future.cancelled() or future.exception())  # somebody has looked at it
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        outcome.cancel()
        raise cancellation from None
    if outcome.done():
        raise cancellation
    return await outcome


async def query(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """For Django's ORM: ``await sync_to_async(call)(*args, **kwargs)``."""
    owner = current.get(None)
    if owner is None or not owner.takes_steps or not private.is_known_to_be_synchronous(call):
        return await sync_to_async(call)(*args, **kwargs)
    return await owner.step(partial(call, *args, **kwargs))


def _after_tidying(call: Callable[[], T]) -> T:
    private.begin_request()
    return call()


def _tidily(call: Callable[[], T]) -> T:
    private.begin_request()
    try:
        return call()
    finally:
        private.end_request()


def _run_here(call: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> "asyncio.Future[Any]":
    future: asyncio.Future[Any] = loop.create_future()
    asyncio._set_running_loop(None)  # for the call this is a thread without an event loop: it may use the database
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
    finally:
        asyncio._set_running_loop(loop)
    return future


class Dispatcher(Executor):
    """asgiref's executor for everything that runs for a request of ours."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # run_in_executor() passes an asyncio future on as it is, which saves a concurrent one and two callbacks.
        if args or kwargs:
            call = partial(call, *args, **kwargs)
        owner = current.get(None)
        if owner is None:
            return SyncToAsync.single_thread_executor.submit(call)
        return owner.submit(call)


if private.available:
    private.send_thread_sensitive_code_to(Dispatcher())
