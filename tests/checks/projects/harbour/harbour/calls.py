"""Middleware that is asynchronous, and says so or doesn't."""

import asyncio
import time

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import async_only_middleware, sync_and_async_middleware, sync_only_middleware


class Timing:
    def __init__(self, get_response):
        self.get_response = get_response

    async def __call__(self, request):  # expect: 201
        start = time.monotonic()
        response = await self.get_response(request)
        response["X-Time"] = str(time.monotonic() - start)
        return response


class Base:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):  # expect: 201
        return self.handle(request)

    async def handle(self, request):
        return await self.get_response(request)


class Handling(Base):
    sync_capable = True


class Declared:
    sync_capable = False
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response

    async def __call__(self, request):  # expect: 202
        return await self.get_response(request)


class Switching:
    """Knows both kinds, but doesn't tell anybody."""

    sync_capable = async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)

    def __call__(self, request):  # expect: 202
        if self.is_async:
            return self.answer(request)
        return self.get_response(request)

    async def answer(self, request):
        return await self.get_response(request)


class Legacy:
    sync_capable = False
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        self._is_coroutine = asyncio.coroutines._is_coroutine

    async def __call__(self, request):  # expect: 203
        return await self.get_response(request)


class LegacySwitching(Switching):
    def __init__(self, get_response):
        super().__init__(get_response)
        if self.is_async:
            self._is_coroutine = asyncio.coroutines._is_coroutine

    def __call__(self, request):  # expect: 203
        return super().__call__(request)


class Marked(Declared):
    def __init__(self, get_response):
        super().__init__(get_response)
        markcoroutinefunction(self)


class MarkedSwitching(Switching):
    def __init__(self, get_response):
        super().__init__(get_response)
        if self.is_async:
            markcoroutinefunction(self)


# Functions


def undeclared(get_response):
    async def middleware(request):  # expect: 206
        return await get_response(request)

    return middleware


@sync_only_middleware
def declared_wrong(get_response):
    async def middleware(request):  # expect: 206
        response = await get_response(request)
        response["X-Harbour"] = "yes"
        return response

    return middleware


@sync_and_async_middleware
def forgetful(get_response):
    """Says both, and is one."""

    def middleware(request):  # expect: 202
        response = get_response(request)
        response["X-Harbour"] = "yes"
        return response

    return middleware


@async_only_middleware
def only_async(get_response):
    async def middleware(request):
        return await get_response(request)

    return middleware


@sync_and_async_middleware
def both(get_response):
    if iscoroutinefunction(get_response):

        async def middleware(request):
            return await get_response(request)

    else:

        def middleware(request):
            return get_response(request)

    return middleware


def plain(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


class Plain:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Plain"] = "yes"
        return response


class Quay(Plain):
    def process_view(self, request, view, args, kwargs):
        request.quay = 3
