import asyncio
import itertools
import threading
import time

from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from ..models import Article, Comment, Photo

_local = threading.local()


def _rows():
    yield "member,text\n"
    for comment in Comment.objects.values_list("member__username", "text").iterator():
        yield ",".join(comment) + "\n"


async def export_comments(request):
    response = StreamingHttpResponse(_rows(), content_type="text/csv")  # expect: 407
    response["Content-Disposition"] = "attachment"
    return response


async def ticker(request):
    def events():
        while True:
            yield b"data: x\n\n"
            time.sleep(1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")  # expect: 407, 512


async def photo_file(request, pk):
    photo = await Photo.objects.aget(pk=pk)
    return FileResponse(open(f"/srv/photos/{photo.pk}.jpg", "rb"))  # expect: 407, 401


def download_issue(request):
    time.sleep(0.1)  # fine: a sync view runs in a thread
    return HttpResponse("later")


async def _tail(limit):
    for number in itertools.count():
        if number > limit:
            return
        yield f"{number}\n"
        time.sleep(0.5)  # expect: 401


async def stream_tail(request):
    return StreamingHttpResponse(_tail(10), content_type="text/plain")


async def feed_stream(request):
    async def generate():
        latest = 0
        while True:
            async for article in Article.objects.filter(pk__gt=latest):
                latest = article.pk
                yield f"data: {article.headline}\n\n"
            await asyncio.sleep(5)

    response = StreamingHttpResponse(generate(), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response


async def live_stream(request):
    _local.edition = request.GET.get("edition")  # expect: 410

    async def generate():
        for article in Article.objects.all()[:5]:  # expect: 402
            yield article.headline

    return StreamingHttpResponse(generate(), headers={"Content-Type": "text/event-stream"})  # expect: 512
