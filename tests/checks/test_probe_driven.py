"""What only shows when pages are driven: computing, arguments, visitors, threads, clients that leave, proxies."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checks.test_probe import CONTRIB, report
from tests.programs import require_package
from tests.utils import Site, run_to_end

pytestmark = pytest.mark.real

URLS = """
    import asyncio, contextvars, ipaddress, threading, time, zlib
    from concurrent.futures import ThreadPoolExecutor
    from asgiref.sync import sync_to_async
    from django.contrib.auth.models import Group, User
    from django.http import Http404, HttpResponse, StreamingHttpResponse
    from django.shortcuts import render
    from django.template import engines
    from django.template.response import TemplateResponse
    from django.urls import path, re_path
    from django.views import View
    from django.views.generic import DetailView

    # What holds the loop without a call that is known to block.

    async def brightness(request):
        ends = time.thread_time() + 0.4
        total = 0
        while time.thread_time() < ends:  # expect: 702
            total += 1
        return HttpResponse(total)

    def pack(text):
        packed = 0
        ends = time.thread_time() + 0.4
        while time.thread_time() < ends: packed += len(zlib.compress(text * 1_000_000, 9))  # expect: 702
        return packed

    async def packed(request):
        return HttpResponse(pack(b"star"))

    def brightness_in_a_thread(request):
        ends = time.thread_time() + 0.4
        while time.thread_time() < ends:
            pass
        return HttpResponse("")

    warm = []
    async def only_once(request):
        if not warm:
            warm.append(True)
            ends = time.thread_time() + 0.3
            while time.thread_time() < ends:
                pass
        return HttpResponse("")

    # What is not done, or fails unseen.

    class Dome:
        async def turn(self):
            await asyncio.sleep(0)
        def follow(self):
            self.turn()  # expect: 703

    async def turns(request):
        Dome().follow()
        return HttpResponse("")

    async def expose():
        raise ValueError("no shutter")  # expect: 703

    async def exposes(request):
        asyncio.ensure_future(expose())
        await asyncio.sleep(0)
        return HttpResponse("")

    async def awaits_its_task(request):
        task = asyncio.create_task(Dome().turn())
        await task
        return HttpResponse("")

    # Connections.

    def count():
        return User.objects.count()  # expect: 704

    pool = ThreadPoolExecutor(4)
    async def counts_in_a_pool(request):
        return HttpResponse(await asyncio.get_running_loop().run_in_executor(pool, count))

    def counts_in_its_own_thread(request):
        kept = []
        def work():
            from django.db import connection
            kept.append(User.objects.exists())  # expect: 704
            threads.append(connection)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return HttpResponse(str(kept))
    threads = []

    async def counts_as_it_should(request):
        return HttpResponse(await sync_to_async(count)())

    # Errors that depend on the visitor.

    async def greets(request):
        return render(request, "greets.html")  # expect: 701

    async def welcomes(request):
        user = await request.auser()
        if user.is_authenticated:
            return HttpResponse("Welcome back")
        return HttpResponse(User.objects.count())  # expect: 701

    async def greets_in_a_thread(request):
        return TemplateResponse(request, "greets.html")

    number = contextvars.ContextVar("number")
    async def loses_its_context(request):
        await asyncio.to_thread(number.set, 5)
        return HttpResponse(number.get())  # expect: 701

    async def says_nothing(request):  # expect: 701
        await asyncio.sleep(0)

    # Clients that leave.

    async def observe():
        await asyncio.sleep(2)  # expect: 705

    async def shields(request):  # expect: 705
        task = asyncio.ensure_future(observe())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue
        return HttpResponse("")

    async def tidies_at_length(request):
        try:
            await asyncio.sleep(0.3)
        finally:
            await asyncio.sleep(1.8)  # expect: 705
        return HttpResponse("")

    async def tidies(request):
        try:
            await asyncio.sleep(0.3)
        finally:
            await asyncio.sleep(0.01)
        return HttpResponse("")

    # Streams whose first part comes late.

    async def develops(request):  # expect: 706
        async def parts():
            await asyncio.sleep(3.2)
            yield "picture"
            yield "."
        return StreamingHttpResponse(parts())

    class Archive(View):  # expect: 706
        async def get(self, request):
            return StreamingHttpResponse(self.parts())
        async def parts(self):
            for _ in range(4):
                await asyncio.sleep(0.8)
            yield "tape"
            yield "."

    async def develops_quickly(request):
        async def parts():
            yield "picture"
            await asyncio.sleep(0.2)
            yield "."
        return StreamingHttpResponse(parts())

    # Arguments.

    async def member(request, pk):
        user = await User.objects.filter(pk=pk).afirst()
        if user is None:
            raise Http404
        return HttpResponse(user.groups.count())  # expect: 701

    class GroupPage(DetailView):
        model = Group
        slug_field = slug_url_kwarg = "name"
        def render_to_response(self, context):
            return HttpResponse(1 / 0)  # expect: 701

    async def year(request, year):
        return HttpResponse(User.objects.filter(date_joined__year=year).exists())  # expect: 701

    async def nobody(request, pk):
        return HttpResponse(pk)

    def delete_member(request, user_id):
        User.objects.filter(pk=user_id).delete()
        return HttpResponse("deleted")

    urlpatterns = [
        path("brightness/", brightness), path("packed/", packed), path("brightness-thread/", brightness_in_a_thread),
        path("once/", only_once), path("turns/", turns), path("exposes/", exposes), path("awaits/", awaits_its_task),
        path("pool/", counts_in_a_pool), path("own-thread/", counts_in_its_own_thread),
        path("counts/", counts_as_it_should), path("greets/", greets), path("welcomes/", welcomes),
        path("greets-thread/", greets_in_a_thread), path("context/", loses_its_context), path("nothing/", says_nothing),
        path("shields/", shields), path("tidies-long/", tidies_at_length), path("tidies/", tidies),
        path("develops/", develops), path("archive/", Archive.as_view()), path("quickly/", develops_quickly),
        path("members/<int:pk>/", member), path("groups/<name>/", GroupPage.as_view()),
        re_path(r"^years/(?P<year>[0-9]{4})/$", year), path("nobody/<uuid:pk>/", nobody),
        path("members/<int:user_id>/delete/", delete_member),
    ]
