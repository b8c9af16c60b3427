"""The entry point: what goes wrong between the server and the application."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from django_asgi_deploy.checks import entry
from django_asgi_deploy.checks.entry_import import import_plainly
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.importer import Found
from tests.checks.sites import inspected
from tests.utils import Site

VARIABLE = "DJANGO_SETTINGS_MODULE"
STOCK = """
    import os
    from django.core.asgi import get_asgi_application
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
    application = get_asgi_application()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.delenv(VARIABLE, raising=False)
    return Site(tmp_path, mysite__asgi=STOCK)


def shown(findings: Iterator[Finding]) -> list[str]:
    return [
        f"{each.number:03} {each.level} {each.place.file if each.place else ''}:{each.place and each.place.line}"
        for each in findings
    ]


def imported(site: Site) -> list[Finding]:
    """What the import in a process of its own brings."""
    with inspected(site.folder, installs=False) as subject:
        return [*entry.check_import(subject)]


def seen(site: Site, application: Any = None, **fields: Any) -> list[str]:
    """What can be seen in one process."""
    with inspected(site.folder, application=application) as subject:
        return shown(entry.check(Inspected(**{**vars(subject), **fields})))


# ------------------------------------------------------------------ the import in a process of its own


def test_a_good_entry_point_has_no_findings(site: Site) -> None:
    assert imported(site) == []
    assert seen(site) == []


@pytest.mark.parametrize(
    "early",
    [
        "from django.contrib.auth.models import User",
        "import mysite.helpers",
    ],
)
def test_models_that_are_imported_too_early_are_found_at_their_line(site: Site, early: str) -> None:
    site.write("mysite/helpers", "from django.contrib.contenttypes.models import ContentType\n")
    site.write(
        "mysite/asgi",
        STOCK.replace(
            "import os\n", f"import os\n    os.environ.setdefault('{VARIABLE}', 'mysite.settings')\n    {early}\n"
        ),
    )
    (finding,) = imported(site)
    assert (finding.number, finding.level) == (1, "error")
    assert "AppRegistryNotReady: Apps aren't loaded yet." in finding.message
    assert finding.place is not None
    assert finding.place.file == ("mysite/helpers.py" if "helpers" in early else "mysite/asgi.py")


def test_an_entry_point_that_ends_the_process_is_found(site: Site) -> None:
    site.append("mysite/asgi", "import sys\nsys.exit(7)\n")
    (finding,) = imported(site)
    assert "with status 7" in finding.message


@pytest.mark.parametrize("text", ["", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.sttings')\n"])
def test_settings_that_nobody_names_or_that_do_not_exist_are_found(site: Site, text: str) -> None:
    site.write(
        "mysite/asgi",
        f"{text}from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
    )
    (finding,) = imported(site)
    assert (finding.number, finding.level) == (8, "error")
    assert 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "' in finding.hint


def test_what_the_import_brings_about_is_told(site: Site) -> None:
    """Threads and signal handlers in one finding; a query in ready() with its line."""
    site.append(
        "mysite/asgi",
        """
        import signal, threading
        threading.Thread(target=threading.Event().wait, name="poller").start()
        signal.signal(signal.SIGTERM, lambda *args: None)
        """,
    )
    site.append(
        "mysite/settings",
        """
        INSTALLED_APPS = ["mysite.apps.ShopConfig"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        """,
    )
    site.write(
        "mysite/apps",
        """
        from django.apps import AppConfig
        class ShopConfig(AppConfig):
            name = "mysite"
            def ready(self):
                from django.db import connection
                connection.cursor().execute("SELECT 1")
        """,
    )
    effects, query = imported(site)
    assert effects.number == 9
    assert "starts the thread 'poller'" in effects.message
    assert "replaces the handler of SIGTERM" in effects.message
    assert "connection" not in effects.message  # which the query says
    assert (query.number, query.place and query.place[:2]) == (10, ("mysite/apps.py", 7))


PATCHERS = {
    "gevent/__init__": "",
    "gevent/monkey": """
        patched = set()
        def patch_all(): patched.add("socket")
        def is_module_patched(name): return name in patched
    """,
    "eventlet/__init__": """
        from . import patcher
        def monkey_patch(**which): patcher.patched.update(name for name in which if which[name])
    """,
    "eventlet/patcher": """
        patched = set()
        def is_monkey_patched(name): return name in patched
    """,
}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("from gevent import monkey\nmonkey.patch_all()", ["011 error mysite/asgi.py:7"]),
        ("import eventlet\neventlet.monkey_patch(socket=True)", ["011 error mysite/asgi.py:7"]),
        ("import gevent.monkey", []),
        ("import eventlet\neventlet.monkey_patch(socket=False, thread=True)", []),
    ],
)
def test_patched_sockets_are_found(site: Site, lines: str, expected: list[str]) -> None:
    for name, text in PATCHERS.items():
        site.write(name, text)
    site.append("mysite/asgi", f"{lines}\n")
    with inspected(site.folder, "mysite.asgi", installs=False) as subject:
        assert shown(entry.check_import(subject)) == expected
    for name in [each for each in sys.modules if each.partition(".")[0] in ("gevent", "eventlet")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "line",
    [
        "queries = 'nothing: ' and __import__('signal').signal(10, print)",
        "import asyncio\nclass Policy(asyncio.DefaultEventLoopPolicy): ...\nasyncio.set_event_loop_policy(Policy())",
    ],
)
def test_one_thing_that_the_import_brings_about_is_told(site: Site, line: str) -> None:
    site.append("mysite/asgi", f"{line}\n")
    assert [each.number for each in imported(site)] == [9]


