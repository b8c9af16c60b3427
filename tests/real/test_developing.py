"""``runasgi --reload`` with what developers have in their browser: django-debug-toolbar and django-browser-reload."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import require_package
from tests.real.browser import Visitor
from tests.real.projects import run
from tests.utils import DEADLINE_SECONDS, Server, Site

pytestmark = pytest.mark.real

SETTINGS = """
    from pathlib import Path

    BASE_DIR = Path(__file__).parent.parent
    INSTALLED_APPS += [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "debug_toolbar",
        "django_browser_reload",
    ]
    MIDDLEWARE = [
        "debug_toolbar.middleware.DebugToolbarMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django_browser_reload.middleware.BrowserReloadMiddleware",
    ]
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [BASE_DIR / "templates"],
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ]
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    INTERNAL_IPS = ["127.0.0.1"]
    STATIC_URL = "static/"
    STATICFILES_DIRS = [BASE_DIR / "assets"]
"""
URLS = """
    from django.contrib.auth.models import User
    from django.shortcuts import render
    from django.urls import include, path

    GREETING = "Good morning"

    def page(request):
        return render(request, "page.html", {"greeting": GREETING, "users": User.objects.count()})

    async def page_async(request):
        return render(request, "page.html", {"greeting": GREETING, "users": await User.objects.acount()})

    urlpatterns = [
        path("", page),
        path("async/", page_async),
        path("__debug__/", include("debug_toolbar.urls")),
        path("__reload__/", include("django_browser_reload.urls")),
    ]
"""
PAGE = """<!doctype html>
<html lang="en">
<head><title>Developing</title><link rel="stylesheet" href="/static/style.css"></head>
<body><h1>{{ greeting }}</h1><p>{{ users }} users</p></body>
</html>
"""


@pytest.fixture
def project(site: Site) -> Site:
    for package in ("debug_toolbar", "django_browser_reload"):
        require_package(package)
    site.append("mysite/settings", SETTINGS)
    site.write("mysite/urls", URLS)
    for folder in ("templates", "assets"):
        (site.folder / folder).mkdir()
    (site.folder / "templates" / "page.html").write_text(PAGE)
    (site.folder / "assets" / "style.css").write_text("body { color: rgb(1, 2, 3) }")
    run([sys.executable, "manage.py", "migrate"], site.folder)
    return site


@pytest.fixture
def server(project: Site) -> Iterator[Server]:
    with project.serve("--reload") as server:
        server.wait_for("^Serving http://")
        yield server
        assert server.stop() == 0
        assert not re.search(r"Traceback|ERROR|CRITICAL", server.output), server.output


@pytest.mark.parametrize("path", ["/", "/async/"])
def test_the_page_in_the_browser_follows_what_is_saved(
    project: Site, server: Server, visitor: Callable[..., Visitor], expect: Any, path: str
) -> None:
    """A template, a style sheet and a view; the toolbar counts the queries of each."""
    ada = visitor(server.url, viewport={"width": 1200, "height": 800})
    page = ada.page
    page.goto(path)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Good morning")
    toolbar = page.locator("#djDebug")
    expect(toolbar.locator("#djdt-SQLPanel")).to_contain_text("1 query")

    template = project.folder / "templates" / "page.html"
    save(template, PAGE.replace("users</p>", "users</p><p>A new line</p>"), page.get_by_text("A new line").is_visible)

    style = project.folder / "assets" / "style.css"
    body = page.locator("body")
    colour = "getComputedStyle(document.body).color"
    save(style, "body { color: rgb(4, 5, 6) }", lambda: body.evaluate(colour) == "rgb(4, 5, 6)")

    view = project.folder / "mysite" / "urls.py"
    evening = view.read_text().replace("Good morning", "Good evening")
    save(view, evening, lambda: heading.inner_text() == "Good evening")

    expect(toolbar.locator("#djdt-SQLPanel")).to_contain_text("1 query")
    toolbar.locator("#djdt-SQLPanel a").first.click()
    expect(toolbar.locator("#SQLPanel")).to_contain_text("SELECT COUNT(*)")
    ada.screenshot(f"developing-{'async' if 'async' in path else 'sync'}")
    assert ada.problems == []


def save(file: Path, text: str, is_seen: Callable[[], bool]) -> None:
    """Save until the page follows: one that is just being loaded misses what django-browser-reload says."""
    for _ in range(10):
        file.write_text(text)
        end = time.monotonic() + DEADLINE_SECONDS / 3
        while time.monotonic() < end:
            if is_seen():
                return
            time.sleep(0.1)
    raise AssertionError(f"the page doesn't follow {file.name}")
