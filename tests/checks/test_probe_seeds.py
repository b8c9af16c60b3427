"""One project with what only shows when it is driven: each mistake is seen, and what is right isn't reported."""

from pathlib import Path
from typing import Any

import pytest

from tests.checks.test_probe import CONTRIB, report
from tests.programs import require_package
from tests.utils import Site

URLS = """
    import asyncio, time
    from pathlib import Path
    from asgiref.sync import sync_to_async
    from django.db import connection
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path, re_path

    def query():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def wait_a_moment():
        time.sleep(0.01)  # expect: 702

    async def sleeps(request):
        wait_a_moment()
        return HttpResponse("")

    async def reads(request):
        return HttpResponse(Path(__file__).read_text())  # expect: 702

    async def reads_in_a_thread(request):
        return HttpResponse(await asyncio.to_thread(Path(__file__).read_text))

    async def confirm(order):
        await asyncio.sleep(0)

    async def forgets(request):
        confirm(5)  # expect: 703
        return HttpResponse("")

    async def leaks(request):
        await asyncio.to_thread(query)
        return HttpResponse("")

    async def does_not_leak(request):
        await sync_to_async(query)()
        return HttpResponse("")

    async def knows_its_visitor(request):
        return HttpResponse(request.user.pk)  # expect: 701

    async def asks_for_its_visitor(request):
        user = await request.auser()
        return HttpResponse(user.is_anonymous)

    async def outlives_its_client(request):
        ends = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < ends:
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                pass
        return HttpResponse("")

    async def slow(request):
        await asyncio.sleep(0.3)
        return HttpResponse("")

    async def masked(request):
        async def parts():
            yield 1 + "1"
        return StreamingHttpResponse(parts())

    def large(request):
        return StreamingHttpResponse(bytes(1024 * 1024) for _ in range(20))

    async def large_and_asynchronous(request):
        async def parts():
            for _ in range(20):
                yield bytes(1024 * 1024)
        return StreamingHttpResponse(parts())

    def needs_the_whole_path(request):
        return HttpResponse("", status=200 if request.path == "/whole/" else 404)

    def one(request, pk):
        return HttpResponse(pk)

    urlpatterns = [
        path("whole/", needs_the_whole_path),
        path("sleeps/", sleeps), path("reads/", reads), path("reads-in-a-thread/", reads_in_a_thread),
        path("forgets/", forgets), path("leaks/", leaks), path("does-not-leak/", does_not_leak),
        path("visitor/", knows_its_visitor), path("auser/", asks_for_its_visitor),
        path("outlives/", outlives_its_client), path("slow/", slow), path("masked/", masked),
        path("large/", large), path("large-async/", large_and_asynchronous),
        path("one/<int:pk>/", one), re_path(r"^old/(?P<pk>[0-9]+)$", one), re_path(r"^plain/$", does_not_leak),
    ]
"""


def make(folder: Path, **environment: str) -> Any:
    require_package("blockbuster")
    site = Site(folder, mysite__urls=URLS)
    site.append("mysite/settings", CONTRIB)
    return report(site, all_pages=True, **environment)


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make(tmp_path_factory.mktemp("pooled"))


def seen(found: Any, url: str) -> list[str]:
    """What was found on a page: number, level and line."""
    return [
        f"{each['id'].removeprefix('asgi.')} {each['level']} {each['line']}"
        for each in found["findings"]
        if f"GET {url}" in (each["object"] or "").replace(", logged in", "").split(", ")
    ]


def line(code: str) -> int:
    return next(number for number, text in enumerate(URLS.splitlines(), 1) if code in text)


pytestmark = pytest.mark.real


def test_every_page_is_requested_also_with_arguments(pooled: Any) -> None:
    urls = [each["url"] for each in pooled["requests"] if each["purpose"] == "url"]
    assert {"/whole/", "/slow/", "/plain/"} <= set(urls)
    assert {"/one/1/", "/old/1"} <= set(urls)
    assert {each["method"] for each in pooled["requests"]} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/sleeps/", f"702 error {line('time.sleep(0.01)')}"),
        ("/reads/", f"702 warning {line('HttpResponse(Path(__file__)')}"),
        ("/forgets/", f"703 warning {line('confirm(5)')}"),
        ("/leaks/", f"704 error {line('cursor.execute') - 1}"),
        ("/visitor/", f"701 error {line('request.user.pk')}"),
        ("/outlives/", f"705 error {line('await asyncio.sleep(0.2)')}"),
        ("/masked/", f"422 error {line('async def masked')}"),
        ("/whole/", "707 warning None"),
    ],
)
def test_a_mistake_is_seen_at_its_line(pooled: Any, url: str, expected: str) -> None:
    assert seen(pooled, url) == [expected]


@pytest.mark.parametrize(
    "url", ["/reads-in-a-thread/", "/does-not-leak/", "/auser/", "/slow/", "/large/", "/large-async/", "/plain/"]
)
def test_what_is_right_is_not_reported(pooled: Any, url: str) -> None:
    assert seen(pooled, url) == []


def test_djangos_own_handler_collects_a_synchronous_stream(tmp_path: Path) -> None:
    """Which the pooled one doesn't; the probe sees the memory that it takes, and Django's warning."""
    found = make(tmp_path, ASGI_DEPLOY_HANDLER="django")
    assert {each.split()[0] for each in seen(found, "/large/")} == {"703", "706"}
    assert seen(found, "/large-async/") == []
