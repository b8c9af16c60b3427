"""``manage.py checkasgi`` says what would go wrong, and what a request costs, before anybody deploys."""

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.utils import DEADLINE_SECONDS, Site, clean_environment, duration, run_to_end

PAGE = Path(__file__).parents[2] / "docs" / "checkasgi.rst"
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
    """The report of three good views behind the default middleware."""
    return report(make_site(tmp_path_factory.mktemp("default")), "/", "/async", "/calling")


def check(site: Site, *arguments: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    result = run_to_end([sys.executable, "manage.py", "checkasgi", *arguments], site.folder, environment)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def report(site: Site, *urls: str, status: int = 0, options: tuple[str, ...] = (), **environment: str) -> Any:
    arguments = [word for url in urls for word in ("--url", url)]
    return json.loads(check(site, "--format", "json", *arguments, *options, status=status, **environment).stdout)


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


def only_finding(found: Any) -> Any:
    assert len(found["findings"]) == 1, found["findings"]
    return found["findings"][0]


# ------------------------------------------------------------------ a good project


def test_a_new_project_has_no_findings(tmp_path: Path) -> None:
    run_to_end([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS += ['django_asgi_deploy']\n")
    result = run_to_end([sys.executable, "manage.py", "checkasgi"], tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "application    mysite.asgi:application (found beside the project's settings and URLs" in result.stdout
    assert "settings       mysite.settings (the default in manage.py)" in result.stdout
    assert "handler        pooled, 8 threads" in result.stdout
    assert "lifespan       startup complete, shutdown complete" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("no errors, no warnings, 5 requests; GET /: ")


def test_the_json_has_the_documented_structure(site: Site) -> None:
    found = report(site, "/broken", "/", status=1)
    assert found["version"] == 1
    assert list(found) == ["version", "project", "findings", "middleware", "requests", "notes", "summary"]
    assert found["project"]["settings"] == {"name": "mysite.settings", "origin": "the default in manage.py"}
    assert found["project"]["application"]["name"] == "mysite.asgi:application"
    assert found["summary"] == {"errors": 1, "warnings": 0, "info": 0, "requests": 6}
    names = ["id", "slug", "level", "message", "hint", "object", "file", "line", "detail"]
    assert list(only_finding(found)) == names
    assert list(found["middleware"][0]) == ["path", "mode", "classic", "used", "runs", "hops"]
    assert list(hops(found, "/")) == ["django", "pooled"]
    assert list(hops(found, "/")["django"][0]) == ["to", "cause", "names", "file", "line"]


def test_what_the_project_prints_does_not_get_into_the_json(site: Site) -> None:
    result = check(site, "--format", "json")
    json.loads(result.stdout)
    assert "a line on standard output" in result.stderr


def at_terminal(folder: Path, *arguments: str, columns: int) -> tuple[int, str]:
    """The exit status and what a terminal of this width is sent."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "checkasgi", *arguments],
        cwd=folder,
        env=clean_environment({"COLUMNS": str(columns), "TERM": "xterm"}),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    )
    os.close(slave)
    printed = b""
    try:
        while part := os.read(master, 65536):
            printed += part
    except OSError:  # how a terminal says that its other end is closed
        pass
    os.close(master)
    return process.wait(DEADLINE_SECONDS), printed.decode().replace("\r\n", "\n")


def test_the_text_fits_into_80_columns(site: Site) -> None:
    status, text = at_terminal(site.folder, "--url", "/broken", "--url", "/async", "--url", "/calling", columns=80)
    assert status == 1
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert [line for line in plain.splitlines() if len(line) > 80] == []


def test_the_documentation_shows_what_is_printed(tmp_path: Path) -> None:
    code, shown = re.findall(
        r"^\.\. code-block:: (?:python|console)\n\n((?:\n| +.*\n)+)", PAGE.read_text(), re.MULTILINE
    )
    command, _, output = textwrap.dedent(shown).partition("\n")
    run_to_end([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS += ['django_asgi_deploy']\n")
    (tmp_path / "mysite" / "urls.py").write_text(textwrap.dedent(code).lstrip())
    arguments = command.removeprefix("$ python manage.py checkasgi ").split()
    _, printed = at_terminal(tmp_path, "--no-color", *arguments, columns=80)
    assert _without_chance(printed) == _without_chance(output)


def _without_chance(text: str) -> list[list[str]]:
    """Without times and the path that is another each time."""
    text = re.sub(r"\d+ ms|(?<=/checkasgi-)\w+", "N", text)
    return [line.split() for line in text.strip().splitlines()]


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
    text = check(site, "--url", "/async").stdout
    assert "Thread hops of GET /async, asynchronous view mysite.urls.async_view\n" in text
    line = next(line for line in text.splitlines() if "SessionMiddleware.process_request" in line)
    assert line.split() == ["SessionMiddleware.process_request", "1", "-"]
    line = next(line for line in text.splitlines() if "hops to a thread" in line)
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
    assert (found["middleware"][-1]["mode"], found["middleware"][-1]["runs"]) == ("sync only", "sync")
    assert {(each["mode"], each["runs"]) for each in found["middleware"][:-1]} == {("sync and async", "sync")}
    text = check(site, "--url", "/async").stdout
    assert "SecurityMiddleware to middleware.noting in sync form because of middleware.noting" in text


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
    assert [each["used"] for each in found["middleware"]] == 3 * [True] + [False] + 4 * [True]
    assert [each["classic"] for each in found["middleware"]] == 3 * [True] + [False] + 4 * [True]


def test_what_takes_djangos_own_path_is_told_with_the_reason(site: Site) -> None:
    site.write(
        "mysite/middleware",
        """
        from django.utils.decorators import async_only_middleware
        @async_only_middleware
        def asynchronous(get_response):
            async def middleware(request):
                return await get_response(request)
            return middleware
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.asynchronous']")
    found = report(site)
    reason = "requests with synchronous views: mysite.middleware.asynchronous is asynchronous only"
    assert found["project"]["takes_djangos_path"] == [reason]
    assert found["middleware"][0]["mode"] == "async only"


# ------------------------------------------------------------------ the entry point


def test_models_imported_too_early_are_found_though_manage_py_hides_it(site: Site) -> None:
    site.write(
        "mysite/asgi",
        """
        import os
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
        from django.contrib.auth.models import User
        from django.core.asgi import get_asgi_application
        application = get_asgi_application()
        """,
    )
    finding = only_finding(report(site, status=1))
    assert (finding["id"], finding["level"]) == ("asgi.001", "error")
    assert "mysite.asgi can't be imported: AppRegistryNotReady: Apps aren't loaded yet." in finding["message"]
    assert (finding["file"], finding["line"]) == ("mysite/asgi.py", 4)
    assert "from django.contrib.auth.models import User" in finding["detail"]
    assert "importlib" not in finding["detail"]


def test_an_entry_point_without_settings_needs_the_variable(site: Site) -> None:
    """Where it is exported there's only a warning: there it works."""
    site.write("mysite/asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()")
    finding = only_finding(report(site, status=1))
    assert finding["level"] == "error"
    assert 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")' in finding["hint"]
    assert only_finding(report(site, DJANGO_SETTINGS_MODULE="mysite.settings"))["level"] == "warning"


def test_an_entry_point_that_ends_the_process_is_found(site: Site) -> None:
    site.append("mysite/asgi", "import sys\nif not sys.argv[0].endswith('manage.py'): sys.exit(7)\n")
    assert "with status 7" in only_finding(report(site, status=1))["message"]


def test_an_entry_point_that_fails_everywhere_can_not_be_checked(site: Site) -> None:
    site.append("mysite/asgi", "1 / 0\n")
    result = check(site, status=2)
    assert result.stderr.startswith("CommandError: mysite.asgi (found beside the project's settings and URLs) can't")
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "Traceback" not in result.stderr


def test_a_project_without_an_entry_point_has_none_to_check(site: Site) -> None:
    site.remove("mysite/asgi")
    assert "no entry point to check: the project has no asgi.py" in report(site)["notes"]


# ------------------------------------------------------------------ requests


def test_a_view_that_raises_is_found_with_its_line(site: Site) -> None:
    finding = only_finding(report(site, "/broken", status=1))
    assert finding["message"] == "GET /broken: status 500, ZeroDivisionError: division by zero"
    assert (finding["id"], finding["file"], finding["line"]) == ("asgi.701", "mysite/urls.py", line_of("1 / 0"))


def test_a_query_on_the_event_loop_has_the_hint_for_it(site: Site) -> None:
    finding = only_finding(report(site, "/queries-on-the-loop", status=1))
    assert "SynchronousOnlyOperation" in finding["message"]
    assert finding["hint"].startswith("Use the a-method")


def test_requests_that_fail_alike_are_one_finding(site: Site) -> None:
    site.write(
        "mysite/middleware", "def broken(get_response):\n    def m(request):\n        return 1 / 0\n    return m"
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.broken']")
    finding = only_finding(report(site, "/", status=1))
    missing = [word for word in finding["object"].split(", ") if "/checkasgi-" in word]
    assert [each.split()[0] for each in missing] == ["GET", "POST"]
    assert finding["object"].endswith("GET /")


@pytest.mark.parametrize("view", ["waits_for_ever", "hangs_for_ever"])
def test_a_view_without_end_is_given_up_at_the_deadline(site: Site, view: str) -> None:
    found: list[Any] = []
    seconds = duration(
        lambda: found.append(report(site, "/" + view.replace("_", "-"), status=1, options=("--timeout", "4")))
    )
    finding = only_finding(found[0])
    assert (finding["id"], finding["file"], finding["line"]) == (
        "asgi.708",
        "mysite/urls.py",
        line_of(f"def {view}") + 1,
    )
    assert "no answer within 4 seconds" in finding["message"]
    assert seconds < DEADLINE_SECONDS / 2


def test_a_view_that_holds_the_event_loop_does_not_keep_the_others_from_being_checked(site: Site) -> None:
    found = report(site, "/holds-the-loop", "/", status=1, options=("--timeout", "4"))
    finding = only_finding(found)
    assert (finding["id"], finding["file"], finding["line"]) == (
        "asgi.702",
        "mysite/urls.py",
        line_of("sleep", "holds_the_loop"),
    )
    assert counts(found, "/")["pooled"] == {"thread": 1, "loop": 0}


def test_when_what_hangs_holds_all_threads_the_rest_is_not_requested(site: Site) -> None:
    found = report(site, "/hangs-for-ever", "/", status=1, options=("--timeout", "4", "--threads", "1"))
    assert only_finding(found)["object"] == "GET /hangs-for-ever"
    assert "/ was not requested: what hangs holds all threads" in found["notes"]


@pytest.mark.parametrize("url", ["/endless", "/events"])
def test_a_stream_is_left_after_its_first_parts(site: Site, url: str) -> None:
    """Also Django's own handler, which collects a synchronous one, is asked for its beginning only."""
    found = report(site, url)
    assert found["findings"] == []
    assert "a stream, left after" in next(each for each in found["requests"] if each["url"] == url)["outcome"]
    assert None not in hops(found, url).values()


def test_a_probe_does_not_write(site: Site) -> None:
    """POST goes to a path that doesn't exist; the user's gets GET and HEAD."""
    site.write("mysite/middleware", NOTING)
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.noting']")
    report(site, "/async")
    requests = [line.split()[:2] for line in (site.folder / "requests.txt").read_text().splitlines()]
    missing = {path for method, path in requests if path.startswith("/checkasgi-")}
    assert len(missing) == 1
    assert [method for method, path in requests if path in missing] == ["GET", "POST", "GET"]
    assert [method for method, path in requests if path == "/async"] == ["GET", "HEAD", "GET", "GET"]
    assert {path for _, path in requests} == {"/async", *missing}


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
    assert found["project"]["host"] == "https://example.com"
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
    finding = only_finding(report(site, status=1, options=("--timeout", "4")))
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
    finding = only_finding(report(site, status=1, options=("--timeout", "4")))
    assert finding["message"] == f"lifespan startup: {message}: the server doesn't start"


# ------------------------------------------------------------------ what can't be checked


def test_options_are_those_of_runasgi_with_the_same_errors(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'BIDN': ['8000']}")
    message = 'CommandError: settings.ASGI_DEPLOY["BIDN"]: there is no such option; did you mean BIND?\n'
    assert check(site, status=2).stderr == message
    assert check(site, status=2).stderr == site.run().stderr
    assert "2 problems in the configuration:\n  - " in check(site, "--handler", "fast", status=2).stderr


def test_settings_environment_and_command_line_are_honoured(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'THREADS': 3}")
    assert report(site)["project"]["handler"] == "pooled, 3 threads"
    assert report(site, ASGI_DEPLOY_THREADS="4")["project"]["handler"] == "pooled, 4 threads"
    assert report(site, options=("--handler", "django"))["project"]["handler"].startswith("Django's own")


def test_a_failing_system_check_ends_it_unless_skipped(site: Site) -> None:
    site.append("mysite/urls", "handler404 = 'mysite.urls.nothing'")
    assert "handler404" in check(site, status=2).stderr
    check(site, "--skip-checks")


def test_a_database_on_another_machine_is_left_alone(site: Site) -> None:
    site.write("mysite/far/__init__", "")
    site.write(
        "mysite/far/base",
        """
        from django.db.backends.sqlite3 import base
        class DatabaseWrapper(base.DatabaseWrapper):
            vendor = "oracle"
        """,
    )
    site.append("mysite/settings", "DATABASES['far'] = {'ENGINE': 'mysite.far', 'HOST': 'db.example.com', 'NAME': 'x'}")
    message = check(site, status=2).stderr
    assert "not every database is on this machine: far (oracle at db.example.com)" in message
    assert "checkasgi --yes" in message
    check(site, "--yes")


@pytest.mark.parametrize(
    "arguments", [("--url", "shop"), ("--timeout", "0"), ("--timeout", "soon"), ("--form", "json")]
)
def test_a_wrong_argument_is_a_usage_error(site: Site, arguments: tuple[str, str]) -> None:
    check(site, *arguments, status=2)
