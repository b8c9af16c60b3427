"""The pages around the notes: each shows one thing that a server must do well."""

import asyncio
import hashlib
import inspect
import itertools
import json
import os
import tempfile
import time

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import get_script_prefix
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET

from testproject import websocket
from testproject.forms import EchoForm, UploadForm
from testproject.info import is_asgi, process_info, request_info


def home(request):
    return render(request, "home.html", {"info": process_info(request)})


# Two kinds of views


def sync_page(request):
    context = {"info": process_info(request), "source": inspect.getsource(sync_page)}
    return render(request, "sync.html", context)


async def async_page(request):
    context = {"info": process_info(request), "source": inspect.getsource(async_page)}
    # A template can't await: what it needs from the database is fetched before.
    context["user"] = await request.auser()
    return render(request, "async.html", context)


def hello_sync(request):
    return HttpResponse("Hello", content_type="text/plain")


async def hello_async(request):
    return HttpResponse("Hello", content_type="text/plain")


def slow_sync(request):
    seconds = number(request, "seconds", 2.0, most=600)
    time.sleep(seconds)
    return HttpResponse(f"Slept {seconds:g} seconds in a thread.\n", content_type="text/plain")


async def slow_async(request):
    seconds = number(request, "seconds", 2.0, most=600)
    await asyncio.sleep(seconds)
    return HttpResponse(f"Slept {seconds:g} seconds without a thread.\n", content_type="text/plain")


# Forms and files


def form(request):
    if request.method == "POST":
        fields = request.POST.dict()
        fields.pop("csrfmiddlewaretoken", None)
        return answer(request, "What the server received", fields)
    return render(request, "form.html", {"form": EchoForm()})


def upload(request):
    if request.method != "POST":
        return render(request, "upload.html", {"form": UploadForm()})
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        if wants_html(request):
            return render(request, "upload.html", {"form": form}, status=400)
        return JsonResponse({"errors": form.errors}, status=400)
    file = form.cleaned_data["file"]
    sha256 = hashlib.sha256()
    for chunk in file.chunks():
        sha256.update(chunk)
    received = {
        "name": file.name,
        "size": file.size,
        "content_type": file.content_type,
        "sha256": sha256.hexdigest(),
    }
    return answer(request, "Upload received", received)


def download(request):
    size = number(request, "bytes", 100_000_000, most=2**31)
    return FileResponse(generated_file(size).open("rb"), as_attachment=True, filename=f"{size}-bytes.bin")


def generated_file(size):
    """A file of the given size whose byte at position i is i % 256. Made when it is first asked for."""
    folder = settings.MEDIA_ROOT / "downloads"
    path = folder / f"{size}.bin"
    if not path.exists():
        block = bytes(range(256)) * 4096
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            for position in range(0, size, len(block)):
                file.write(block[: size - position])
        # Under its name only when complete: another request may be looking for it.
        os.replace(file.name, path)
    return path


# Live


def stream_sync(request):
    count, delay = number(request, "n", 10, most=1_000_000), number(request, "delay_ms", 300, most=60_000)

    def lines():
        for line in range(1, count + 1):
            yield f"line {line}\n"
            time.sleep(delay / 1000)

    return StreamingHttpResponse(lines(), content_type="text/plain")


async def stream_async(request):
    count, delay = number(request, "n", 10, most=1_000_000), number(request, "delay_ms", 300, most=60_000)

    async def lines():
        for line in range(1, count + 1):
            yield f"line {line}\n"
            await asyncio.sleep(delay / 1000)

    return StreamingHttpResponse(lines(), content_type="text/plain")


@require_GET  # and not HEAD: it would never end
async def events(request):
    """Server-sent events: ?n= of them, or without an end."""
    count, interval = number(request, "n", 0, most=1_000_000), number(request, "interval_ms", 1000, most=60_000)
    if not count and not is_asgi(request):
        raise BadRequest("A stream without an end needs ASGI: manage.py runasgi.")

    async def stream():
        for event_id in range(1, count + 1) if count else itertools.count(1):
            data = {"id": event_id, "time": timezone.now().isoformat(), "pid": os.getpid()}
            yield f"id: {event_id}\ndata: {json.dumps(data)}\n\n"
            await asyncio.sleep(interval / 1000)

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(stream(), content_type="text/event-stream", headers=headers)


def events_page(request):
    return render(request, "events.html", {"is_asgi": is_asgi(request)})


def websocket_page(request):
    path = get_script_prefix() + websocket.PATH.removeprefix("/")
    return render(request, "websocket.html", {"is_asgi": is_asgi(request), "path": path})


# Requests and answers


def info(request):
    return answer(request, "What Django knows about your request", request_info(request))


def cookies(request):
    response = answer(request, "Two cookies set; you sent these", {"cookies": request.COOKIES})
    response.set_cookie("flavour", "vanilla", samesite="Lax")
    response.set_cookie("topping", "cherry", samesite="Lax", max_age=3600, httponly=True)
    return response


def session(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return answer(request, "Your visits to this page", {"visits": request.session["visits"]})


def redirect_to_info(request):
    return redirect("info")


def error(request):
    raise RuntimeError("boom")


def favicon(request):
    return redirect(static("site/icon.svg"))


# Helpers


def answer(request, title, data):
    """The same data for everyone: as a page for browsers, as JSON for programs."""
    if wants_html(request):
        context = {"title": title, "json": json.dumps(data, indent=2, ensure_ascii=False)}
        response = render(request, "answer.html", context)
    else:
        response = JsonResponse(data)
    patch_vary_headers(response, ["Accept"])
    return response


def wants_html(request):
    return request.get_preferred_type(["application/json", "text/html"]) == "text/html"


def number(request, name, default, *, most):
    """The number that the URL gives as ?name=, of the same type as the default."""
    given = request.GET.get(name, default)
    try:
        value = type(default)(given)
    except ValueError:
        value = -1
    if not 0 <= value <= most:
        raise BadRequest(f"{name}={given!r} should be a number from 0 to {most}.")
    return value
