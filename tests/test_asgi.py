"""The assembled application, called as a server calls it."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from pytest_django import Settings

from django_asgi_deploy.asgi import get_asgi_application
from django_asgi_deploy.types import ASGIApp, Scope
from tests.layers import asgi
from tests.layers.asgi import http
from tests.utils import Site, clean_environment


def exchange(application: ASGIApp, scope: Scope, *received: dict[str, Any]) -> list[Any]:
    return asyncio.run(asgi.exchange(application, scope, *received))


def test_lifespan_is_answered() -> None:
    sent = exchange(
        get_asgi_application(), {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
    )
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_request_gets_the_views_answer() -> None:
    start, body = exchange(get_asgi_application(), http("/"))
    assert start["status"] == 200
    assert body["body"] == b"Hello"


def test_a_websocket_is_denied() -> None:
    sent = exchange(get_asgi_application(), {"type": "websocket", "path": "/"}, {"type": "websocket.connect"})
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(("debug", "static", "status"), [(True, "auto", 200), (True, "off", 404), (False, "auto", 404)])
def test_static_files_come_through_the_finders_only_under_debug_and_auto(
    settings: Settings, debug: bool, static: str, status: int
) -> None:
    settings.DEBUG = debug
    settings.STATIC_URL = "/static/"
    contrib = ("admin", "auth", "contenttypes", "staticfiles")
    settings.INSTALLED_APPS = ["django_asgi_deploy", *(f"django.contrib.{name}" for name in contrib)]
    settings.ASGI_DEPLOY = {"STATIC": static}
    start, *_ = exchange(get_asgi_application(), http("/static/admin/css/base.css"))
    assert start["status"] == status


def test_the_application_says_what_it_was_built_from(settings: Settings) -> None:
    settings.ASGI_DEPLOY = {"BACKLOG": 5}
    assert get_asgi_application().asgi_deploy_settings.backlog == 5


def test_django_is_set_up_once(site: Site) -> None:
    """A second django.setup() would disable the loggers made since the first."""
    site.append("mysite/settings", "LOGGING = {'version': 1}\n")
    code = (
        "import os, logging, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'; django.setup(); "
        "logger = logging.getLogger('made.in.between'); import mysite.asgi; print(logger.disabled)"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(
        command, cwd=site.folder, env=clean_environment(), check=True, capture_output=True, text=True, timeout=30
    )
    assert shown.stdout == "False\n"
