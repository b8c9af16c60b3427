"""``manage.py checkasgi``: its options, output and exit status; and the same checks through Django's own commands."""

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
from django.core.management import CommandError, call_command

from django_asgi_deploy.management.commands.checkasgi import Command
from tests.checks.test_probe import CONTRIB
from tests.utils import DEADLINE_SECONDS, Site, clean_environment, run_to_end

PAGE = Path(__file__).parents[2] / "docs" / "checkasgi.rst"
URLS = """
    from django.http import HttpResponse
    from django.urls import path

    def hello(request):
        return HttpResponse("Hello")

    async def hello_async(request):
        return HttpResponse("Hello")

    def broken(request):
        return 1 / 0

    urlpatterns = [path("", hello), path("async", hello_async), path("broken", broken)]
"""
SSE = """
    from django.http import StreamingHttpResponse
    async def feed(request):
        async def events():
            yield b"data: 1"
        return StreamingHttpResponse(events(), content_type="text/event-stream")
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """With the middleware of startproject."""
    site = Site(tmp_path, mysite__urls=URLS)
    site.append("mysite/settings", CONTRIB)
    return site


def manage(site: Site, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=site.folder,
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE_SECONDS,  # three processes that import Django
        stdin=subprocess.DEVNULL,
        check=False,
    )


def check(site: Site, *arguments: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    result = manage(site, "checkasgi", *arguments, **environment)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def report(site: Site, *arguments: str, status: int = 0, **environment: str) -> Any:
    return json.loads(check(site, "--format", "json", *arguments, status=status, **environment).stdout)


# ------------------------------------------------------------------ the report


def test_a_new_project_has_no_findings_of_ours(tmp_path: Path) -> None:
    run_to_end([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS += ['django_asgi_deploy']\n")
    result = run_to_end([sys.executable, "manage.py", "checkasgi"], tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "asgi." not in result.stdout.partition("\nProject\n")[0]
    assert "info: Django's own checks, " in result.stdout  # DEBUG is on
    assert "application    mysite.asgi:application (found beside the project's settings and URLs" in result.stdout
    assert "settings       mysite.settings (the default in manage.py)" in result.stdout
    assert "handler        pooled, 8 threads" in result.stdout


def test_the_json_is_the_documented_one_and_nothing_the_project_prints_gets_into_it(site: Site) -> None:
    site.write("mysite/feed", SSE)
    site.append("mysite/urls", "import mysite.feed\nprint('a line on standard output')\n")
    result = check(site, "--format", "json", "--skip-checks")
    assert "a line on standard output" in result.stderr
    found = json.loads(result.stdout)
    assert list(found) == ["version", "project", "findings", "summary"]
    assert found["version"] == 1
    assert found["project"]["settings"] == {"name": "mysite.settings", "origin": "the default in manage.py"}
    assert found["project"]["handler"] == "pooled"
    (finding,) = [each for each in found["findings"] if each["slug"] == "sse-headers"]
    assert list(finding) == ["id", "slug", "level", "message", "hint", "file", "line", "object", "chain"]
    assert (finding["id"], finding["level"], finding["file"], finding["line"]) == (
        "asgi.512",
        "warning",
        "mysite/feed.py",
        6,
    )
    assert list(found["summary"]) == ["errors", "warnings", "info", "silenced"]


def test_github_gets_one_line_for_each_finding(site: Site) -> None:
    """With --fail-level, a warning is enough for status 1."""
    site.write("mysite/feed", SSE)
    site.append("mysite/urls", "import mysite.feed\n")
    result = check(site, "--format", "github", "--skip-checks", "--fail-level", "warning", status=1)
    assert "::warning title=asgi.512 sse-headers,file=mysite/feed.py,line=6::nginx holds" in result.stdout
    assert all(line.startswith("::") for line in result.stdout.splitlines())


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
    return process.wait(4 * DEADLINE_SECONDS), printed.decode().replace("\r\n", "\n")


def test_the_text_has_colours_and_fits_into_80_columns(site: Site) -> None:
    status, text = at_terminal(site.folder, "--probe", "--url", "/broken", "--url", "/async", columns=80)
    assert status == 1
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert [line for line in plain.splitlines() if len(line) > 80] == []
    assert "      return 1 / 0\n      ^\n" in plain


def test_the_documentation_shows_what_is_printed(tmp_path: Path) -> None:
    code, shown = re.findall(
        r"^\.\. code-block:: (?:python|console)\n\n((?:\n| +.*\n)+)", PAGE.read_text(), re.MULTILINE
    )[:2]
    command, _, output = textwrap.dedent(shown).partition("\n")
    run_to_end([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], tmp_path)
    settings = tmp_path / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nINSTALLED_APPS += ['django_asgi_deploy']\n")
    (tmp_path / "mysite" / "urls.py").write_text(textwrap.dedent(code).lstrip())
    arguments = command.removeprefix("$ python manage.py checkasgi ").split()
    _, printed = at_terminal(tmp_path, "--no-color", *arguments, columns=100)
    assert _without_chance(printed) == _without_chance(output)


def _without_chance(text: str) -> list[list[str]]:
    """Without times and the path that is another each time."""
    text = re.sub(r"\d+ ms|(?<=/checkasgi-)\w+", "N", text)
    return [line.split() for line in text.strip().splitlines()]


@pytest.mark.parametrize("name", ["101", "conn-max-age"])
def test_a_check_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("checkasgi", explain=name)
    text = capsys.readouterr().out
    assert text.startswith("Persistent connections are left open\n====")
    assert 'SILENCED_SYSTEM_CHECKS = ["asgi.101"]' in text
    assert "# asgi: ignore[101]" in text


# ------------------------------------------------------------------ without --probe nothing is driven


def test_without_probe_no_view_is_called_and_no_query_is_made(site: Site) -> None:
    site.append(
        "mysite/urls",
        """
        from django.core.signals import request_started
        from django.db.backends.signals import connection_created
        request_started.connect(lambda **kwargs: 1 / 0, weak=False)
        connection_created.connect(lambda **kwargs: 1 / 0, weak=False)
        """,
    )
    check(site)
    assert not (site.folder / "db.sqlite3").exists()


def test_a_url_without_probe_is_a_usage_error() -> None:
    with pytest.raises(CommandError, match="checkasgi --probe --url"):
        call_command("checkasgi", url=["/shop/"])
    with pytest.raises(CommandError, match="checkasgi --probe --ws-url"):
        call_command("checkasgi", ws_url=["/chat/"])


def test_the_probe_confirms_what_is_known_of_a_line_and_adds_the_rest(site: Site) -> None:
    found = report(site, "--skip-checks", "--probe", "--url", "/broken", "--url", "/", status=1)
    assert list(found) == ["version", "project", "findings", "summary", "probe"]
    assert list(found["probe"]) == ["host", "lifespan", "requests", "notes"]
    (finding,) = found["findings"]
    assert (finding["id"], finding["file"]) == ("asgi.701", "mysite/urls.py")
    assert {each["url"] for each in found["probe"]["requests"] if each["purpose"] == "url"} == {"/broken", "/"}


# ------------------------------------------------------------------ silencing


def test_findings_are_silenced_by_setting_and_by_comment(site: Site) -> None:
    site.write("mysite/feed", SSE.replace('stream")', 'stream")  # asgi: ignore[sse-headers] behind Caddy'))
    site.append("mysite/urls", "import mysite.feed\n")
    site.append("mysite/settings", "SECURE_SSL_REDIRECT = True\nSILENCED_SYSTEM_CHECKS = ['asgi.115']\n")
    found = report(site, "--skip-checks")
    assert found["findings"] == []
    assert found["summary"]["silenced"] == 2


# ------------------------------------------------------------------ what can't be checked


def test_options_are_those_of_runasgi_with_the_same_errors(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'BIDN': ['8000']}")
    message = 'CommandError: settings.ASGI_DEPLOY["BIDN"]: there is no such option; did you mean BIND?\n'
    assert check(site, status=2).stderr == message
    assert "2 problems in the configuration:\n  - " in check(site, "--handler", "fast", status=2).stderr


def test_settings_environment_and_command_line_are_honoured(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'THREADS': 3, 'BIND': ['8001']}")
    found = report(site, "--skip-checks", "--handler", "django", ASGI_DEPLOY_THREADS="4")["project"]
    assert (found["handler"], found["threads"]) == ("django", 4)


def test_an_application_that_can_not_be_imported_is_a_finding_and_the_rest_is_checked(site: Site) -> None:
    """It can't be driven, which is told beside the report."""
    site.append("mysite/asgi", "1 / 0\n")
    site.append("mysite/settings", "SESSION_ENGINE = 'django.contrib.sessions.backends.file'\n")
    result = check(site, "--format", "json", "--skip-checks", "--probe", status=2)
    found = json.loads(result.stdout)
    assert [each["id"] for each in found["findings"]] == ["asgi.001", "asgi.110"]
    assert found["findings"][0]["message"].endswith("ZeroDivisionError: division by zero")
    assert "CommandError: The application can't be driven, because it can't be loaded." in result.stderr
    assert "Traceback" not in result.stderr


