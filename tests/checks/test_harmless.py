"""Which routes with arguments the probe asks for: none that does something, as far as its words and its code say."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.urls import URLPattern, get_resolver

from django_asgi_deploy.checks import arguments, harmless
from django_asgi_deploy.checks.writes import is_delete, is_write
from tests.checks.sites import inspected
from tests.checks.test_probe import CONTRIB, report
from tests.utils import Site, run_to_end

HARMFUL = [
    "logout/<str:next>/",
    "unsubscribe/<token>/",
    "delete/<int:pk>/",
    "confirm/<key>/",
    "run/<slug:job>/",
    "accounts/confirm-email/<str:key>/",
    "newsletter/opt-out/<uuid:subscriber>/",
    "orders/<int:pk>/refund",
    "orders/<int:order_id>/mark_as_paid/",
    "cart/add/<int:product_id>/",
    "cart/removeItem/<int:item_id>/",
    "jobs/<int:pk>/retry",
    "webhook/github/<str:repo>/",
    "users/<int:pk>/impersonate/",
    "admin-tools/hijack/<int:user_id>/",
    "login/magic/<str:token>/",
    "invitations/accept-invite/<uuid:key>/",
    "friends/<int:pk>/unfollow/",
    "posts/<int:pk>/like/",
    "cache/invalidate/<str:name>/",
    "reports/<int:pk>/regenerate/",
    "devices/<int:pk>/turn-off-and-restart/",
    "backups/<str:name>/restore",
    "notifications/<int:pk>/mark-as-read/",
    "sign-out/<str:device>/",
    "polls/<int:pk>/vote/",
    "kunden/<int:pk>/loeschen/",
    "clientes/<int:pk>/eliminar/",
]
HARMLESS = [
    "books/<int:pk>/",
    "books/<slug:slug>/edit/",
    "blog/<int:year>/<int:month>/<slug:slug>/",
    "users/<str:username>/",
    "users/<int:pk>/followers/",
    "orders/<int:pk>/payments/",
    "imports/<int:pk>/",
    "requests/<int:pk>/",
    "playlists/<int:pk>/tracks/<int:number>/",
    "addresses/<int:pk>/",
    "releases/<str:version>/notes/",
    "wiki/markdown/<slug:page>/",
    "reports/<int:pk>/export.csv",
    "publishers/<int:pk>/",
    "cities/sendai/<int:year>/",
    "votes/<int:pk>/",
]
VIEWS = """
    import os, shutil, subprocess
    from asgiref.sync import sync_to_async
    from django.contrib.auth import login, logout
    from django.core.cache import cache
    from django.core.mail import EmailMessage, send_mail
    from django.core.management import call_command
    from django.db import transaction
    from django.http import HttpResponse
    from django.shortcuts import get_object_or_404, render
    from django.urls import path
    from django.views import View
    from django.views.generic import DetailView, UpdateView
    from django.contrib.auth.models import User

    # What they are called says nothing.

    def go(request, pk):
        rebuild_index.delay(pk)
        return HttpResponse("")

    def step(request, pk):
        _step(pk)
        return HttpResponse("")

    def _step(pk):
        _inform(User.objects.get(pk=pk))

    def _inform(user):
        send_mail("Next", "step", None, [user.email])

    async def door(request, pk):
        await sync_to_async(_step)(pk)
        return HttpResponse("")

    def ticket(request, pk):
        transaction.on_commit(lambda: EmailMessage("a", "b").send())
        return HttpResponse("")

    def nightly(request, name):
        call_command(name)
        return HttpResponse("")

    def space(request, name):
        shutil.rmtree(f"/srv/{name}")
        return HttpResponse("")

    def shell(request, name):
        return HttpResponse(subprocess.check_output([name]))

    def session(request, pk):
        login(request, User.objects.get(pk=pk))
        return HttpResponse("")

    def order(request, pk):
        get_object_or_404(User, pk=pk).refund()
        return HttpResponse("")

    class Gate(View):
        def get(self, request, pk):
            return self.open(pk)
        def open(self, pk):
            client.post(f"/gates/{pk}/")
            return HttpResponse("")

    class Pages(DetailView):
        model = User
        def get_object(self, queryset=None):
            user = super().get_object(queryset)
            user.email_user("Seen", "Somebody looked at you")
            return user

    class Task:
        def __call__(self, *args): ...
    Task.__module__ = "huey.api"
    resize = Task()

    def picture(request, pk):
        resize(pk)
        return HttpResponse("")

    def report(request, pk):
        with open(f"/srv/{pk}.csv", "w") as file:
            print(pk, file=file)
        return HttpResponse("")

    def older(request, name):
        os.rename(name, f"{name}.old")
        return HttpResponse("")

    def bought(request, pk):
        gateway.Charge.create(amount=pk)
        return HttpResponse("")

    def room(request, pk):
        layer.group_send(f"room-{pk}", {"type": "chat.message"})
        return HttpResponse("")

    def later(request, pk):
        pool.submit(_step, pk)
        return HttpResponse("")

    def fresh(request, pk):
        cache.delete_many([f"user-{pk}"])
        return HttpResponse("")

    def anew(request, pk):
        cache.clear()
        return HttpResponse("")

    class Gone(View):
        def get(self, request, pk):
            return self.post(request, pk)
        def post(self, request, pk):
            User.objects.filter(pk=pk).delete()
            return HttpResponse("")

    # What only shows something.

    def show(request, pk):
        user = get_object_or_404(User, pk=pk)
        cache.set("shown", pk)
        return render(request, "user.html", {"user": user})

    def counted(request, pk):
        User.objects.create(username=f"{pk}")
        with open("/srv/motd", "rb") as file:
            return HttpResponse(file.read())

    def form(request, pk):
        if request.method == "POST":
            send_mail("Changed", "", None, [])
            return HttpResponse("")
        return HttpResponse("<form>")

    class Form(UpdateView):
        model = User
        fields = ["email"]
        def form_valid(self, form):
            send_mail("Changed", "", None, [])
            return super().form_valid(form)

    class Api(View):
        async def get(self, request, pk):
            user = await User.objects.select_related().aget(pk=pk)
            return HttpResponse(user.get_full_name())
        async def delete(self, request, pk):
            await User.objects.filter(pk=pk).adelete()
            return HttpResponse("")

    does = [path(f"{view.__name__}/<int:pk>/", view) for view in (
        go, step, door, ticket, session, order, picture, report, bought, room, later, fresh, anew)]
    does += [path(f"{view.__name__}/<slug:name>/", view) for view in (nightly, space, shell, older)]
    does += [path("gate/<int:pk>/", Gate.as_view()), path("pages/<int:pk>/", Pages.as_view()),
             path("gone/<int:pk>/", Gone.as_view())]
    shows = [path("show/<int:pk>/", show), path("counted/<int:pk>/", counted), path("form/<int:pk>/", form),
             path("edit/<int:pk>/", Form.as_view()),
             path("api/<int:pk>/", Api.as_view())]
    urlpatterns = [*does, *shows]