def test_threads_that_end_with_the_process_are_fine(site: Site) -> None:
    site.append(
        "mysite/asgi",
        """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        done = threading.Thread(target=int)
        done.start()
        done.join()
        """,
    )
    assert imported(site) == []


@pytest.mark.parametrize("path", ["mysite.asgi.app", "mysite.routing.application"])
def test_an_application_that_is_not_there_is_no_failing_import(site: Site, path: str) -> None:
    """It is one finding, 002, that says what there is."""
    site.append("mysite/settings", f"ASGI_APPLICATION = {path!r}\n")
    with inspected(site.folder, installs=False) as subject:
        missing = Inspected(**{**vars(subject), "found": Found(path, "settings.ASGI_APPLICATION")})
        assert [*entry.check_import(missing)] == []
        assert [each.number for each in entry.application(missing)] == [2]


def test_an_import_that_takes_for_ever_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.append("mysite/asgi", "import threading\nthreading.Event().wait()\n")
    monkeypatch.syspath_prepend(str(site.folder))
    with inspected(site.folder) as subject:
        assert subject.found is not None
        failure = import_plainly(subject.found, {}, 2.0).failure
    assert failure is not None
    assert failure.error == "it isn't done after 2 seconds"


# ------------------------------------------------------------------ in one process


WHITENOISE = """
    class WhiteNoise:
        def __call__(self, environ, start_response): ...
    application = WhiteNoise()
"""
ASGI_2_CLASS = """
    class Application:
        def __init__(self, scope): ...
        async def __call__(self, receive, send): ...
    application = Application
"""
ASGI_2_FUNCTION = """
    def application(scope):
        async def instance(receive, send): ...
        return instance
"""
OBJECT = """
    class Application:
        async def __call__(self, scope, receive, send): ...
    application = Application()
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from django.core.wsgi import WSGIHandler\napplication = WSGIHandler()\n", "003 error mysite/asgi.py:2"),
        (WHITENOISE, "003 error mysite/asgi.py:4"),
        ("application = 'mysite'\n", "003 error mysite/asgi.py:1"),
        ("from django.core.asgi import get_asgi_application as application\n", "004 error :None"),
        ("def make():\n    return None\napplication = make\n", "004 error mysite/asgi.py:3"),
        (ASGI_2_CLASS, "005 error mysite/asgi.py:5"),
        (ASGI_2_FUNCTION, "005 error :None"),
        ("import os\napp = 1\n", "002 error :None"),
        ("async def application(scope, receive, send): ...\n", None),
        (OBJECT, None),
    ],
)
def test_what_is_no_application_is_told_from_what_is_one(site: Site, text: str, expected: str | None) -> None:
    site.write("mysite/asgi", text)
    site.remove("manage")
    assert seen(site) == ([expected] if expected else [])


def test_a_project_without_asgi_py_is_told_so(site: Site) -> None:
    assert seen(site, found=None) == ["002 info :None"]


@pytest.mark.parametrize("path", ["mysite.asgy.application", "nothing.asgi:application"])
def test_an_asgi_application_that_is_no_module_is_found_without_importing(site: Site, path: str) -> None:
    site.append("mysite/settings", f"ASGI_APPLICATION = {path!r}\n")
    with inspected(site.folder) as subject:
        assert shown(entry.check_plainly(subject)) == ["002 error mysite/settings.py:8"]
        assert "mysite.asgi" not in sys.modules


def test_an_asgi_application_that_is_a_module_is_fine(site: Site) -> None:
    site.append("mysite/settings", "ASGI_APPLICATION = 'mysite.asgi.application'\n")
    with inspected(site.folder) as subject:
        assert shown(entry.check_plainly(subject)) == []


@pytest.mark.parametrize(("debug", "level"), [("False", "error"), ("True", "warning")])
def test_other_settings_in_manage_py_than_in_asgi_py_are_found(site: Site, debug: str, level: str) -> None:
    site.write("mysite/production", f"from mysite.settings import *\nDEBUG = {debug}\n")
    site.write("mysite/asgi", STOCK.replace("mysite.settings", "mysite.production"))
    assert seen(site) == [f"006 {level} mysite/asgi.py:4"]


def test_other_settings_in_wsgi_py_are_told(site: Site) -> None:
    site.write("mysite/wsgi", STOCK.replace("asgi", "wsgi").replace("mysite.settings", "mysite.other"))
    assert seen(site) == ["006 info mysite/asgi.py:4"]


@pytest.mark.parametrize(
    "line",
    [
        'os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"',
        "os.environ['DJANGO_SETTINGS_MODULE'] = os.getenv('SETTINGS', 'mysite.settings')",
        "os.environ.update({'DJANGO_SETTINGS_MODULE': 'mysite.settings'})",
        "os.environ.update(DJANGO_SETTINGS_MODULE='mysite.settings')",
        "os.environ |= {'LANG': 'C', 'DJANGO_SETTINGS_MODULE': 'mysite.settings'}",
        "from os import environ as env; env['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'",
    ],
)
def test_a_forced_settings_module_is_found(site: Site, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "mysite.settings")
    site.write("mysite/asgi", f"import os\n{line}\nasync def application(scope, receive, send): ...\n")
    assert [each for each in forced(site) if each.startswith("007")] == ["007 warning mysite/asgi.py:2"]


def forced(site: Site) -> list[str]:
    with inspected(site.folder, "mysite.asgi") as subject:
        return shown(entry.forced_settings(subject))


@pytest.mark.parametrize(
    "line",
    [
        "if 'DJANGO_SETTINGS_MODULE' not in os.environ: os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'",
        "if not os.getenv('DJANGO_SETTINGS_MODULE'): os.environ.update(DJANGO_SETTINGS_MODULE='mysite.settings')",
        "os.environ.update(LANG='C'); {}.update(DJANGO_SETTINGS_MODULE='mysite.settings')",
    ],
)
def test_a_settings_module_that_is_set_where_there_is_none_is_fine(
    site: Site, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "mysite.settings")
    site.write("mysite/asgi", f"import os\n{line}\nasync def application(scope, receive, send): ...\n")
    assert forced(site) == []


@pytest.mark.parametrize(("debug", "expected"), [("False", ["012 warning mysite/asgi.py:5"]), ("True", [])])
def test_the_handler_of_development_is_found_in_production(site: Site, debug: str, expected: list[str]) -> None:
    site.append("mysite/settings", f"DEBUG = {debug}\n")
    assert seen(site, ASGIStaticFilesHandler.__new__(ASGIStaticFilesHandler)) == expected


def handler_of_development() -> ASGIStaticFilesHandler:
    return ASGIStaticFilesHandler.__new__(ASGIStaticFilesHandler)


class Router:
    """As Channels' ProtocolTypeRouter."""

    def __init__(self, **mapping: Any) -> None:
        self.application_mapping = mapping

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def logged(app: Any) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return application


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [
        (lambda app: Router(http=app), ["012 warning mysite/asgi.py:5"]),
        (lambda app: logged(Router(websocket=logged(None), http=logged(app))), ["012 warning mysite/asgi.py:5"]),
        (lambda app: logged(ASGIStaticFilesHandler), []),
        (lambda app: Router(http=logged(None)), []),
    ],
)
def test_the_handler_of_development_is_found_inside_of_others(site: Site, wrap: Any, expected: list[str]) -> None:
    site.append("mysite/settings", "DEBUG = False\n")
    assert seen(site, wrap(handler_of_development())) == expected
