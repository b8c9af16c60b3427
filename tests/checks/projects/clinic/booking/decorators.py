"""What the practice's views are decorated with."""

import asyncio
import functools
import logging
import time

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpResponseForbidden

logger = logging.getLogger(__name__)


def timed(view):
    @functools.wraps(view)
    def wrapper(request, *args, **kwargs):
        start = time.monotonic()
        try:
            return view(request, *args, **kwargs)
        finally:
            logger.debug("%s took %s", view.__name__, time.monotonic() - start)

    return wrapper


def audited(action):
    def decorate(fn):
        def inner(request, **kwargs):
            response = fn(request, **kwargs)
            response["X-Audit"] = action
            return response

        return inner

    return decorate


def versioned(view):
    @functools.wraps(view)
    def wrapper(request, *args, **kwargs):
        response = view(request, *args, **kwargs)
        response.headers["X-Version"] = "2"
        return response

    return wrapper


class Throttle:
    """A decorator that is a class."""

    def __init__(self, view):
        functools.update_wrapper(self, view)
        self.view = view

    def __call__(self, request, *args, **kwargs):
        if request.headers.get("X-Too-Many"):
            return HttpResponseForbidden()
        return self.view(request, *args, **kwargs)


# Those that take both kinds of view


def counted(view):
    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def wrapper(request, *args, **kwargs):
            return await view(request, *args, **kwargs)

    else:

        @functools.wraps(view)
        def wrapper(request, *args, **kwargs):
            return view(request, *args, **kwargs)

    return wrapper


def in_a_thread(view):
    @functools.wraps(view)
    def wrapper(request, *args, **kwargs):
        return async_to_sync(view)(request, *args, **kwargs)

    return wrapper


def with_own_loop(view):
    @functools.wraps(view)
    def wrapper(request, *args, **kwargs):
        response = view(request, *args, **kwargs)
        if asyncio.iscoroutine(response):
            response = asyncio.run(response)
        return response

    return wrapper


def passing(view):
    """Passes the coroutine on, and says that it does."""

    @functools.wraps(view)
    def wrapper(request, *args, **kwargs):
        logger.debug("%s", request.path)
        return view(request, *args, **kwargs)

    if iscoroutinefunction(view):
        markcoroutinefunction(wrapper)
    return wrapper


# For synchronous views


def logged(view):
    @functools.wraps(view)
    async def wrapper(request, *args, **kwargs):
        response = view(request, *args, **kwargs)
        response["X-Logged"] = "yes"
        return response

    return wrapper


def guarded(message):
    def decorate(handler):
        async def guard(request, *args, **kwargs):
            if request.headers.get("X-Guard"):
                return HttpResponseForbidden(message)
            return handler(request, *args, **kwargs)

        return guard

    return decorate


def threaded(view):
    @functools.wraps(view)
    async def wrapper(request, *args, **kwargs):
        return await sync_to_async(view)(request, *args, **kwargs)

    return wrapper


def either(view):
    @functools.wraps(view)
    async def wrapper(request, *args, **kwargs):
        if iscoroutinefunction(view):
            return await view(request, *args, **kwargs)
        return await sync_to_async(view)(request, *args, **kwargs)

    return wrapper
