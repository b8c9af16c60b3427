"""Driving an application shows what goes wrong with real requests, and what they cost."""

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from django_asgi_deploy.checks import probing
from django_asgi_deploy.checks.probe_text import requests_and_hops
from django_asgi_deploy.checks.probed import Probed
from django_asgi_deploy.checks.report import finding_as_json, request_as_json
from django_asgi_deploy.checks.trials import PREFIX
from tests.utils import DEADLINE_SECONDS, Site, clean_environment

CONTRIB = """
    INSTALLED_APPS = ["django_asgi_deploy", "django.contrib.auth", "django.contrib.contenttypes",
                      "django.contrib.sessions", "django.contrib.messages"]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    MIDDLEWARE = [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
"""
URLS = """
    import asyncio, time
    from asgiref.sync import sync_to_async
    from django.contrib.auth.models import User
    from django.http import HttpResponse, StreamingHttpResponse
    from django.urls import path

    def sync_view(request):
        print("a line on standard output")
        return HttpResponse("Hello")

    async def async_view(request):
        return HttpResponse("Hello")

    async def calling(request):
        await sync_to_async(helper)()
        await asyncio.to_thread(helper)
        return HttpResponse("Hello")

    def helper():
        pass

    def broken(request):
        return 1 / 0

    async def queries_on_the_loop(request):
        return HttpResponse(User.objects.count())

    async def waits_for_ever(request):
        await asyncio.Event().wait()

    def hangs_for_ever(request):
        time.sleep(1000)

    async def holds_the_loop(request):
        time.sleep(1000)

    def endless(request):
        def parts():
            while True:
                yield b"part"
        return StreamingHttpResponse(parts())

    async def events(request):
        async def parts():
            yield b"data: first"
            await asyncio.Event().wait()
        return StreamingHttpResponse(parts())

    urlpatterns = [
        path("", sync_view), path("async", async_view), path("calling", calling), path("broken", broken),
        path("queries-on-the-loop", queries_on_the_loop), path("waits-for-ever", waits_for_ever),
        path("hangs-for-ever", hangs_for_ever), path("holds-the-loop", holds_the_loop), path("endless", endless),
        path("events", events),
    ]
"""
NOTING = """
    def noting(get_response):
        def middleware(request):
            with open("requests.txt", "a") as file:
                print(request.method, request.path, request.scheme, request.get_host(), file=file)
            return get_response(request)
        return middleware
"""


def make_site(folder: Path) -> Site:
    """With the middleware of startproject."""
    site = Site(folder, mysite__urls=URLS)
    site.append("mysite/settings", CONTRIB)
    return site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


