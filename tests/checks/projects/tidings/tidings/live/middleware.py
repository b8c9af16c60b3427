import threading
import time

from asgiref.local import Local
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import sync_and_async_middleware

_edition = threading.local()
_state = Local()


class EditionMiddleware:
    async_capable = True
    sync_capable = False

    def __init__(self, get_response):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request):
        _edition.name = request.headers.get("X-Edition", "main")  # expect: 210
        _state.name = "fine"
        response = await self.get_response(request)
        response["X-Edition"] = "main"
        return response


@sync_and_async_middleware
def timing_middleware(get_response):
    if iscoroutinefunction(get_response):

        async def middleware(request):
            started = time.perf_counter()
            response = await get_response(request)
            if request.session.get("debug"):  # expect: 404
                response["X-Took"] = str(time.perf_counter() - started)
            return response

    else:

        def middleware(request):
            started = time.perf_counter()
            response = get_response(request)
            if request.session.get("debug"):  # fine: sync
                response["X-Took"] = str(time.perf_counter() - started)
            return response

    return middleware


class StampMiddleware:
    async_capable = True
    sync_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request):
        if self.is_async:
            return self.__acall__(request)
        time.sleep(0)  # fine: the sync way
        return self.stamp(self.get_response(request))

    async def __acall__(self, request):
        return self.stamp(await self.get_response(request))

    def stamp(self, response):
        if response.streaming:
            response.streaming_content = self._count(response.streaming_content)  # expect: 211
        else:
            response.content = response.content + b"\n"
        return response

    def _count(self, chunks):
        for chunk in chunks:
            yield chunk
