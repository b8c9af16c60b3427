"""What ``django-admin startproject`` makes, converted by the README's four steps and nothing else."""

import re
import sys
from pathlib import Path

import pytest

from tests.real.projects import PASSWORD, SUPERUSER, USERNAME, add_to_installed_apps, run, serving

pytestmark = pytest.mark.real


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    run([sys.executable, "-m", "django", "startproject", "mysite", folder], tmp_path)
    # 1. pip install django-asgi-deploy: done, these tests run in that environment
    add_to_installed_apps(folder / "mysite" / "settings.py")  # 2.
    run([sys.executable, "manage.py", "migrate"], folder)  # 3.
    return folder  # 4. manage.py runasgi


def test_the_admin_is_served_and_the_banner_names_the_project_s_own_application_and_settings(project):
    with serving(sys.executable, project) as server:
        assert b"\r\nlocation: /admin/login/?next=/admin/\r\n" in server.get("/admin/").lower()
        server.wait_for(r"^  application +mysite\.asgi:application \(")
        server.wait_for(r"^  settings +mysite\.settings \(the default in manage\.py\)")


def test_logging_in_to_the_admin_works_in_a_browser_and_styles_load(project, visitor, expect):
    run([sys.executable, "manage.py", "createsuperuser", "--noinput"], project, SUPERUSER)
    with serving(sys.executable, project) as server:
        ada = visitor(server.url)

        ada.page.goto("/admin/")
        expect(ada.page).to_have_url(f"{server.url}/admin/login/?next=/admin/")
        assert ada.is_styled("#header", "backgroundColor")
        assert ada.is_styled("[type=submit]", "backgroundColor")
        ada.screenshot("startproject-login")

        ada.log_in("/admin/", USERNAME, PASSWORD)
        expect(ada.page.get_by_role("heading", name="Site administration")).to_be_visible()
        expect(ada.page.get_by_role("link", name="Users")).to_be_visible()
        ada.screenshot("startproject-admin")

        static = ada.answers_below("/static/")
        assert {"/static/admin/css/base.css", "/static/admin/css/login.css"} <= set(static)
        assert set(static.values()) == {200}
        assert ada.problems == []


def test_with_debug_off_the_admin_is_served(project):
    settings = project / "mysite" / "settings.py"
    text = settings.read_text()
    text = text.replace("DEBUG = True", "DEBUG = False").replace("ALLOWED_HOSTS = []", 'ALLOWED_HOSTS = ["localhost"]')
    settings.write_text(text)
    with serving(sys.executable, project) as server:
        answer = server.get("/admin/login/")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'<form action="/admin/login/" method="post" id="login-form">' in answer
        assert not re.search(r"DEBUG +is on", server.output)
