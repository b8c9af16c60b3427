"""Five faults to plant in a handler: small patches that fit Django's and ours alike, to see that a test finds them."""

import functools
from contextlib import ExitStack, contextmanager
from inspect import iscoroutinefunction
from unittest import mock

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.test import override_settings

from tests.handlers.stacks import TRAIL


@contextmanager
def _around_each_request(wrap):
    """Put a coroutine function around the handlers' __call__."""
    classes = [ASGIHandler, *ASGIHandler.__subclasses__()]
    with ExitStack() as patches:
        for kind in classes:
            if "__call__" in kind.__dict__ and kind.__module__.startswith(("django.core.", "django_asgi_deploy.")):
                patches.enter_context(mock.patch.object(kind, "__call__", wrap(kind.__dict__["__call__"])))
        yield


@contextmanager
def wrong_order():
    """The two outermost middleware change places."""
    original = BaseHandler.load_middleware

    def load_middleware(self, is_async=False):
        first, *rest = settings.MIDDLEWARE or [None]
        swapped = [*rest[:1], first, *rest[1:]] if rest else list(settings.MIDDLEWARE)
        with override_settings(MIDDLEWARE=swapped):
            return original(self, is_async=is_async)

    with mock.patch.object(BaseHandler, "load_middleware", load_middleware):
        yield


@contextmanager
def lost_exception():
    """What a view raises becomes an answer, and no process_exception() hears of it."""

    def swallow(self, exception, request):
        return HttpResponse("lost")

    with mock.patch.object(BaseHandler, "process_exception_by_middleware", swallow):
        yield


@contextmanager
def signal_sent_twice():
    """request_finished is sent again at the end of each request."""

    def wrap(original):
        @functools.wraps(original)
        async def call(self, scope, receive, send):
            await original(self, scope, receive, send)
            await signals.request_finished.asend(sender=type(self))

        return call

    with _around_each_request(wrap):
        yield


@contextmanager
def leaked_context():
    """A request begins with the context variables that the one before it left."""

    def wrap(original):
        left = []

        @functools.wraps(original)
        async def call(self, scope, receive, send):
            if left:
                TRAIL.set((*left.pop(), "leaked"))
            try:
                await original(self, scope, receive, send)
            finally:
                left.append(TRAIL.get())

        return call

    with _around_each_request(wrap):
        yield


@contextmanager
def wrong_thread():
    """A synchronous view runs in some thread of the loop's default executor, with the right context."""
    original = BaseHandler.make_view_atomic

    def make_view_atomic(self, view):
        atomic = original(self, view)
        if iscoroutinefunction(atomic):
            return atomic

        @functools.wraps(atomic, updated=())
        def elsewhere(*args, **kwargs):
            return async_to_sync(sync_to_async(atomic, thread_sensitive=False))(*args, **kwargs)

        return elsewhere

    with mock.patch.object(BaseHandler, "make_view_atomic", make_view_atomic):
        yield


# Each with what a line of the differences must show: it was this fault that was seen, not another.
FAULTS = {
    wrong_order: r"^-m\d",
    lost_exception: r"^\+send.*'lost'|^-(log|got_request_exception|m\d\.process_exception)",
    signal_sent_twice: r"^\+request_finished",
    leaked_context: r"^\+.*,leaked",
    wrong_thread: r"^\+.* worker 2 ",
}
