"""``django_asgi_deploy.test``: projects that test themselves with it, and our own use of the fixture."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from django_asgi_deploy.exceptions import ASGIDeployError
from django_asgi_deploy.test import LiveServer, live_server
from tests.utils import Site, run_to_end

TESTPROJECT = Path(__file__).parent.parent / "testproject"

SETTINGS = """
    INSTALLED_APPS += ["django.contrib.contenttypes", "django.contrib.sites"]
    SITE_ID = 1
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    MEDIA_URL = "media/"
    MEDIA_ROOT = "uploads"
    ASGI_DEPLOY = {"MIDDLEWARE": ["mysite.lifespan.Announced"]}
"""
LIFESPAN = """
    class Announced:
        def __init__(self, app):
            self.app = app

        async def __call__(self, scope, receive, send):
            async def told():
                message = await receive()
                print(message["type"], flush=True)
                return message
            await self.app(scope, told if scope["type"] == "lifespan" else receive, send)
"""
URLS = """
    from django.contrib.sites.models import Site
    from django.http import HttpResponse
    from django.urls import path

    def names(request):
        return HttpResponse(" ".join(site.name for site in Site.objects.order_by("name")))

    async def names_async(request):
        return HttpResponse(" ".join([site.name async for site in Site.objects.order_by("name")]))

    def add(request, name):
        Site.objects.create(name=name, domain=name)
        return HttpResponse("added")

    urlpatterns = [path("", names), path("async/", names_async), path("add/<name>/", add)]
"""
TESTS = """
    import os
    from urllib.request import urlopen

    from django.contrib.sites.models import Site
    from django.test import override_settings
    from django_asgi_deploy.test import LiveServerTestCase

    class Base(LiveServerTestCase):
        serialized_rollback = True

        def get(self, path):
            with urlopen(self.live_server_url + path) as answer:
                return answer.read().decode()

    class Data(Base):
        def test_the_server_sees_what_the_test_writes(self):
            Site.objects.create(name="ours", domain="ours")
            for path in ("/", "/async/"):
                self.assertEqual(self.get(path), "example.com ours")

        def test_the_test_sees_what_the_server_writes(self):
            for number in range(20):
                self.get(f"/add/{number}/")
            self.assertEqual(Site.objects.count(), 21)

        def test_the_data_of_migrations_come_back(self):
            self.assertEqual(self.get("/"), "example.com")

    class Media(Base):
        def test_uploads_are_served(self):
            os.makedirs("uploads", exist_ok=True)
            with open("uploads/a file.txt", "w") as file:
                file.write("uploaded")
            self.assertEqual(self.get("/media/a%20file.txt"), "uploaded")

    @override_settings(MIDDLEWARE=["mysite.tests.marked"])
    class Overridden(Base):
        def test_settings_of_the_class_count(self):
            self.assertEqual(self.get("/"), "marked")

    def marked(get_response):
        from django.http import HttpResponse
        return lambda request: HttpResponse("marked")
"""
WRAPPED = """
    from django_asgi_deploy.asgi import get_asgi_application
    inner = get_asgi_application("mysite.settings")
    async def application(scope, receive, send):
        await inner(scope, receive, send)
"""
ON_DISK = 'DATABASES["default"]["TEST"] = {"NAME": "test.sqlite3"}\n'


@pytest.fixture
def project(site: Site) -> Site:
    site.append("mysite/settings", SETTINGS)
    site.write("mysite/urls", URLS)
    site.write("mysite/lifespan", LIFESPAN)
    site.write("mysite/tests", TESTS)
    return site


def run_tests(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "manage.py", "test", *arguments]
    done = run_to_end(command, folder, {"PYTHONDEVMODE": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("where", ["", ON_DISK], ids=["in memory", "on disk"])
def test_the_test_case_and_the_server_share_one_database(project: Site, where: str) -> None:
    """Rolled back after each test; and each class has its own server, with a lifespan that is closed."""
    project.append("mysite/settings", where)
    output = run_tests(project.folder)
    assert "Ran 5 tests" in output
    assert output.count("lifespan.startup") == output.count("lifespan.shutdown") == 3


@pytest.mark.real
def test_an_application_that_asgi_py_wraps_is_made_anew_for_each_class(project: Site) -> None:
    project.write("mysite/asgi", WRAPPED)
    assert "Ran 5 tests" in run_tests(
        project.folder, "mysite.tests.Data", "mysite.tests.Media", "mysite.tests.Overridden"
    )


@pytest.mark.real
def test_tests_in_parallel_have_a_server_and_a_database_each(project: Site) -> None:
    assert "Ran 5 tests" in run_tests(project.folder, "--parallel", "2")


@pytest.mark.real
def test_a_lifespan_that_fails_is_an_error_of_the_class(project: Site) -> None:
    project.write(
        "mysite/asgi",
        """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no queue"})
        """,
    )
    done = run_to_end([sys.executable, "manage.py", "test", "mysite.tests.Data"], project.folder)
    assert done.returncode == 1
    assert "no queue" in done.stderr
    assert "The live server can't start: the application's lifespan failed. Its log says why." in done.stderr


def test_the_tests_of_the_example_site_pass() -> None:
    assert "Ran 6 tests" in run_tests(TESTPROJECT)


@pytest.mark.real
def test_with_pytest_one_line_in_conftest_brings_the_fixture(project: Site) -> None:
    project.remove("mysite/tests")
    (project.folder / "conftest.py").write_text('pytest_plugins = ["django_asgi_deploy.pytest_plugin"]\n')
    (project.folder / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = mysite.settings\n")
    (project.folder / "test_site.py").write_text(
        "from urllib.request import urlopen\n"
        "from django.contrib.sites.models import Site\n"
        "def test_it(asgi_live_server):\n"
        "    Site.objects.create(name='ours', domain='ours')\n"
        "    with urlopen(asgi_live_server + '/') as answer:\n"
        "        assert answer.read() == b'example.com ours'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = run_to_end(command, project.folder)
    assert "1 passed" in done.stdout, done.stdout


# ------------------------------------------------------------------ in this process


def test_the_fixture_serves_this_project(asgi_live_server: LiveServer) -> None:
    answer = httpx.get(asgi_live_server.url)
    assert (answer.status_code, answer.text) == (200, "Hello")
    assert httpx.get(asgi_live_server + "/missing/").status_code == 404


def test_settings_of_the_test_count_when_it_starts_the_server_itself(settings: Any) -> None:
    settings.ASGI_DEPLOY = {"WEBSOCKET": "tests.layers.samples.echo"}

    async def said(server: LiveServer) -> str | bytes:
        async with connect(f"{server.websocket_url}/") as websocket:
            await websocket.send("Hello")
            return await websocket.recv()

    with live_server() as server:
        assert asyncio.run(said(server)) == "Hello"


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    with live_server() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(ASGIDeployError, match=f"localhost:{port} is in use by"), live_server(port=port):
            pass
