"""A site for test_resources.py, served by a uvicorn of its own: ``uvicorn tests.handlers.resource_site:app``."""

import asyncio
import os
import threading
import time

from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.handlers import configured  # noqa: F401 - settings come before anything of Django's

closed = threading.Event()


async def events(request):
    async def stream():
        yield b"data: 1\n\n"
        await asyncio.sleep(3600)

    return StreamingHttpResponse(stream(), content_type="text/event-stream")


def file(request):
    return FileResponse(open(os.environ["RESOURCE_FILE"], "rb"))


def ticks(request):
    def stream():
        try:
            while True:
                yield b"tick\n"
                time.sleep(0.01)
        finally:
            closed.set()

    return StreamingHttpResponse(stream())


def was_closed(request):
    return HttpResponse(str(closed.wait(20)))


def hello(request):
    return HttpResponse("hello")


urlpatterns = [
    path("events", events),
    path("file", file),
    path("ticks", ticks),
    path("was-closed", was_closed),
    path("hello", hello),
]

if "RESOURCE_FILE" in os.environ:
    from django.conf import settings

    from django_asgi_deploy.handlers.asgi import ASGIHandler

    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    app = ASGIHandler()
