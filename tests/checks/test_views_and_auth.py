"""What checkasgi says of views, error pages, templates and logins is what the site then answers."""

import json
import re
import sys
from typing import Any

import pytest

from tests.checks.seeds import checked, found_in, run_in, seeds
from tests.utils import Site, run_to_end

METHODS = ("GET", "POST", "DELETE", "OPTIONS")
VISITORS = ("anonymous", "member")

COROUTINE = "ValueError"  # Django: "didn't return an HttpResponse object. It returned an unawaited coroutine"
QUERY = "SynchronousOnlyOperation"


def by(exceptions: dict[str, str], methods: tuple[str, ...] = METHODS) -> dict[str, str]:
    """{visitor: exception} for each of the methods."""
    return {f"{who} {method}": name for who, name in exceptions.items() for method in methods}


def always(name: str, methods: tuple[str, ...] = METHODS) -> dict[str, str]:
    return by(dict.fromkeys(VISITORS, name), methods)


LOGIN = by({"anonymous": "TypeError", "member": QUERY})

# Path: the requests that are answered with 500, and the exception. All others are answered with less than 500.
FAILS: dict[str, dict[str, str]] = {
    "/overview/": always(COROUTINE),
    "/letters/": always("TypeError"),
    "/search/": always(COROUTINE),
    "/book/": always(COROUTINE),
    "/cancel/": always(COROUTINE, ("POST",)),
    "/move/": always(QUERY),
    "/profile/": LOGIN,
    "/me/": LOGIN,
    "/prescriptions/": LOGIN,
    "/invoices/": LOGIN,
    "/ward/": LOGIN,
    "/account/": LOGIN,
    "/documents/": always("AttributeError"),
    "/export/": always("TypeError", ("POST", "DELETE", "OPTIONS")),
    "/labs/": always("TypeError"),
    "/slots/": always("TypeError", ("POST", "DELETE")),
    "/options/": always("TypeError", ("OPTIONS",)),
    "/": always("TypeError", ("GET",)),
    "/appointments/": always("TypeError", ("GET",)),
    "/contact/": always(COROUTINE, ("POST",)),
    "/dispatched/": always(COROUTINE),
    "/occupancy/": always(QUERY),
    "/history/": always(QUERY),
    "/archive/": always(QUERY),
    "/failing/": always("ZeroDivisionError"),
    "/journal/": always("AttributeError"),
    "/refund/": always(QUERY, ("POST",)),
    "/results/": always("TypeError", ("GET",)),
    "/rota/": by({"member": QUERY}),
    "/lab/": by({"member": QUERY}),
    "/opening/": always("AttributeError", ("GET",)),
    "/api/report/": always("TypeError"),
    "/api/calendar/": always("TypeError"),
    "/api/dentists/": always(COROUTINE),
    "/api/open-lambda/": always(COROUTINE),
    "/api/all-lambda/": always(COROUTINE),
}


# The same with settings_pages: no answer at all.
WITH_PAGES: dict[str, dict[str, str]] = {
    "/there-is-no-such-page/": always("AttributeError"),
    "/timetable/": always(QUERY, ("GET",)),
    "/prices/": always(QUERY, ("GET",)),
    "/sync-timetable/": {},
    "/protected/": {**by({"member": QUERY}), **by({"anonymous": "AttributeError"}, ("POST", "DELETE"))},
    "/home/": always("TypeError"),
    "/tags/": always("TypeError"),
}


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    return {handler: proof(handler, "clinic.settings") for handler in ("django", "pooled")}


@pytest.fixture(scope="module")
def answers_with_pages() -> dict[str, Any]:
    return {handler: proof(handler, "clinic.settings_pages", *WITH_PAGES) for handler in ("django", "pooled")}


def proof(handler: str, settings: str, *paths: str) -> Any:
    return json.loads(run_in("clinic", "-m", "tests.checks.proof", handler, *paths, settings=settings))


def expected(settings: str) -> set[Any]:
    """What the comments say; some of it isn't in the URLconf and the templates of the plain settings."""
    if settings == "clinic.settings_pages":
        return seeds("clinic") | seeds("clinic", re.compile(r"# expect with settings_pages: (\d+)"))
    return {seed for seed in seeds("clinic") if seed[0] != 315 and seed[1] != "booking/context.py"}


@pytest.mark.parametrize("settings", ["clinic.settings", "clinic.settings_pages"])
def test_it_finds_each_seed_and_nothing_else(settings: str) -> None:
    assert found_in(checked("clinic", settings), families="23") == expected(settings)


@pytest.mark.parametrize("handler", ["django", "pooled"])
def test_what_is_found_fails_and_what_is_not_found_serves(answers: dict[str, Any], handler: str) -> None:
    outcomes = answers[handler]
    failing = {
        path: {case: name for case, (status, name) in cases.items() if status >= 500 or not status}
        for path, cases in outcomes.items()
    }
    assert {path: cases for path, cases in failing.items() if cases} == FAILS
    assert FAILS.keys() < outcomes.keys()


