"""Middleware that changes what is sent."""

from asgiref.sync import iscoroutinefunction
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin


def upper(parts):
    for part in parts:
        yield part.upper()


async def aupper(parts):
    async for part in parts:
        yield part.upper()


class Upper(MiddlewareMixin):
    def process_response(self, request, response):
        if response.streaming:
            response.streaming_content = upper(response.streaming_content)  # expect: 211
        else:
            response.content = response.content.upper()
        return response


@sync_and_async_middleware
def mapped(get_response):
    def change(response):
        if getattr(response, "streaming", False):
            response.streaming_content = map(bytes.upper, response.streaming_content)  # expect: 211
        return response

    if iscoroutinefunction(get_response):

        async def middleware(request):
            return change(await get_response(request))

    else:

        def middleware(request):
            return change(get_response(request))

    return middleware


class Length(MiddlewareMixin):
    def process_response(self, request, response):
        response["X-Length"] = len(response.content)  # expect: 211
        return response


class GoodUpper(MiddlewareMixin):
    def process_response(self, request, response):
        if response.streaming:
            wrap = aupper if response.is_async else upper
            response.streaming_content = wrap(response.streaming_content)
        else:
            response.content = response.content.upper()
        return response


class GoodLength(MiddlewareMixin):
    def process_response(self, request, response):
        if not response.streaming:
            response["X-Length"] = len(response.content)
        return response


class Counting(MiddlewareMixin):
    def process_response(self, request, response):
        if not response.streaming:
            return response

        def counted():
            yield from parts

        parts = response.streaming_content
        response.streaming_content = counted()  # expect: 211
        return response


class Joining(MiddlewareMixin):
    def process_response(self, request, response):
        if response.streaming:
            response["X-Length"] = len(b"".join(response.streaming_content))  # expect: 211
        return response


class OkLength(MiddlewareMixin):
    def process_response(self, request, response):
        if response.status_code == 200:
            response["X-Length"] = len(response.content)  # expect: 211
        return response


class HtmlLength(MiddlewareMixin):
    def process_response(self, request, response):
        if response.get("Content-Type", "").startswith("application/json"):
            response["X-Length"] = len(response.content)
        return response
