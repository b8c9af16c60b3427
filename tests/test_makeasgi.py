"""``manage.py makeasgi``: the asgi.py of a new project, and of one that has its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_deploy.deployment.convert import NotUnderstoodError, converted
from django_asgi_deploy.deployment.render import TEMPLATES
from tests.utils import Site, run_server, run_to_end

# What startproject writes, in our own words: the import, the variable, the call.
STOCK = '''"""
ASGI config.
"""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')

application = get_asgi_application()
'''
OURS = STOCK.replace("django.core.asgi", "django_asgi_deploy.asgi")


def makeasgi(site: Site, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run_to_end([sys.executable, "manage.py", "makeasgi", *arguments], site.folder, environment)


@pytest.fixture
def asgi(site: Site) -> Path:
    """The asgi.py of the site, which isn't there yet."""
    site.remove("mysite/asgi")
    return site.folder / "mysite" / "asgi.py"


# ------------------------------------------------------------------ the conversion

CALL = "application = get_asgi_application()"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (STOCK, OURS),
        (f"from django.core.asgi import get_asgi_application\n{CALL}", None),
        (f"from django.core.asgi import (\n    get_asgi_application,  # Django's\n)\n{CALL}\n", None),
        (f"from  django . core\t.asgi  import get_asgi_application;{CALL}", "from  django_asgi_deploy.asgi  import"),
        (f"from django.core.\\\n  asgi import get_asgi_application\n{CALL}", "from django_asgi_deploy.asgi import"),
        ("from django.core.asgi import get_asgi_application as make\napplication = make()", None),
        ("from django.core import asgi\napplication = asgi.get_asgi_application()", "from django_asgi_deploy import"),
        ("from django.core import asgi as a\napplication = a.get_asgi_application()", "from django_asgi_deploy import"),
        ("import django.core.asgi\napplication = django.core.asgi.get_asgi_application()", None),
        ("import django.core.asgi as a\napplication = a.get_asgi_application()", None),
        ("import os, django.core.asgi\napplication = django.core.asgi.get_asgi_application()", None),
        (
            "import django\nimport django.core.asgi\ndjango.setup()\n"
            "application = django.core.asgi.get_asgi_application()",
            None,
        ),
        (f"try:\n    from django.core.asgi import get_asgi_application\nfinally:\n    pass\n{CALL}", None),
        (f"é = 'ü'; from django.core.asgi import get_asgi_application; {CALL}", None),
        ("from django.core.asgi import get_asgi_application\nfrom x import wrap\napplication = wrap(1)", None),
    ],
)
def test_only_the_import_of_djangos_function_changes(before: str, after: str | None) -> None:
    made = converted(before.encode()).decode()
    if after is None:
        assert made == before.replace("django.core.asgi", "django_asgi_deploy.asgi")
    else:
        assert after in made
    assert converted(made.encode()) == made.encode()  # and then it is ours


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("cookie", "encoding"), [("", "utf-8"), ("", "utf-8-sig"), ("# coding: latin-1\n", "latin-1"), ("\f", "utf-8")]
)
@pytest.mark.parametrize("end", ["\n", ""])
def test_encoding_byte_order_mark_newlines_and_the_end_of_the_file_stay(
    newline: str, cookie: str, encoding: str, end: str
) -> None:
    text = (f"{cookie}# Größe\n{STOCK.rstrip()}{end}").replace("\n", newline)
    made = converted(text.encode(encoding))
    assert made == text.replace("django.core.asgi", "django_asgi_deploy.asgi").encode(encoding)


noise = st.lists(
    st.sampled_from(
        ["# django.core.asgi\n", "x = 'django.core.asgi'\n", "\n", "é = 1\n", "if True:\n    pass\n", "\t\n"]
    )
)