# Behind LoginRequiredMiddleware, which has loaded the user in a thread: these serve, and nothing is said of them.
WITH_LOGIN = ("/profile/", "/account/", "/rota/", "/lab/")
STILL_FAILING = {"/prescriptions/": QUERY, "/invoices/": "TypeError"}


@pytest.mark.parametrize("handler", ["django", "pooled"])
def test_behind_the_login_middleware_the_user_is_loaded(handler: str) -> None:
    outcomes = proof(handler, "clinic.settings_login", *WITH_LOGIN, *STILL_FAILING)
    assert all(outcomes[path]["member GET"] == [200, ""] for path in WITH_LOGIN)
    assert {path: outcomes[path]["member GET"] for path in STILL_FAILING} == {
        path: [500, name] for path, name in STILL_FAILING.items()
    }


def test_of_views_behind_the_login_middleware_only_those_that_fail_are_found() -> None:
    before, after = (
        {each["object"] for each in checked("clinic", settings)["findings"] if each["id"] in ("asgi.305", "asgi.306")}
        for settings in ("clinic.settings", "clinic.settings_login")
    )
    spared = {f"booking.views.{name}" for name in ("Profile", "Account", "Rota", "Lab")}
    assert before - after == spared


@pytest.mark.parametrize("handler", ["django", "pooled"])
def test_an_asynchronous_test_func_lets_everybody_in(answers: dict[str, Any], handler: str) -> None:
    assert answers[handler]["/staff/"]["anonymous GET"] == [200, ""]


@pytest.mark.parametrize("handler", ["django", "pooled"])
def test_an_asynchronous_error_page_is_no_answer(answers_with_pages: dict[str, Any], handler: str) -> None:
    cases = answers_with_pages[handler]["/there-is-no-such-page/"]
    assert set(map(tuple, cases.values())) == {(0, "AttributeError")}


@pytest.mark.parametrize("handler", ["django", "pooled"])
@pytest.mark.parametrize("path", ["/timetable/", "/prices/", "/sync-timetable/", "/protected/", "/home/", "/tags/"])
def test_caches_tokens_and_templates(answers_with_pages: dict[str, Any], handler: str, path: str) -> None:
    cases = answers_with_pages[handler][path]
    assert {case: name for case, (status, name) in cases.items() if not status} == WITH_PAGES[path]


def test_levels_follow_the_cache() -> None:
    levels = {
        settings: {each["level"] for each in checked("clinic", settings)["findings"] if each["id"] == "asgi.310"}
        for settings in ("clinic.settings", "clinic.settings_pages")
    }
    assert levels == {"clinic.settings": {"info"}, "clinic.settings_pages": {"error"}}


VIEWS = """
    from django.views import View

    class Orders(View):
        async def get(self, request): ...
        def post(self, request): ...
        async def options(self, request): ...

    class Fine(View):
        def get(self, request): ...
"""


def check(site: Site, status: int) -> tuple[dict[str, Any], str]:
    arguments = ("manage.py", "checkasgi", "--format", "json", "--skip-checks")
    result = run_to_end([sys.executable, *arguments], site.folder)
    assert result.returncode == status, result.stderr
    return json.loads(result.stdout), result.stderr


def test_mixed_handlers_are_the_reason_why_the_urlconf_is_not_imported(site: Site) -> None:
    site.write("mysite/views", VIEWS)
    site.append("mysite/urls", "from mysite import views\nurlpatterns = [path('orders/', views.Orders.as_view())]\n")
    report, reason = check(site, status=2)
    (finding,) = report["findings"]
    assert (finding["id"], finding["file"], finding["line"]) == ("asgi.309", "mysite/views.py", 4)
    assert "asynchronous handlers (get()) and synchronous ones (post())" in finding["message"]
    assert "handlers must either be all sync or all async" in reason


def test_mixed_handlers_are_found_outside_of_the_urlconf(site: Site) -> None:
    site.write("mysite/views", VIEWS)
    site.append("mysite/urls", "import mysite.views\n")
    report, _ = check(site, status=1)
    assert [each["id"] for each in report["findings"] if each["level"] == "error"] == ["asgi.309"]


BYPASSED = """
import django
django.setup()
from asgiref.sync import async_to_sync
from django.contrib.auth import aauthenticate, authenticate
from django.core.management import call_command
from django.db import transaction
from accounts.backends import TenantBackend
from accounts.models import Member
from booking import services
from booking.models import Appointment

call_command("migrate", run_syncdb=True, verbosity=0)
ada = Member.objects.create_user("ada", password="secret", is_suspended=True)
given = {"username": "ada", "password": "secret"}
print(authenticate(None, **given), async_to_sync(aauthenticate)(None, **given))
print(TenantBackend().get_user(ada.pk), async_to_sync(TenantBackend().aget_user)(ada.pk))

Appointment.objects.create(pk=1, patient="Ada")
try:
    async_to_sync(services.swap)(1, "no number")
except ValueError:
    print(Appointment.objects.get().is_cancelled)
"""


def test_what_asynchronous_code_passes_by() -> None:
    """The lockout, the check of the tenant, and a transaction whose second half fails."""
    printed = run_in("clinic", "-c", BYPASSED, settings="clinic.settings")
    assert printed.splitlines() == ["None ada", "None ada", "True"]
