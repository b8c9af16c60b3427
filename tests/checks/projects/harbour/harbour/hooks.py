"""Middleware with hooks."""

from django.middleware.security import SecurityMiddleware
from django.utils.deprecation import MiddlewareMixin


class AsyncRequestHook(MiddlewareMixin):
    async def process_request(self, request):  # expect: 204
        request.harbour = "Bergen"


class Common:
    async def process_response(self, request, response):  # expect: 204
        response["X-Harbour"] = "Bergen"
        return response


class AsyncResponseHook(Common, MiddlewareMixin):
    pass


class AsyncViewHook(MiddlewareMixin):
    async def process_view(self, request, view, args, kwargs):
        request.harbour = "Bergen"

    async def process_exception(self, request, exception):
        return None


class OwnCall(MiddlewareMixin):
    def __call__(self, request):  # expect: 205
        response = self.get_response(request)
        response["X-Harbour"] = "Bergen"
        return response


class StricterSecurity(SecurityMiddleware):
    def __call__(self, request):  # expect: 205
        response = super().__call__(request)
        response.headers["X-Strict"] = "yes"
        return response


class Passing(MiddlewareMixin):
    def __call__(self, request):
        request.harbour = "Bergen"
        return self.get_response(request)


class Twofold(MiddlewareMixin):
    def __call__(self, request):
        if self.async_mode:
            return self.__acall__(request)
        response = self.get_response(request)
        response["X-Harbour"] = "Bergen"
        return response

    async def __acall__(self, request):
        response = await self.get_response(request)
        response["X-Harbour"] = "Bergen"
        return response


class SyncByChoice(MiddlewareMixin):
    async_capable = False

    def __call__(self, request):
        response = self.get_response(request)
        response["X-Harbour"] = "Bergen"
        return response


class Classic(MiddlewareMixin):
    def process_request(self, request):
        request.harbour = "Bergen"

    def process_response(self, request, response):
        response["X-Harbour"] = request.harbour
        return response
