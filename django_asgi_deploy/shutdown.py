"""Tells views that the server is about to stop, so that what never ends by itself can end in time.

.. code-block:: python

    from django_asgi_deploy.shutdown import until_shutdown

    async def events(request):
        return StreamingHttpResponse(until_shutdown(source()), content_type="text/event-stream")

``runasgi`` announces the end and then begins it; under another server, whoever knows of it calls ``begin()``. Needs no
request and no context, and may be used from any event loop and thread.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

_is_announced = False
_has_begun = False
_listeners: set["_Listener"] = set()


def is_announced() -> bool:
    """Whether this process was asked to stop; it may still be taking connections, for DRAIN_DELAY_SECONDS."""
    return _is_announced


def has_begun() -> bool:
    """Whether draining has begun: no new connections come, open responses should come to their end."""
    return _has_begun


async def wait_for_shutdown() -> None:
    """Returns when draining begins."""
    begun = asyncio.Event()
    with _listening(begun.set):
        await begun.wait()


async def until_shutdown(source: AsyncIterable[T]) -> AsyncIterator[T]:
    """The items of ``source``, until it or the server comes to its end; then ``source`` is closed.

    The step that ``source`` is in is cancelled, as by ``asyncio.timeout``: its ``finally`` blocks run.
    """
    iterator = aiter(source)
    try:
        while not _has_begun:
            scope = asyncio.timeout(None)
            try:
                async with scope:
                    with _listening(lambda: scope.reschedule(0)):  # noqa: B023 - called only inside this step
                        item = await anext(iterator)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if scope.expired():
                    return
                raise  # the source's own
            yield item
    finally:
        if aclose := getattr(iterator, "aclose", None):
            await aclose()


# ------------------------------------------------------------------ for the server


def announce() -> None:
    global _is_announced
    _is_announced = True


def reset() -> None:
    """At the start of a server: one that ran in this process before it, in a test, is over."""
    global _is_announced, _has_begun
    _is_announced = _has_begun = False


def begin() -> None:
    """Tell all who listen. To be called once, from any thread, also from a signal handler of an event loop."""
    global _has_begun
    announce()
    _has_begun = True
    for listener in list(_listeners):
        listener.tell()


class _Listener:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.loop = asyncio.get_running_loop()

    def tell(self) -> None:
        with suppress(RuntimeError):  # its loop is closed: nobody listens there any more
            self.loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        if self in _listeners:  # it may have got what it waited for meanwhile
            self.callback()


@contextmanager
def _listening(callback: Callable[[], None]) -> Iterator[None]:
    listener = _Listener(callback)
    _listeners.add(listener)
    if _has_begun:  # looked at after the listener is known: begin() may run in another thread
        listener.tell()
    try:
        yield
    finally:
        _listeners.discard(listener)
