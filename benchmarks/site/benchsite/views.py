import asyncio
import time
from collections import Counter

from django.conf import settings
from django.contrib.auth.models import User
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse

SLEEP_SECONDS = 0.05
EVENT_SECONDS = 2.0
CHUNKS = 20
CHUNK_SECONDS = 0.05


def sync_hello(request):
    return HttpResponse("Hello")


async def async_hello(request):
    return HttpResponse("Hello")


def sync_query(request):
    return HttpResponse(f"found: {User.objects.filter(username='ada').exists()}")


async def async_query(request):
    return HttpResponse(f"found: {await User.objects.filter(username='ada').aexists()}")


def sync_sleep(request):
    time.sleep(SLEEP_SECONDS)
    return HttpResponse("slept")


async def events(request):
    async def stream():
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(EVENT_SECONDS)

    return StreamingHttpResponse(stream(), content_type="text/event-stream")


def file(request):
    return FileResponse(open(settings.BENCH_FILE, "rb"))


# Changed by one iterator at a time; run.py asks for it between two of them.
iterators = Counter(running=0, made=0)


def iterator(request):
    def chunks():
        iterators.update(running=1)
        iterators["made"] = 0
        try:
            for number in range(CHUNKS):
                iterators["made"] += 1
                yield b"chunk %d of %d;" % (number + 1, CHUNKS)
                time.sleep(CHUNK_SECONDS)
        finally:
            iterators.subtract(running=1)

    return StreamingHttpResponse(chunks(), content_type="text/plain")


async def iterator_state(request):
    return JsonResponse({**iterators, "chunks": CHUNKS})