def test_djangos_own_checks_are_part_of_the_report_unless_skipped(site: Site) -> None:
    site.append("mysite/urls", "handler404 = 'mysite.urls.nothing'")
    assert "urls.E008: The custom handler404 view" in check(site, status=1).stdout


def test_a_urlconf_that_can_not_be_imported_can_not_be_checked(site: Site) -> None:
    site.append("mysite/urls", "import nothing_of_this_name\n")
    result = check(site, status=2)
    assert "CommandError: The URLconf mysite.urls can't be loaded:" in result.stderr
    assert "Traceback" not in result.stderr


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
    message = check(site, "--probe", status=2).stderr
    assert "not every database is on this machine: far (oracle at db.example.com)" in message
    assert "checkasgi --probe --yes" in message
    check(site, "--probe", "--yes", "--url", "/")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--probe", "--url", "shop"),
        ("--probe", "--ws-url", "chat"),
        ("--timeout", "0"),
        ("--timeout", "soon"),
        ("--form", "json"),
        ("--fail-level", "bad"),
        ("--explain", "nothing"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises((CommandError, SystemExit)) as raised:
        Command().run_from_argv(["manage.py", "checkasgi", *arguments])
    assert 2 in (getattr(raised.value, "code", None), getattr(raised.value, "returncode", None))


# ------------------------------------------------------------------ through Django


def test_migrate_works_on_a_project_full_of_findings(site: Site) -> None:
    """Also on one that can't be served at all: that is a warning there, and an error in ``check --deploy``."""
    site.append(
        "mysite/settings",
        """
        ASGI_APPLICATION = "mysite.nothing.application"
        DATABASES["default"]["CONN_MAX_AGE"] = 60
        SESSION_ENGINE = "django.contrib.sessions.backends.file"
        ASGI_DEPLOY = {"HANDLER": "django"}
        """,
    )
    migrated = manage(site, "migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert "asgi.002" in migrated.stderr
    assert "asgi.101" not in migrated.stderr
    checked = manage(site, "check", "--deploy", "--tag", "asgi")
    assert checked.returncode == 1
    ids = set(re.findall(r"asgi\.\d{3}", checked.stderr))
    assert {"asgi.002", "asgi.101", "asgi.110"} <= ids
    assert "security." not in checked.stderr
    assert manage(site, "check").returncode == 0
