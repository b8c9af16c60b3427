import time

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from library.models import Publisher


@sync_and_async_middleware
def tenant(get_response):
    if iscoroutinefunction(get_response):

        async def middleware(request):
            request.tenant = Publisher.objects.first()  # expect: 402
            return await get_response(request)

    else:

        def middleware(request):
            request.tenant = Publisher.objects.first()
            return get_response(request)

    return middleware


class AuditMiddleware:
    sync_capable = False
    async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request):
        started = time.monotonic()
        response = await self.get_response(request)
        self.write(request, started)  # expect: 404
        return response

    def write(self, request, started):
        print(request.user.pk, time.monotonic() - started)
