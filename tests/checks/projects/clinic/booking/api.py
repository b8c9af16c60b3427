"""Views that are objects, and functions that give back what another one made."""

from asgiref.sync import async_to_sync, markcoroutinefunction
from django.http import HttpResponse, JsonResponse


class Report:
    async def __call__(self, request):  # expect: 302
        return JsonResponse({"rows": []})


class Endpoint:
    def __init__(self, name):
        self.name = name

    async def __call__(self, request, **kwargs):  # expect: 302
        return JsonResponse({"endpoint": self.name})


class Calendar(Endpoint):
    pass


class Marked(Endpoint):
    def __init__(self, name):
        super().__init__(name)
        markcoroutinefunction(self)


class Plain:
    def __call__(self, request):
        return HttpResponse("plain")

    async def bound(self, request):
        return HttpResponse("bound")


async def doctors(request, specialty="all"):
    return JsonResponse({"specialty": specialty})


def by_specialty(request, specialty):
    return doctors(request, specialty=specialty)  # expect: 303


def waiting_room(request):
    return async_to_sync(doctors)(request)


def health(request):
    return HttpResponse("ok")
