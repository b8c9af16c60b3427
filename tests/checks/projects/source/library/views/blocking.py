import asyncio
import os
import subprocess
import time
from time import sleep as pause

import httpx
from asgiref.sync import sync_to_async
from django.http import HttpResponse, JsonResponse
from django.views import View

from library import services
from library.services import Isbn, fetch_cover

http = httpx.Client()


async def slow(request):
    time.sleep(1)  # expect: 401
    return HttpResponse("at last")


async def renamed(request):
    pause(0.5)  # expect: 401
    return HttpResponse("at last")


async def fetch(request):
    answer = httpx.get("https://isbn.example.com")  # expect: 401
    return JsonResponse(answer.json())


async def fetch_with_requests(request):
    import requests

    session = requests.Session()
    answer = session.get("https://isbn.example.com")  # expect: 401
    return JsonResponse(answer.json())


async def shared_client(request):
    return JsonResponse(http.get("https://isbn.example.com").json())  # expect: 401


async def in_a_context(request):
    with httpx.Client(timeout=3) as client:
        answer = client.post("https://isbn.example.com", json={})  # expect: 401
    return JsonResponse(answer.json())


async def git(request):
    done = subprocess.run(["git", "log"], capture_output=True)  # expect: 401
    return HttpResponse(done.stdout)


async def shell(request):
    os.system("uptime")  # expect: 401
    return HttpResponse("ok")


async def read(request):
    with open("/etc/hostname") as file:  # expect: 401
        return HttpResponse(file.read())


async def read_path(request):
    return HttpResponse(services.TEMPLATE.read_text())  # expect: 401


async def through_a_decorator(request, isbn):
    return HttpResponse(fetch_cover(isbn))  # expect: 401


async def two_deep(request, isbn):
    return JsonResponse(services.lookup(isbn))  # expect: 401


async def cached(request):
    return HttpResponse(services.version())  # expect: 401


async def a_partial(request):
    services.nightly()  # expect: 401
    return HttpResponse("ok")


class Title(View):
    async def get(self, request, isbn):
        return HttpResponse(Isbn(3).title(isbn))  # expect: 401

    async def post(self, request, isbn):
        return HttpResponse(self.slow_title(isbn))  # expect: 401

    def slow_title(self, isbn):
        time.sleep(1)
        return isbn


# Nothing below holds the loop.


def synchronous(request):
    time.sleep(1)
    return HttpResponse(httpx.get("https://isbn.example.com").text)


async def waits(request):
    await asyncio.sleep(1)
    await asyncio.to_thread(time.sleep, 1)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, fetch_cover, "1")
    await loop.run_in_executor(None, lambda: time.sleep(1))
    return HttpResponse(await sync_to_async(fetch_cover)("1"))


async def asynchronous_client(request):
    async with httpx.AsyncClient() as client:
        answer = await client.get("https://isbn.example.com")
    process = await asyncio.create_subprocess_exec("git", "log", stdout=asyncio.subprocess.PIPE)
    await process.communicate()
    return JsonResponse(answer.json())


async def helper_that_is_not_called(request):
    def work():
        time.sleep(1)
        return subprocess.run(["git", "log"])

    @sync_to_async
    def other():
        time.sleep(1)

    await other()
    return HttpResponse(await asyncio.to_thread(work))


class Sleeper:
    def sleep(self, seconds):
        return seconds


async def own_sleep(request):
    time = Sleeper()
    return HttpResponse(time.sleep(1))


async def decorated_helper(request):
    return JsonResponse(await services.report(), safe=False)