"""


def show(request: object) -> None:
    """A view of which nothing is known."""


@pytest.mark.parametrize("route", HARMFUL)
def test_a_route_that_says_that_it_does_something_is_not_asked_for(route: str) -> None:
    assert not harmless.only_shows(f"/{route}", show)


@pytest.mark.parametrize("route", HARMLESS)
def test_a_route_that_names_things_is_asked_for(route: str) -> None:
    assert harmless.only_shows(f"/{route}", show)


@pytest.mark.parametrize("name", ["order-cancel", "cancelOrder", "user_log_out", "shop:checkout"])
def test_the_name_of_a_route_counts_too(name: str) -> None:
    assert not harmless.only_shows(f"/x/<int:pk>/ {name}", show)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    site = Site(tmp_path_factory.mktemp("harmless"), mysite__urls=VIEWS)
    apps = ["django_asgi_deploy", "django.contrib.auth", "django.contrib.contenttypes"]
    site.append("mysite/settings", f"INSTALLED_APPS = {apps}\n")
    with inspected(site.folder, "mysite.urls") as subject:
        assert subject.routes
        yield sys.modules["mysite.urls"]


def paths(patterns: list[URLPattern]) -> dict[str, str | None]:
    """Of each pattern, the path that would be asked for."""
    routes = [arguments.Route(f"/{each.pattern}", each.callback, each, (get_resolver(),)) for each in patterns]
    return {route.path: arguments.path_for(route) for route in routes}


def test_a_view_whose_code_does_something_is_not_asked_for(views: ModuleType) -> None:
    assert {route for route, path in paths(views.does).items() if path} == set()


def test_a_view_that_only_shows_something_is_asked_for(views: ModuleType) -> None:
    """Also if another method does something."""
    assert {route for route, path in paths(views.shows).items() if not path} == set()


@pytest.mark.parametrize("name", ["token", "activation_key", "signature", "code", "signed", "inviteToken"])
def test_a_value_that_proves_something_is_never_taken_from_the_database(name: str) -> None:
    assert harmless.is_secret(name)


@pytest.mark.parametrize("name", ["pk", "slug", "monkey_id", "tokenizer", "year"])
def test_other_values_are(name: str) -> None:
    assert not harmless.is_secret(name)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  (select 1) union (select 2)",
        "/* by checkasgi */ SELECT deleted FROM t WHERE updated",
        "-- a comment\nSELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "EXPLAIN SELECT 1",
        "SAVEPOINT s1",
        "RELEASE SAVEPOINT s1",
        "BEGIN",
        "PRAGMA foreign_keys",
    ],
)
def test_what_reads_is_known(sql: str) -> None:
    assert not is_write(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "update t set a = 1",
        "DELETE FROM t",
        "/* SELECT */ DELETE FROM t",
        "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM t",
        "TRUNCATE t",
        "CALL tidy()",
        "DROP TABLE t",
        "COPY t FROM STDIN",
        "",
    ],
)
def test_everything_else_is_taken_for_a_write(sql: str) -> None:
    assert is_write(sql)


@pytest.mark.parametrize("sql", ["DELETE FROM t", "with a as (delete from t returning 1) select 1", "DROP TABLE t"])
def test_what_takes_rows_away_is_known(sql: str) -> None:
    assert is_delete(sql)


@pytest.mark.parametrize("sql", ["UPDATE t SET deleted = 1", "INSERT INTO t VALUES ('DELETE')", "SELECT 1"])
def test_what_leaves_them_is_known(sql: str) -> None:
    assert not is_delete(sql)


# ------------------------------------------------------------------ driven

WRITING = """
    from django.contrib.auth.models import User
    from django.http import HttpResponse
    from django.urls import path

    def member(request, pk):
        User.objects.filter(pk=pk).update(last_name="seen")
        return HttpResponse(1 / 0)

    def mine(request):
        if request.user.is_authenticated:
            request.session["visits"] = 1
            request.user.delete()
        return HttpResponse(1 / 0)

    def unsubscribe(request):
        User.objects.update(last_name="nobody")
        return HttpResponse("")

    def fine(request, pk):
        request.session["last"] = pk
        return HttpResponse(User.objects.get(pk=pk).username)

    async def on_the_loop(request, pk):
        return HttpResponse(User.objects.filter(pk=pk).update(last_name=""))

    urlpatterns = [path("members/<int:pk>/", member), path("mine/", mine),
                   path("unsubscribe/", unsubscribe), path("fine/<int:pk>/", fine),
                   path("loop/<int:pk>/", on_the_loop)]