"""
FILL = """
from django.contrib.auth.models import Group, User
User.objects.create_user("ada")
Group.objects.create(name="staff")
"""
TEMPLATES = """
    TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": ["templates"], "OPTIONS": {
        "context_processors": ["django.template.context_processors.request",
                               "django.contrib.auth.context_processors.auth"]}}]
"""


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Any:
    require_package("blockbuster")
    site = Site(tmp_path_factory.mktemp("driven"), mysite__urls=URLS)
    site.append("mysite/settings", CONTRIB)
    site.append("mysite/settings", TEMPLATES)
    (site.folder / "templates").mkdir()
    (site.folder / "templates" / "greets.html").write_text("Hello {{ user.username }}")
    for arguments in (("migrate",), ("shell", "-c", FILL)):
        command = [sys.executable, "manage.py", *arguments]
        assert run_to_end(command, site.folder, {}).returncode == 0
    return report(site, all_pages=True)


def seen(found: Any, url: str) -> list[tuple[str, int | None]]:
    """What was found on a page: number and line."""
    return [
        (each["id"].removeprefix("asgi."), each["line"])
        for each in found["findings"]
        if f"GET {url}" in (each["object"] or "").replace(", logged in", "").split(", ")
    ]


def line(code: str) -> int:
    return next(number for number, text in enumerate(URLS.splitlines(), 1) if code in text)


@pytest.mark.parametrize(
    ("url", "number", "code"),
    [
        ("/packed/", "702", "packed += len"),
        ("/turns/", "703", "self.turn()"),
        ("/exposes/", "703", 'raise ValueError("no shutter")'),
        ("/pool/", "704", "return User.objects.count()"),
        ("/own-thread/", "704", "kept.append"),
        ("/greets/", "701", "render(request"),
        ("/welcomes/", "701", "HttpResponse(User.objects.count())"),
        ("/context/", "701", "HttpResponse(number.get())"),
        ("/nothing/", "701", "async def says_nothing"),
        ("/tidies-long/", "705", "sleep(1.8)"),
        ("/develops/", "706", "async def develops(request)"),
        ("/archive/", "706", "class Archive"),
        ("/members/1/", "701", "user.groups.count()"),
        ("/groups/staff/", "701", "1 / 0"),
        ("/years/2024/", "701", "date_joined__year"),
    ],
)
def test_a_mistake_is_seen_at_the_projects_own_line(driven: Any, url: str, number: str, code: str) -> None:
    assert seen(driven, url) == [(number, line(code))]


def test_computing_on_the_loop_is_seen_where_it_computes(driven: Any) -> None:
    ((number, where),) = seen(driven, "/brightness/")
    assert number == "702"
    assert where in (line("# expect: 702"), line("# expect: 702") + 1)  # the loop's two lines


def test_what_is_shielded_goes_on_after_its_client_has_left(driven: Any) -> None:
    ((number, where),) = seen(driven, "/shields/")
    assert number == "705"
    assert where in (line("async def shields"), line("await asyncio.shield(task)"), line("asyncio.sleep(2)"))


@pytest.mark.parametrize(
    "url",
    [
        "/brightness-thread/",
        "/once/",
        "/awaits/",
        "/counts/",
        "/greets-thread/",
        "/tidies/",
        "/quickly/",
        "/nobody/00000000-0000-4000-8000-000000000000/",
    ],
)
def test_what_is_right_is_requested_and_not_reported(driven: Any, url: str) -> None:
    assert url in {each["url"] for each in driven["requests"]}
    assert seen(driven, url) == []


def test_a_page_that_changes_something_is_not_requested_with_what_is_in_the_database(driven: Any) -> None:
    assert not any("delete" in each["url"] for each in driven["requests"])


# ------------------------------------------------------------------ the way to the site

ADDRESSES = """
    import ipaddress
    from django.http import HttpResponse
    from django.urls import path

    def first(request):
        return HttpResponse("")

    urlpatterns = [path("", first)]

    class Addresses:
        def __init__(self, get_response):
            self.get_response = get_response
        def __call__(self, request):
            {line}
            return self.get_response(request)