@pytest.fixture(scope="module")
def of_the_default(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of views behind the default middleware."""
    site = make_site(tmp_path_factory.mktemp("default"))
    return report(site, "/", "/async", "/calling", "/broken", "/queries-on-the-loop", "/endless", "/events")


@pytest.fixture(scope="module")
def of_what_hangs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of views without end, and of a good one after them."""
    site = make_site(tmp_path_factory.mktemp("hangs"))
    return report(site, "/waits-for-ever", "/hangs-for-ever", "/holds-the-loop", "/", timeout=4)


def report(
    site: Site,
    *urls: str,
    timeout: float = 10.0,
    all_pages: bool = False,
    websockets: Sequence[str] = (),
    **environment: str,
) -> Any:
    """What the probe's own process brings, in the form that JSON has."""
    asked = urls if urls or all_pages or websockets else ["/"]
    probed = probe(site, *asked, timeout=timeout, websockets=websockets, **environment)
    return {
        "findings": [finding_as_json(each) for each in probed.findings],
        "requests": [request_as_json(each) for each in probed.requests],
        "middleware": [
            {name: getattr(each, name) for name in ("mode", "runs", "is_used", "is_classic")}
            for each in probed.middleware
        ],
        "notes": [note for note in probed.notes if "logged-in" not in note],
        "lifespan": probed.lifespan,
        "host": probed.host,
        "text": [line for _, lines in requests_and_hops(probed, 1000) for line in lines],
    }


def probe(site: Site, *urls: str, timeout: float = 10.0, websockets: Sequence[str] = (), **environment: str) -> Probed:
    file = site.folder / "probed"
    wanted = {"urls": urls, "timeout_seconds": timeout, "websockets": websockets}
    asked = {"path": [str(site.folder), *sys.path], "root": str(site.folder), "file": str(file), "wanted": wanted}
    done = subprocess.run(
        [sys.executable, "-c", probing.CHILD],
        cwd=site.folder,
        env=clean_environment({"DJANGO_SETTINGS_MODULE": "mysite.settings", **environment}),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    probed = pickle.loads(file.read_bytes())
    assert isinstance(probed, Probed), probed
    return probed


def hops(found: Any, url: str) -> dict[str, Any]:
    """By handler, the hops of a GET of ``url``."""
    return next(each["hops"] for each in found["requests"] if (each["url"], each["method"]) == (url, "GET"))


def counts(found: Any, url: str) -> dict[str, dict[str, int]]:
    """By handler and direction, how many they are."""
    return {
        handler: {to: sum(hop["to"] == to for hop in all_hops) for to in ("thread", "loop")}
        for handler, all_hops in hops(found, url).items()
    }


def line_of(code: str, after: str = "") -> int:
    """Of mysite/urls.py, where ``code`` first is below ``after``."""
    lines = URLS.splitlines()
    start = next(number for number, line in enumerate(lines) if after in line)
    return next(number for number, line in enumerate(lines, 1) if number > start and code in line)


def finding_on(found: Any, url: str) -> Any:
    """The one that a GET of ``url`` has."""
    (finding,) = [each for each in found["findings"] if f"GET {url}" in each["object"].split(", ")]
    return finding


def only_finding(found: Any) -> Any:
    assert len(found["findings"]) == 1, found["findings"]
    return found["findings"][0]


# ------------------------------------------------------------------ hops


def test_an_asynchronous_view_costs_15_hops_with_djangos_handler_and_none_with_ours(of_the_default: Any) -> None:
    assert counts(of_the_default, "/async") == {"django": {"thread": 15, "loop": 0}, "pooled": {"thread": 0, "loop": 0}}


def test_each_hop_has_the_name_of_what_causes_it(of_the_default: Any) -> None:
    all_hops = hops(of_the_default, "/async")["django"]
    assert [(hop["cause"], hop["names"][0].rpartition("middleware.")[2]) for hop in all_hops] == [
        ("signal", "django.core.signals.request_started"),
        ("middleware", "security.SecurityMiddleware.process_request"),
        ("middleware", "SessionMiddleware.process_request"),
        ("middleware", "common.CommonMiddleware.process_request"),
        ("middleware", "csrf.CsrfViewMiddleware.process_request"),
        ("middleware", "AuthenticationMiddleware.process_request"),
        ("middleware", "MessageMiddleware.process_request"),
        ("middleware", "csrf.CsrfViewMiddleware.process_view"),
        ("middleware", "clickjacking.XFrameOptionsMiddleware.process_response"),
        ("middleware", "MessageMiddleware.process_response"),
        ("middleware", "csrf.CsrfViewMiddleware.process_response"),
        ("middleware", "common.CommonMiddleware.process_response"),
        ("middleware", "SessionMiddleware.process_response"),
        ("middleware", "security.SecurityMiddleware.process_response"),
        ("close", "django.http.response.HttpResponse.close"),
    ]


def test_a_synchronous_view_costs_one_hop_with_our_handler(of_the_default: Any) -> None:
    expected = {"django": {"thread": 16, "loop": 0}, "pooled": {"thread": 1, "loop": 0}}
    assert counts(of_the_default, "/") == expected
    assert [hop["cause"] for hop in hops(of_the_default, "/")["pooled"]] == ["request"]


def test_without_middleware_djangos_handler_makes_two_hops_of_its_own(site: Site) -> None:
    site.append("mysite/settings", "MIDDLEWARE = []")
    assert counts(report(site, "/async"), "/async")["django"] == {"thread": 2, "loop": 0}


def test_a_call_of_the_view_is_shown_with_the_line_that_makes_it(of_the_default: Any) -> None:
    first = line_of("sync_to_async(helper)")
    for handler in hops(of_the_default, "/calling").values():
        own = [(hop["names"], hop["file"], hop["line"]) for hop in handler if hop["cause"] == "call"]
        assert own == [(["mysite.urls.helper"], "mysite/urls.py", line) for line in (first, first + 1)]


def test_the_two_handlers_stand_side_by_side(site: Site) -> None:
    text = report(site, "/async")["text"]
    line = next(line for line in text if "SessionMiddleware.process_request" in line)
    assert line.split() == ["SessionMiddleware.process_request", "1", "-"]
    line = next(line for line in text if "hops to a thread" in line)
    assert line.split()[-2:] == ["15", "-"]


def test_which_handler_is_configured_does_not_change_what_is_measured(site: Site, of_the_default: Any) -> None:
    found = report(site, "/async", ASGI_DEPLOY_HANDLER="django")
    assert counts(found, "/async") == counts(of_the_default, "/async")


def test_grouped_hooks_share_a_hop_with_our_handler(site: Site) -> None:
    site.write(
        "mysite/middleware",
        """
        from django.utils.deprecation import MiddlewareMixin
        class First(MiddlewareMixin):
            def process_request(self, request): pass
        class Second(First):
            pass
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.First', 'mysite.middleware.Second']")
    found = hops(report(site, "/async"), "/async")
    shared = ["mysite.middleware.First.process_request", "mysite.middleware.Second.process_request"]
    assert [hop["names"] for hop in found["pooled"] if hop["cause"] == "middleware"] == [shared]
    assert [hop["names"] for hop in found["django"] if hop["cause"] == "middleware"] == [[name] for name in shared]


# ------------------------------------------------------------------ middleware


def test_synchronous_middleware_is_named_as_what_forces_the_others(site: Site) -> None:
    """Innermost, it costs four hops and a way back (shared/checks.md)."""
    site.write("mysite/middleware", NOTING)
    site.append("mysite/settings", "MIDDLEWARE.append('mysite.middleware.noting')")
    found = report(site, "/async")
    assert counts(found, "/async")["django"] == {"thread": 4, "loop": 1}
    assert (found["middleware"][-1]["mode"], found["middleware"][-1]["runs"]) == (
        "sync only",
        "sync",
    )
    assert {(each["mode"], each["runs"]) for each in found["middleware"][:-1]} == {("sync and async", "sync")}
    assert any("SecurityMiddleware to middleware.noting in sync form because of" in line for line in found["text"])


def test_synchronous_middleware_outside_leaves_the_others_asynchronous(site: Site) -> None:
    site.write("mysite/middleware", NOTING)
    site.append("mysite/settings", "MIDDLEWARE.insert(0, 'mysite.middleware.noting')")
    found = report(site, "/async")
    assert counts(found, "/async")["django"] == {"thread": 16, "loop": 1}
    assert [each["runs"] for each in found["middleware"]] == ["sync"] + 7 * ["async"]


def test_middleware_that_takes_itself_out_is_shown_as_not_used(site: Site) -> None:
    site.write(
        "mysite/middleware",
        """
        from django.core.exceptions import MiddlewareNotUsed
        def unused(get_response):
            raise MiddlewareNotUsed
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE.insert(3, 'mysite.middleware.unused')")
    found = report(site)
    assert [each["is_used"] for each in found["middleware"]] == 3 * [True] + [False] + 4 * [True]
    assert [each["is_classic"] for each in found["middleware"]] == 3 * [True] + [False] + 4 * [True]


# ------------------------------------------------------------------ requests


def test_a_view_that_raises_is_found_with_its_line(of_the_default: Any) -> None:
    finding = finding_on(of_the_default, "/broken")
    assert finding["message"] == "GET /broken: status 500, ZeroDivisionError: division by zero"
    assert (finding["id"], finding["file"], finding["line"]) == ("asgi.701", "mysite/urls.py", line_of("1 / 0"))


def test_a_query_on_the_event_loop_has_the_hint_for_it(of_the_default: Any) -> None:
    finding = finding_on(of_the_default, "/queries-on-the-loop")
    assert "SynchronousOnlyOperation" in finding["message"]
    assert finding["hint"].startswith("Use the a-method")


def test_requests_that_fail_alike_are_one_finding(site: Site) -> None:
    site.write(
        "mysite/middleware", "def broken(get_response):\n    def m(request):\n        return 1 / 0\n    return m"
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.broken']")
    finding = only_finding(report(site, "/"))
    missing = [word for word in finding["object"].split(", ") if "/checkasgi-" in word]
    assert [each.split()[0] for each in missing] == ["GET", "POST"]
    assert finding["object"].endswith("GET /")


@pytest.mark.parametrize("view", ["waits_for_ever", "hangs_for_ever"])
def test_a_view_without_end_is_given_up_at_the_deadline(of_what_hangs: Any, view: str) -> None:
    finding = finding_on(of_what_hangs, "/" + view.replace("_", "-"))
    expected = ("asgi.708", "mysite/urls.py", line_of(f"def {view}") + 1)
    assert (finding["id"], finding["file"], finding["line"]) == expected
    assert "no answer within 4 seconds" in finding["message"]


def test_a_view_that_holds_the_event_loop_does_not_keep_the_others_from_being_checked(of_what_hangs: Any) -> None:
    finding = finding_on(of_what_hangs, "/holds-the-loop")
    expected = ("asgi.702", "mysite/urls.py", line_of("sleep", "holds_the_loop"))
    assert (finding["id"], finding["file"], finding["line"]) == expected
    assert counts(of_what_hangs, "/")["pooled"] == {"thread": 1, "loop": 0}


def test_when_what_hangs_holds_all_threads_the_rest_is_not_requested(site: Site) -> None:
    found = report(site, "/hangs-for-ever", "/", timeout=4, ASGI_DEPLOY_THREADS="1")
    assert only_finding(found)["object"] == "GET /hangs-for-ever"
    assert "/ was not requested: what hangs holds all threads" in found["notes"]


@pytest.mark.parametrize("url", ["/endless", "/events"])
def test_a_stream_is_left_after_its_first_parts(of_the_default: Any, url: str) -> None:
    """Also Django's own handler, which collects a synchronous one, is asked for its beginning only."""
    assert not any(url in each["object"] for each in of_the_default["findings"])
    assert "a stream, left after" in next(each for each in of_the_default["requests"] if each["url"] == url)["outcome"]
    assert None not in hops(of_the_default, url).values()


def test_a_probe_does_not_write(site: Site) -> None:
    """POST goes to a path that doesn't exist; the user's gets GET and HEAD."""
    site.write("mysite/middleware", NOTING)
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.noting']")
    report(site, "/async")
    requests = [line.split()[:2] for line in (site.folder / "requests.txt").read_text().splitlines()]
    (missing,) = {path for method, path in requests if path.startswith("/checkasgi-")} - {f"{PREFIX}/async"}
    assert [method for method, path in requests if path == missing] == ["GET", "POST", "GET"]
    assert [method for method, path in requests if path == "/async"] == ["GET", "HEAD", *4 * ["GET"]]
    assert {path for _, path in requests} == {"/async", f"{PREFIX}/async", missing}


def test_where_every_path_leads_to_a_view_only_the_named_ones_are_requested(site: Site) -> None:
    site.append("mysite/urls", "from django.urls import re_path\nurlpatterns.append(re_path('', sync_view))\n")
    found = report(site)
    assert {each["method"] for each in found["requests"]} == {"GET", "HEAD"}
    assert found["notes"] == ["every path leads to a view (mysite.urls.sync_view): no 404 and no POST was asked for"]


def test_the_requests_come_as_the_settings_want_them(site: Site) -> None:
    site.write("mysite/middleware", NOTING)
    site.append("mysite/settings", "MIDDLEWARE.append('mysite.middleware.noting')\n")
    site.append("mysite/settings", "DEBUG = False\nALLOWED_HOSTS = ['.example.com']\nSECURE_SSL_REDIRECT = True\n")
    found = report(site)
    assert found["findings"] == []
    assert found["host"] == "https://example.com"
    lines = (site.folder / "requests.txt").read_text().splitlines()
    assert {tuple(line.split()[2:]) for line in lines} == {("https", "example.com")}


def test_a_client_that_leaves_ends_an_asynchronous_view(site: Site) -> None:
    for handler in ("pooled", "django"):
        leaving = next(each for each in report(site, ASGI_DEPLOY_HANDLER=handler)["requests"] if each["status"] is None)
        assert (leaving["purpose"], leaving["outcome"]) == ("leave", "the view is cancelled")


def test_middleware_that_keeps_a_view_running_after_its_client_has_left_is_found(site: Site) -> None:
    site.write(
        "mysite/middleware",
        """
        import asyncio
        from django.utils.decorators import async_only_middleware
        @async_only_middleware
        def shielding(get_response):
            async def middleware(request):
                task = asyncio.ensure_future(get_response(request))
                while not task.done():
                    try:
                        await asyncio.shield(task)
                    except asyncio.CancelledError:
                        pass
                return await task
            return middleware
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.shielding']")
    finding = only_finding(report(site, timeout=4))
    assert (finding["id"], finding["object"]) == ("asgi.705", "a client that leaves")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('await send({"type": "lifespan.startup.failed", "message": "no Redis"})', "failed, saying 'no Redis'"),
        ("await asyncio.Event().wait()", "no answer within 4 seconds"),
    ],
)
def test_a_lifespan_that_does_not_start_is_found(site: Site, answer: str, message: str) -> None:
    site.append(
        "mysite/asgi",
        f"""
        import asyncio
        django = application
        async def application(scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                {answer}
            else:
                await django(scope, receive, send)
        """,
    )
    finding = only_finding(report(site, timeout=4))
    assert finding["message"] == f"lifespan startup: {message}: the server doesn't start"
