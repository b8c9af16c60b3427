from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from harbour import locals as harbour_locals


def ships(request):
    return HttpResponse("ships")


async def tides(request):
    return HttpResponse("tides")


async def positions(request):
    async def parts():
        for part in (b"one", b"two"):
            yield part

    return StreamingHttpResponse(parts())


async def who(request):
    """What asynchronous code sees of the middleware's thread-local and context variable."""
    of_thread = getattr(harbour_locals.current, "pilot", None) or getattr(harbour_locals.storage, "pilot", None)
    of_context = harbour_locals.pilot.get(None)
    return HttpResponse(f"{of_thread} {of_context}")


urlpatterns = [
    path("ships/", ships),
    path("tides/", tides),
    path("positions/", positions),
    path("who/", who),
]