"""
FORWARDED_FOR = 'request.META.get("HTTP_X_FORWARDED_FOR", "192.0.2.9")'


def behind(folder: Path, text: str, **environment: str) -> list[tuple[str, int | None]]:
    """What is found with this line in a middleware."""
    site = Site(folder, mysite__urls=ADDRESSES.replace("{line}", text))
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.urls.Addresses']\n")
    return [(each["id"], each["line"]) for each in report(site, "/", **environment)["findings"]]


@pytest.mark.parametrize(
    "text",
    [
        f"request.ip = ipaddress.ip_address({FORWARDED_FOR})",
        f"request.ip = [int(part) for part in {FORWARDED_FOR}.split(',')[0].split('.')]",
    ],
)
def test_what_fails_with_a_proxys_headers_only_is_found_at_its_line(tmp_path: Path, text: str) -> None:
    assert behind(tmp_path, text) == [("asgi.707", 15)]


def test_a_redirect_that_a_proxys_headers_bring_about_is_found(tmp_path: Path) -> None:
    text = "if request.is_secure(): return HttpResponse(status=301, headers={'Location': 'https://other.example/'})"
    assert behind(tmp_path, text) == [("asgi.707", None)]


def test_addresses_that_are_read_with_care_are_fine(tmp_path: Path) -> None:
    assert behind(tmp_path, f"request.ip = ipaddress.ip_address({FORWARDED_FOR}.split(',')[0])") == []
