"""Middleware that keeps who is asking, for code that has no request."""

import threading

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.deprecation import MiddlewareMixin

from harbour import locals as harbour_locals
from harbour.locals import current


class Pilot(MiddlewareMixin):
    def process_request(self, request):
        current.pilot = "Ada"  # expect: 210

    def process_response(self, request, response):
        del current.pilot
        return response


class PilotInStorage:
    sync_capable = async_capable = True

    def __init__(self, get_response):
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request):
        if iscoroutinefunction(self):
            return self.__acall__(request)
        harbour_locals.remember("Ada")  # expect: 210
        return self.get_response(request)

    async def __acall__(self, request):
        return await self.get_response(request)


class PilotInContext(MiddlewareMixin):
    def process_request(self, request):
        harbour_locals.pilot.set("Ada")
        harbour_locals.shared.pilot = "Ada"


class OwnLocal(MiddlewareMixin):
    def __init__(self, get_response):
        super().__init__(get_response)
        self.local = threading.local()

    def process_request(self, request):
        self.local.pilot = "Ada"  # expect: 210


pilots = {}


class ByThread(MiddlewareMixin):
    def process_request(self, request):
        pilots[threading.current_thread().ident] = "Ada"  # expect: 210


class ByName(MiddlewareMixin):
    def process_request(self, request):
        pilots[request.path] = "Ada"