"""
FILL = """
from django.contrib.auth.models import User
User.objects.create_user("ada")
"""
COUNT = """
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
print(User.objects.filter(username="ada", last_name="").count(), Session.objects.count())
"""


@pytest.mark.real
def test_made_up_arguments_and_a_users_name_change_nothing_in_the_database(tmp_path: Path) -> None:
    """Where a view would have written, only what it does on the event loop is judged, and a note says so."""
    site = migrated(Site(tmp_path, mysite__urls=WRITING))
    found = report(site, all_pages=True)
    assert {(each["id"], each["object"].split(",")[0]) for each in found["findings"]} == {
        ("asgi.701", "GET /loop/1/"),
        ("asgi.701", "GET /mine/"),  # somebody unknown has written nothing there
    }
    (note,) = (each for each in found["notes"] if "have written" in each)
    told = "GET /mine/, logged in, GET /unsubscribe/, GET /unsubscribe/, logged in, GET /members/1/, GET /members/1/"
    assert told in note
    assert "/fine/" not in note
    assert rows(site) == "1 0"


@pytest.mark.real
def test_what_somebody_names_may_write(tmp_path: Path) -> None:
    site = migrated(Site(tmp_path, mysite__urls=WRITING))
    found = report(site, "/members/1/")
    assert {each["id"] for each in found["findings"]} == {"asgi.701"}
    assert rows(site).startswith("0 ")


def migrated(site: Site) -> Site:
    site.append("mysite/settings", CONTRIB)
    for arguments_ in (("migrate",), ("shell", "-c", FILL)):
        done = run_to_end([sys.executable, "manage.py", *arguments_], site.folder, {})
        assert done.returncode == 0, done.stderr
    return site


def rows(site: Site) -> str:
    return run_to_end([sys.executable, "manage.py", "shell", "-c", COUNT], site.folder, {}).stdout.splitlines()[-1]