@given(noise, noise)
def test_what_is_around_the_import_stays_byte_for_byte(before: list[str], after: list[str]) -> None:
    line = "from django.core.asgi import get_asgi_application\n"
    source = "".join([*before, line, *after])
    expected = "".join([*before, line.replace("django.core.asgi", "django_asgi_deploy.asgi"), *after])
    assert converted(source.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("application = (", "it isn't valid Python (line 1: '(' was never closed)"),
        ("\0", "it isn't valid Python ("),
        ("# coding: nonsense\n", "it isn't text (unknown encoding: nonsense)"),
        ("", "it doesn't import get_asgi_application from django.core.asgi"),
        (
            "from configurations.asgi import get_asgi_application",
            "line 1 imports get_asgi_application from configurations.asgi, not from django.core.asgi",
        ),
        ("from .base import get_asgi_application", "line 1 imports get_asgi_application from .base, not from"),
        ("from django.core.handlers.asgi import ASGIHandler", "it doesn't import get_asgi_application"),
        ("from django.core.asgi import *", "line 1 also brings * from django.core.asgi"),
        (
            "from django.core.asgi import ASGIHandler, get_asgi_application",
            "line 1 also brings ASGIHandler from django.core.asgi",
        ),
        ("from django.core import asgi\nasgi.ASGIHandler()", "line 1 also brings ASGIHandler from django.core.asgi"),
        ("from django.core import asgi, wsgi", "line 1 imports more than asgi from django.core"),
        (
            "import django.core.asgi\ndjango.setup()",
            "what line 1 imports is also used for other things than get_asgi_application",
        ),
        ("import django.core.asgi\n(django.core\n.asgi.get_asgi_application())", "line 2 is written in a way that"),
        ("import importlib\nm = importlib.import_module('django.core.asgi')", "it doesn't import"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(source: str, reason: str) -> None:
    with pytest.raises(NotUnderstoodError) as raised:
        converted(source.encode())
    assert str(raised.value).startswith(reason)


# ------------------------------------------------------------------ the command


def test_a_project_without_asgi_py_gets_ours_beside_its_settings_and_is_served_with_it(site: Site, asgi: Path) -> None:
    done = makeasgi(site, "asgi")
    assert (done.returncode, done.stdout) == (0, "mysite/asgi.py is written, for the settings mysite.settings.\n")
    assert 'get_asgi_application("mysite.settings")' in asgi.read_text()
    with site.serve() as server:
        assert b"Hello" in server.get()
        server.wait_for(r"application +mysite.asgi:application \(found beside")
        server.wait_for(r"handler +pooled")


def test_djangos_own_asgi_py_is_converted_and_served_through_our_handler(site: Site, asgi: Path) -> None:
    asgi.write_text(STOCK)
    asgi.chmod(0o640)
    done = makeasgi(site, "asgi")
    assert done.returncode == 0
    assert done.stdout == "mysite/asgi.py is converted: its import is ours now, the rest is as it was.\n"
    assert asgi.read_text() == OURS
    assert asgi.stat().st_mode & 0o777 == 0o640
    with site.serve() as server:
        assert b"Hello" in server.get()


def test_one_that_is_ours_is_said_to_be_and_left_alone_even_with_force(site: Site, asgi: Path) -> None:
    asgi.write_text(OURS)
    for arguments in (["asgi"], ["asgi", "--diff"], ["asgi", "--force"]):
        done = makeasgi(site, *arguments)
        assert (done.returncode, done.stdout) == (0, "mysite/asgi.py is ours already: nothing to do.\n")
    assert asgi.read_text() == OURS


def test_diff_shows_the_change_as_patch_takes_it_and_writes_nothing(site: Site, asgi: Path) -> None:
    asgi.write_text(STOCK)
    done = makeasgi(site, "asgi", "--diff")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:2] == ["--- mysite/asgi.py", "+++ mysite/asgi.py"]
    assert [line for line in lines[3:] if line[0] in "+-"] == [
        "-from django.core.asgi import get_asgi_application",
        "+from django_asgi_deploy.asgi import get_asgi_application",
    ]
    assert asgi.read_text() == STOCK


def test_diff_of_a_new_file_is_all_of_it(site: Site, asgi: Path) -> None:
    done = makeasgi(site, "asgi", "--diff")
    assert done.stdout.startswith("--- /dev/null\n+++ mysite/asgi.py\n")
    assert not asgi.exists()


def test_what_is_not_understood_is_left_alone_until_it_is_forced(site: Site, asgi: Path) -> None:
    asgi.write_text("from elsewhere import application\n")
    for arguments in (["asgi"], ["asgi", "--diff"]):
        refused = makeasgi(site, *arguments)
        assert refused.returncode == 1
        assert refused.stderr == (
            "CommandError: mysite/asgi.py is left as it is, because it doesn't import get_asgi_application from "
            "django.core.asgi. Change it by hand: from django_asgi_deploy.asgi import get_asgi_application. Or replace "
            "it, and lose what is in it: makeasgi asgi --force\n"
        )
        assert asgi.read_text() == "from elsewhere import application\n"
    forced = makeasgi(site, "asgi", "--force")
    assert forced.stdout == "mysite/asgi.py is replaced, for the settings mysite.settings.\n"
    assert "django_asgi_deploy" in asgi.read_text()


def test_output_names_another_file_or_a_folder(site: Site, asgi: Path) -> None:
    asgi.write_text("from elsewhere import application\n")
    (site.folder / "deploy").mkdir()
    assert makeasgi(site, "asgi", "--output", "deploy").stdout.startswith("deploy/asgi.py is written")
    assert makeasgi(site, "asgi", "--output", "other/serve.py").stdout.startswith("other/serve.py is written")
    assert (site.folder / "deploy" / "asgi.py").read_text() == (site.folder / "other" / "serve.py").read_text()
    assert asgi.read_text() == "from elsewhere import application\n"


@pytest.mark.parametrize(
    ("settings_module", "urls", "expected"),
    [
        ("mysite.settings.production", "mysite.urls", "mysite/asgi.py"),
        ("mysite.settings", "mysite.urls", "mysite/asgi.py"),
        ("mysite.conf.settings.production", "mysite.urls", "mysite/asgi.py"),
        ("mysite.conf.settings.production", "mysite.conf.urls", "mysite/conf/asgi.py"),
        ("conf.production", "mysite.urls", "conf/asgi.py"),
        ("settings", "mysite.urls", "asgi.py"),
    ],
)
def test_beside_the_settings_means_beside_the_urls_that_are_around_them(
    site: Site, asgi: Path, settings_module: str, urls: str, expected: str
) -> None:
    text = (site.folder / "mysite" / "settings.py").read_text().replace("mysite.urls", urls)
    site.remove("mysite/settings")
    parts = settings_module.split(".")
    for depth in range(1, len(parts)):
        package = site.folder.joinpath(*parts[:depth])
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
    is_package = settings_module == "mysite.settings"
    site.write("/".join([*parts, "__init__"] if is_package else parts), text)
    done = makeasgi(site, "asgi", DJANGO_SETTINGS_MODULE=settings_module)
    assert done.stdout == f"{expected} is written, for the settings {settings_module}.\n", done.stderr


def test_the_file_that_asgi_application_names_is_the_one(site: Site, asgi: Path) -> None:
    site.append("mysite/settings", "ASGI_APPLICATION = 'mysite.serving.application'")
    file = site.write("mysite/serving", STOCK)
    assert makeasgi(site, "asgi").stdout.startswith("mysite/serving.py is converted")
    assert file.read_text() == OURS
    assert not asgi.exists()


def test_a_folder_that_cannot_be_written_is_one_line(site: Site, asgi: Path) -> None:
    done = makeasgi(site, "asgi", "--output", "/dev/null/asgi.py")
    assert (done.returncode, done.stderr) == (
        1,
        "CommandError: /dev/null/asgi.py can't be read: Not a directory.\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CommandError: What is to be made? Type: makeasgi asgi"),
        (["asgj"], "argument target: invalid choice: 'asgj'"),
        (["asgi", "--dif"], "unrecognized arguments: --dif"),
    ],
)
def test_wrong_arguments_are_usage_errors(site: Site, arguments: list[str], message: str) -> None:
    done = makeasgi(site, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


# ------------------------------------------------------------------ the project template


def startproject(folder: Path) -> Path:
    """A project made by Django's own command from our template, whose path our command printed."""
    shown = run_to_end([sys.executable, "-m", "django_asgi_deploy", "makeasgi", "--template-path"], folder)
    path = shown.stdout.strip()
    command = [sys.executable, "-m", "django", "startproject", "--template", path, "shop"]
    made = run_to_end(command, folder)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    return folder / "shop"


def test_the_template_path_is_printed_with_a_project_and_without_one(site: Site, tmp_path: Path) -> None:
    inside = makeasgi(site, "--template-path").stdout
    (tmp_path / "empty").mkdir()
    outside = run_to_end(
        [sys.executable, "-m", "django_asgi_deploy", "makeasgi", "--template-path"], tmp_path / "empty"
    )
    assert inside == outside.stdout
    assert (Path(inside.strip()) / "manage.py-tpl").is_file()


def test_a_project_made_from_the_template_is_checked_migrated_and_served(tmp_path: Path) -> None:
    folder = startproject(tmp_path)
    manage = [sys.executable, "-W", "error", "manage.py"]
    assert (folder / "manage.py").stat().st_mode & 0o111
    checked = run_to_end([*manage, "check", "--fail-level", "WARNING"], folder)
    assert checked.returncode == 0, checked.stderr
    assert run_to_end([*manage, "migrate"], folder).returncode == 0
    with run_server([sys.executable, "manage.py", "runasgi", "127.0.0.1:0"], folder) as server:
        answer = server.get("/admin/login/")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Django administration" in answer
        assert b"200 OK" in server.get("/static/admin/css/base.css")
        server.wait_for(r"application +shop.asgi:application \(found beside")
        server.wait_for(r"settings +shop.settings \(the default in manage.py\)")


def test_a_project_made_from_the_template_has_nothing_left_of_the_template(tmp_path: Path) -> None:
    folder = startproject(tmp_path)
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert files == ["manage.py", "shop/__init__.py", "shop/asgi.py", "shop/settings.py", "shop/urls.py"]
    for name in files:
        assert not re.search(r"\{[{%]|project_name", (folder / name).read_text())
    secret_key = re.search(r'SECRET_KEY = "(.+)"', (folder / "shop" / "settings.py").read_text())
    assert secret_key
    assert len(secret_key[1]) >= 50


def test_its_asgi_py_is_the_one_that_makeasgi_writes(tmp_path: Path) -> None:
    folder = startproject(tmp_path)
    before = (folder / "shop" / "asgi.py").read_text()
    (folder / "shop" / "asgi.py").unlink()
    assert run_to_end([sys.executable, "manage.py", "makeasgi", "asgi"], folder).returncode == 0
    assert (folder / "shop" / "asgi.py").read_text() == before


def test_templates_are_no_python_files_so_that_nothing_compiles_them() -> None:
    assert all(file.name.endswith("-tpl") for file in TEMPLATES.rglob("*") if file.is_file())
