"""How the site is started, and the server underneath: files of the deployment, sources, versions, proxies."""

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from django_asgi_deploy.checks import deployment, server, settings_databases, settings_http, settings_services
from django_asgi_deploy.checks.finding import Finding
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.server import cpus
from tests.checks.sites import inspected
from tests.utils import Site

Family = Callable[[Inspected], Iterable[Finding]]
MIXED_URLS = """
    from django.http import HttpResponse
    from django.urls import path

    def stock(request):
        return HttpResponse("5")

    async def prices(request):
        return HttpResponse("7")

    urlpatterns = [path("stock/", stock), path("prices/", prices)]
"""
STREAM = """
    from django.http import StreamingHttpResponse
    from django.http import StreamingHttpResponse as Stream

    async def ticks():
        yield "data: 1"

    def orders(request):
        return StreamingHttpResponse(ticks(), content_type="text/event-stream")

    class Feed:
        async def get(self, request):
            return StreamingHttpResponse(ticks(), 200, "OK", "text/event-stream; charset=utf-8")

    EVENTS = "text/event-stream"
    CSV = "text/csv"

    async def named(request):
        response = StreamingHttpResponse(ticks(), content_type=EVENTS)
        response["Cache-Control"] = "no-cache"
        return response

    async def plain(request):
        return StreamingHttpResponse(ticks(), content_type=CSV)

    async def unbuffered(request):
        response = StreamingHttpResponse(ticks(), content_type="text/event-stream")
        response["X-Accel-Buffering"] = "no"
        return response
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, mysite__urls=MIXED_URLS)


def write(site: Site, name: str, text: str) -> None:
    file = site.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def found(site: Site, family: Family, *modules: str, application: Any = None, **options: Any) -> list[str]:
    with inspected(site.folder, "mysite.urls", *modules, application=application, **options) as subject:
        return [
            f"{each.number:03} {each.level} {each.place.file}:{each.place.line}"
            if each.place
            else f"{each.number:03} {each.level}"
            for each in family(subject)
        ]


# ------------------------------------------------------------------ files of the deployment


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Procfile", "release: python manage.py migrate\nweb: gunicorn mysite.asgi -k uvicorn.workers.UvicornWorker\n", "507 warning Procfile:2"),  # noqa: E501
        ("gunicorn.conf.py", "bind = '0.0.0.0:8000'\nworker_class = 'uvicorn.workers.UvicornH11Worker'\n", "507 warning gunicorn.conf.py:2"),  # noqa: E501
        ("Dockerfile", 'FROM python:3.13\nCMD ["gunicorn", "--bind", ":8000", "mysite.wsgi:application"]\n', "508 warning Dockerfile:2"),  # noqa: E501
        ("deploy/uwsgi.ini", "[uwsgi]\nmodule = mysite.wsgi:application\n", "508 warning deploy/uwsgi.ini:2"),
        ("systemd/mysite.service", "[Service]\nExecStart=/venv/bin/uvicorn mysite.asgi:application \\\n  --reload --port 8000\n", "509 warning systemd/mysite.service:2"),  # noqa: E501
        ("Dockerfile", 'CMD ["python", "manage.py", "runserver", "0.0.0.0:8000"]\n', "509 warning Dockerfile:1"),
        ("compose.yaml", "services:\n  web:\n    environment:\n      PYTHONASYNCIODEBUG: 1\n", "509 warning compose.yaml:4"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_a_file_of_the_deployment_has_wrong_is_found_at_its_line(
    site: Site, name: str, text: str, expected: str
) -> None:
    write(site, name, text)
    assert found(site, deployment.check) == [expected]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Procfile", "web: python manage.py runasgi\n"),
        ("Procfile", "# once: gunicorn mysite.wsgi -k uvicorn.workers.UvicornWorker --reload\nweb: python manage.py runasgi\n"),  # noqa: E501
        ("gunicorn.conf.py", "worker_class = 'uvicorn_worker.UvicornWorker'\nreload = False\n"),
        ("Dockerfile", 'RUN pip install gunicorn uvicorn\nCMD ["gunicorn", "mysite.asgi:application"]\n'),
        ("docker-compose.override.yml", "services:\n  web:\n    command: python manage.py runserver 0.0.0.0:8000\n"),
        ("compose.dev.yaml", "command: uvicorn mysite.asgi:application --reload\n"),
        ("notes.txt", "gunicorn mysite.wsgi --reload\n"),
        ("systemd/mysite.service", "[Service]\nExecStart=/venv/bin/uvicorn mysite.asgi:application --reload-delay-none\n"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_right_or_not_for_production_is_not_reported(site: Site, name: str, text: str) -> None:
    write(site, name, text)
    assert found(site, deployment.check) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("k8s/web.yaml", 'args:\n  - "--worker-class"\n  - "uvicorn.workers.UvicornWorker"\n'),
        ("config/gunicorn.py", "import os\n\nfrom uvicorn.workers import UvicornWorker\n"),
    ],
)
def test_the_old_worker_is_found_in_manifests_and_imports(site: Site, name: str, text: str) -> None:
    write(site, name, text)
    assert found(site, deployment.check) == [f"507 warning {name}:3"]
    write(site, "notes/web.yaml", text)
    assert len(found(site, deployment.check)) == 1


def test_all_that_start_wsgi_are_one_finding(site: Site) -> None:
    write(site, "Dockerfile", 'CMD ["gunicorn", "mysite.wsgi:application"]\n')
    write(site, "uwsgi.ini", "[uwsgi]\nmodule = mysite.wsgi:application\n")
    with inspected(site.folder, "mysite.urls") as subject:
        (finding,) = deployment.wsgi(subject)
    assert str(finding.place) == "Dockerfile:1"
    assert finding.chain == ("uwsgi.ini:2: so does this",)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("uvicorn mysite.asgi:application --host 0.0.0.0", ["505 warning Procfile:1"]),
        ('["uvicorn", "mysite.asgi:application"]', ["505 warning Procfile:1"]),
        ("uvicorn mysite.asgi:application --timeout-graceful-shutdown 20", []),
        ("pip install uvicorn", []),
        ("python manage.py runasgi", []),
    ],
)
def test_a_shutdown_without_limit_is_found_where_there_are_streams(
    site: Site, command: str, expected: list[str]
) -> None:
    site.write("mysite/feed", STREAM)
    write(site, "Procfile", f"web: {command}\n")
    assert found(site, deployment.check, "mysite.feed") == expected
    assert found(site, deployment.check) == []


EXPORT = """
    from django.http import StreamingHttpResponse
    def export(request):
        return StreamingHttpResponse((f"{row},\\n" for row in range(10)), content_type="text/csv")
"""


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "compose.yml",
            "services:\n  web:\n    command:\n      - uvicorn\n      - mysite.asgi:application\n      - --port=80\n",
            4,
        ),
        ("k8s/web.yaml", 'spec:\n  - command: ["uvicorn"]\n    args: ["mysite.asgi:application", "--port", "80"]\n', 2),
        (
            "compose.prod.yml",
            "services:\n  web:\n    command: >\n      uvicorn mysite.asgi:application\n      --workers 4\n",
            4,
        ),
        ("start.sh", "#!/bin/sh\nset -e\nexec python -m uvicorn \\\n  mysite.asgi:application \\\n  --workers 4\n", 3),
        ("mysite.service", "[Service]\nExecStart=/srv/venv/bin/uvicorn mysite.asgi:application --uds /run/a.sock\n", 2),
        ("supervisord.conf", "[program:web]\ncommand=uvicorn --factory mysite.asgi:make\n", 2),
        ("serve.py", "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('mysite.asgi:application')\n", 3),
        ("bin/web.py", "import uvicorn\nserver = uvicorn.Server(uvicorn.Config(app, port=80))\n", 2),
    ],
)
def test_a_shutdown_without_limit_is_found_however_uvicorn_is_started(
    site: Site, name: str, text: str, line: int
) -> None:
    site.write("mysite/feed", STREAM)
    write(site, name, text)
    assert found(site, deployment.endless_shutdown, "mysite.feed") == [f"505 warning {name}:{line}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "compose.yml",
            "command:\n  - uvicorn\n  - mysite.asgi:application\n  - --timeout-graceful-shutdown\n  - '20'\n",
        ),
        ("Dockerfile", "ENV UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=20\nCMD uvicorn mysite.asgi:application\n"),
        ("start.sh", 'echo "uvicorn mysite.asgi:application starts"\nexec gunicorn mysite.asgi:application\n'),
        ("run.sh", 'exec uvicorn mysite.asgi:application "$@"\n'),
        ("serve.sh", "uvicorn mysite.asgi:application $UVICORN_OPTS\n"),
        ("start-web.sh", "uvicorn mysite.asgi:application --reload\n"),
        ("serve.py", "import uvicorn\nuvicorn.run('mysite.asgi:application', **options)\n"),
        ("debug.py", "import uvicorn\nuvicorn.run('mysite.asgi:application', reload=True)\n"),
        ("prod.py", "import uvicorn\nuvicorn.run('mysite.asgi:application', timeout_graceful_shutdown=9)\n"),
        ("web.service", "ExecStart=/venv/bin/hypercorn mysite.asgi:application\n"),
        ("compose.dev.yml", "command: uvicorn mysite.asgi:application\n"),
    ],
)
def test_a_shutdown_with_a_limit_or_of_something_else_is_not(site: Site, name: str, text: str) -> None:
    site.write("mysite/feed", STREAM)
    write(site, name, text)
    assert found(site, deployment.endless_shutdown, "mysite.feed") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STREAM, True),
        ("from channels.generic.websocket import AsyncJsonWebsocketConsumer\n", True),
        ('async def app(scope, receive, send):\n    await send({"type": "websocket.accept"})\n', True),
        ("from django_eventstream import send_event\n", True),
        (
            "from django.http import StreamingHttpResponse\nasync def lines():\n    while True:\n        yield ''\n"
            "async def tail(request):\n    return StreamingHttpResponse(lines())\n",
            True,
        ),
        (EXPORT, False),
        ("from django.http import FileResponse\ndef file(request):\n    return FileResponse(open('a', 'rb'))\n", False),
        ("# a WebsocketConsumer would be nice\n", False),
        ("def poll():\n    while True:\n        return 1\n", False),
    ],
)
def test_what_stays_open_is_told_from_what_comes_to_its_end(site: Site, text: str, expected: bool) -> None:
    site.write("mysite/open", text)
    write(site, "Procfile", "web: uvicorn mysite.asgi:application\n")
    with inspected(site.folder, "mysite.urls") as subject:
        module = ModuleType("mysite.open")
        module.__file__ = str(site.folder / "mysite/open.py")
        assert bool(deployment._first_open_ended([module])) is expected
        assert subject.root == site.folder


READS = [
    'request.META["REMOTE_ADDR"]',
    "request.META['REMOTE_ADDR']",
    'meta["REMOTE_ADDR"] if meta else None',
]
READS_WITH_CARE = [
    "request.META.get('REMOTE_ADDR')",
    'meta["REMOTE_ADDR"] if "REMOTE_ADDR" in meta else None',
    'request.headers["REMOTE_ADDR"]',
]


def reading(expression: str) -> str:
    return f"def address(request):\n    meta = request.META\n    return {expression}\n"


@pytest.mark.parametrize("expression", READS)
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mysite.service", "ExecStart=/venv/bin/gunicorn mysite.asgi --bind unix:/run/mysite.sock\n"),
        ("Procfile", "web: uvicorn mysite.asgi:application --uds /run/mysite.sock\n"),
    ],
)
def test_the_address_is_missing_behind_a_unix_socket(site: Site, name: str, command: str, expression: str) -> None:
    site.write("mysite/limits", reading(expression))
    assert found(site, deployment.check, "mysite.limits") == []
    write(site, name, command)
    expected = ["510 warning mysite/limits.py:3"]
    assert [each for each in found(site, deployment.check, "mysite.limits") if each[:3] == "510"] == expected


@pytest.mark.parametrize("expression", READS_WITH_CARE)
def test_an_address_that_may_be_missing_is_fine(site: Site, expression: str) -> None:
    site.write("mysite/limits", reading(expression))
    write(site, "mysite.service", "ExecStart=/venv/bin/gunicorn mysite.asgi --bind unix:/run/mysite.sock\n")
    assert found(site, deployment.check, "mysite.limits") == []


def test_a_missing_address_may_be_expected(site: Site) -> None:
    site.write(
        "mysite/limits",
        "def address(request):\n    try:\n        return request.META['REMOTE_ADDR']\n    except KeyError: pass\n",
    )
    write(site, "mysite.service", "ExecStart=/venv/bin/gunicorn mysite.asgi --bind unix:/run/mysite.sock\n")
    assert found(site, deployment.check, "mysite.limits") == []


def test_runasgi_gives_every_client_an_address(site: Site) -> None:
    site.write("mysite/limits", reading(READS[0]))
    write(site, "mysite.service", "ExecStart=/venv/bin/python manage.py runasgi --bind unix:/run/mysite.sock\n")
    assert found(site, deployment.check, "mysite.limits", bind=["unix:/run/mysite.sock"]) == []


@pytest.mark.parametrize(
    ("name", "text", "workers"),
    [
        ("Procfile", "web: gunicorn mysite.asgi --workers 4 -k uvicorn_worker.UvicornWorker\n", 4),
        ("Procfile", "web: uvicorn mysite.asgi:application --workers=3\n", 3),
        ("Dockerfile", 'ENV WEB_CONCURRENCY=6\nCMD ["gunicorn", "-w", "2", "mysite.asgi"]\n', 6),
        ("gunicorn.conf.py", "workers = 5\nworker_connections = 1000\n", 5),
        ("gunicorn.conf.py", "workers = multiprocessing.cpu_count()\n", 1),
        ("Procfile", "web: python manage.py runasgi -w\n", 1),
        ("Procfile", "web: python manage.py runasgi --workers auto\n", max(2, cpus.count()[0])),
        ("mysite.service", "Environment=ASGI_DEPLOY_WORKERS=auto\n", max(2, cpus.count()[0])),
        ("Procfile", "web: python manage.py runasgi --workers automatic\n", 1),
    ],
)
def test_workers_are_those_that_the_deployment_starts(site: Site, name: str, text: str, workers: int) -> None:
    write(site, name, text)
    with inspected(site.folder) as subject:
        assert subject.workers == workers


# ------------------------------------------------------------------ the server


def test_streams_of_events_that_a_proxy_would_hold_back_are_found(site: Site) -> None:
    site.write("mysite/feed", STREAM)
    lines = (9, 19, 13)
    assert found(site, server.check, "mysite.feed") == [f"512 warning mysite/feed.py:{line}" for line in lines]


def test_a_middleware_of_the_project_may_set_the_header_for_all_streams(site: Site) -> None:
    site.write("mysite/feed", STREAM)
    site.write("mysite/headers", "def unbuffered(get_response):\n    '''Sets X-Accel-Buffering.'''\n")
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.headers.unbuffered']\n")
    assert found(site, server.check, "mysite.feed", "mysite.headers") == []


@pytest.mark.parametrize("trusted", [["*"], ["10.0.0.1", "*"]])
def test_trusting_everybody_is_found_where_everybody_gets_in(site: Site, trusted: list[str]) -> None:
    assert found(site, server.check, bind=["0.0.0.0:8000"], trusted_proxies=trusted) == ["503 warning"]
    behind = ["unix:/run/a.sock", "127.0.0.1:80", "[::1]:80"]
    assert found(site, server.check, bind=behind, trusted_proxies=trusted) == []
    assert found(site, server.check, bind=["0.0.0.0:8000"], trusted_proxies=["10.0.0.1"]) == []


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Somebody's."""


def test_threads_without_limit_are_found_under_djangos_handler_and_foreign_applications(site: Site) -> None:
    assert found(site, server.check, application=application) == ["504 warning"]
    assert found(site, server.check, application=application, uvicorn={"limit_concurrency": 50}) == []
    assert found(site, server.check) == []
    site.write("mysite/urls", MIXED_URLS.replace('path("stock/", stock), ', ""))
    assert found(site, server.check, application=application) == []


class Wrapper:
    """Around somebody's."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


SYNC_ONLY = "def slow(get_response):\n    return lambda request: get_response(request)\n"
ASYNC_URLS = MIXED_URLS.replace('path("stock/", stock), ', "")
LIMITED = """
    import asyncio

    class Limit:
        def __init__(self, app):
            self.app = app
            self.places = asyncio.BoundedSemaphore(100)
        async def __call__(self, scope, receive, send):
            async with self.places:
                await self.app(scope, receive, send)

    async def inner(scope, receive, send): ...
    application = Limit(inner)
"""


@pytest.mark.parametrize(
    "make",
    [
        lambda site: get_asgi_application(),
        lambda site: ASGIStaticFilesHandler(get_asgi_application()),
        lambda site: Wrapper(get_asgi_application()),
        lambda site: functools.partial(application),
        lambda site: (write(site, "Procfile", "web: uvicorn mysite.asgi:application --workers 4\n"), application)[1],
        lambda site: (write(site, "serve.py", "import uvicorn\nuvicorn.run('a.asgi:app', port=80)\n"), application)[1],
    ],
)
def test_threads_without_limit_are_found_in_all_kinds_of_applications(site: Site, make: Any) -> None:
    site.append("mysite/settings", "STATIC_URL = '/static/'\n")
    with inspected(site.folder, "mysite.urls") as subject:
        subject = replace(subject, application=make(site))
        assert [finding.number for finding in server.unlimited_threads(subject)] == [504]


def test_threads_without_limit_are_found_behind_synchronous_middleware(site: Site) -> None:
    """It holds a thread for each request, also of an asynchronous view."""
    site.write("mysite/urls", ASYNC_URLS)
    site.write("mysite/middleware", SYNC_ONLY)
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.slow']\n")
    assert found(site, server.check, application=application) == ["504 warning"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Procfile", "web: uvicorn mysite.asgi:application --limit-concurrency 200\n"),
        ("Dockerfile", 'CMD ["uvicorn", "mysite.asgi:application", "--limit-concurrency", "100"]\n'),
        ("compose.yml", "services:\n  web:\n    environment:\n      UVICORN_LIMIT_CONCURRENCY: 100\n"),
        ("k8s/web.yaml", "args:\n  - uvicorn\n  - mysite.asgi:application\n  - --limit-concurrency=50\n"),
        ("serve.py", "import uvicorn\nuvicorn.run('mysite.asgi:application', limit_concurrency=64)\n"),
        ("web.service", "ExecStart=/venv/bin/granian --interface asgi --backpressure 64 mysite.asgi:application\n"),
    ],
)
def test_a_limit_in_a_file_of_the_deployment_counts(site: Site, name: str, text: str) -> None:
    write(site, name, text)
    assert found(site, server.check, application=application) == []


def test_a_limit_that_the_project_has_around_the_application_counts(site: Site) -> None:
    site.write("mysite/limited", LIMITED)
    with inspected(site.folder, "mysite.urls", "mysite.limited") as subject:
        subject = replace(subject, application=sys.modules["mysite.limited"].application)
        assert [*server.unlimited_threads(subject)] == []


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("import threading\nstate = threading.local()\n", ["513 info"]),
        ("from threading import Lock, local\nstate = local()\n", ["513 info"]),
        (
            "try: from asgiref.local import Local as L\nexcept ImportError:\n    from threading import local as L\n",
            [],
        ),
        ("from threading import local as Local\nstate = Local()\n", ["513 info"]),
    ],
)
def test_packages_with_thread_locals_are_told(
    site: Site, module: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where they take asgiref's, if it is there."""
    folder = site.folder / "site-packages"
    (folder / "kept").mkdir(parents=True)
    (folder / "kept" / "__init__.py").write_text("")
    (folder / "kept" / "models.py").write_text(module)
    monkeypatch.syspath_prepend(str(folder))
    site.append("mysite/settings", "INSTALLED_APPS.append('kept')\n")
    try:
        assert found(site, server.check, "kept.models") == expected
    finally:
        for name in ("kept", "kept.models"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("installed", "wanted", "violated"),
    [
        ("3.8.1", ">=3.9.1,<4", ">=3.9.1"),
        ("4.0", ">=3.9.1,<4", "<4"),
        ("3.9.1", ">=3.9.1,<4", None),
        ("3.13.0", ">=3.9.1,<4", None),
        ("5.2b1", ">=5.2", None),
        ("1.2.3", "!=1.2.3,~=1.2", None),
    ],
)
def test_a_version_beyond_its_bounds_is_told_from_one_within(installed: str, wanted: str, violated: str | None) -> None:
    assert server._violated(installed, wanted) == violated


def test_the_versions_installed_here_fit(site: Site) -> None:
    assert [each for each in found(site, server.check) if each.startswith("511")] == []


def numbers(site: Site, number: int, *modules: str, application: Any = None, **options: Any) -> list[Finding]:
    with inspected(site.folder, "mysite.urls", *modules, application=application, **options) as subject:
        return [each for each in server.check(subject) if each.number == number]


@pytest.mark.parametrize(
    ("package", "requirement", "expected"),
    [
        ("Django", "asgiref>=99", "asgiref"),
        ("channels", "Django (<1.0)", "Django"),
        ("channels", 'asgiref>=99 ; extra == "tests"', None),
        ("channels", "Django>=4.2", None),
    ],
)
def test_what_an_installed_package_wants_is_looked_at(
    site: Site, package: str, requirement: str, expected: str | None
) -> None:
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 99.0\nRequires-Dist: {requirement}\n"
    write(site, f"{package}-99.0.dist-info/METADATA", metadata)
    assert [each.object for each in numbers(site, 511)] == ([expected] if expected else [])


@pytest.mark.parametrize("number", range(3))
def test_installed_packages_with_state_by_thread_are_listed(
    site: Site, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import threading\n_user = threading.local()\n",
        "from threading import Lock, local\nclass State(local): ...\n",
        "from asgiref.local import Local\n_user = Local()  # not a threading local\n",
    )[number]
    package = f"current_user_{number}"
    write(site, f"venv/site-packages/{package}/__init__.py", "")
    write(site, f"venv/site-packages/{package}/state.py", text)
    site.append("mysite/settings", f"INSTALLED_APPS = [{package!r}]\n")
    monkeypatch.syspath_prepend(str(site.folder / "venv/site-packages"))
    expected = [package] if number < 2 else []
    assert [each.object for each in numbers(site, 513, f"{package}.state")] == expected


def test_state_by_thread_of_the_project_itself_is_not_in_that_list(site: Site) -> None:
    site.write("mysite/state", "import threading\nstate = threading.local()\n")
    assert found(site, server.check, "mysite.state") == []


# ------------------------------------------------------------------ what is installed for the server


def not_installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    find_spec = server.find_spec
    monkeypatch.setattr(server, "find_spec", lambda name: None if name in names else find_spec(name))


class ProtocolTypeRouter:
    """As Channels has it."""

    __module__ = "channels.routing"

    def __init__(self, **mapping: Any) -> None:
        self.application_mapping = mapping

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("application", "options", "missing", "expected"),
    [
        (None, {"websocket": "mysite.chat.application"}, ("websockets", "wsproto"), 1),
        (ProtocolTypeRouter(http=print, websocket=print), {}, ("websockets", "wsproto"), 1),
        (ProtocolTypeRouter(http=print), {}, ("websockets", "wsproto"), 0),
        (None, {}, ("websockets", "wsproto"), 0),
        (ProtocolTypeRouter(http=print, websocket=print), {}, (), 0),
    ],
)
def test_websockets_without_a_library_for_them_are_found(
    site: Site, monkeypatch: pytest.MonkeyPatch, application: Any, options: Any, missing: tuple[str, ...], expected: int
) -> None:
    not_installed(monkeypatch, *missing)
    if not missing:
        monkeypatch.setattr(server, "find_spec", lambda name: object())
    assert len(numbers(site, 501, application=application, **options)) == expected


@pytest.mark.skipif(sys.platform == "win32" or sys.implementation.name != "cpython", reason="uvloop isn't for these")
@pytest.mark.parametrize(
    ("missing", "expected"),
    [(("uvloop",), ["uvloop"]), (("uvloop", "httptools"), ["uvloop, httptools"]), ((), [])],
)
def test_the_faster_parts_of_the_server_are_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], expected: list[str]
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None if name in missing else object())
    assert [each.object for each in numbers(site, 502)] == expected


# ------------------------------------------------------------------ settings that depend on URLs and sources


def test_atomic_requests_are_one_finding_that_lists_the_asynchronous_views(site: Site) -> None:
    site.append(
        "mysite/settings",
        """
        DATABASES = {
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "ATOMIC_REQUESTS": True},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        }
        """,
    )
    site.append(
        "mysite/urls",
        """
        from django.db import transaction
        from django.views import View

        class Late(View):
            async def get(self, request):
                return HttpResponse("")

        @transaction.non_atomic_requests
        async def free(request):
            return HttpResponse("")

        @transaction.non_atomic_requests(using="other")
        async def free_of_another(request):
            return HttpResponse("")

        urlpatterns += [
            path("late/", Late.as_view()), path("free/", free), path("shop/", free_of_another),
        ]
        """,
    )
    with inspected(site.folder, "mysite.urls") as subject:
        (finding,) = settings_databases.check(subject)
    assert (finding.number, finding.place and finding.place.line) == (106, 10)
    assert [line.partition(":")[0] for line in finding.chain] == ["/prices/", "/late/", "/shop/"]


@pytest.mark.parametrize("call", ["await send.aenqueue(5)", "send.enqueue(order_id=5)"])
def test_tasks_that_run_inside_the_request_are_found_where_there_are_any(site: Site, call: str) -> None:
    """A warning in production; from Django 6.0 on."""
    import django

    expected = ["118 warning mysite/orders.py:2"] if django.VERSION >= (6, 0) else []
    site.append("mysite/settings", "DEBUG = False\n")
    site.write("mysite/orders", f"async def order(request, send):\n    {call}\n")
    assert found(site, settings_services.check, "mysite.orders") == expected
    assert found(site, settings_services.check) == []


FILES = "{'BACKEND': 'django.core.cache.backends.filebased.FileBasedCache', 'LOCATION': '/x'}"
DUMMY = "{'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}"
OWN = "{'BACKEND': 'mysite.asynchronous.Cache'}"
OWN_CACHE = """
    from django.core.cache.backends.base import BaseCache
    class Cache(BaseCache):
        async def aget(self, key, default=None, version=None):
            return default
"""
CACHE = "from django.core.cache import cache\nasync def page(request):\n    "
CACHES = "from django.core.cache import caches\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{CACHE}return await cache.aget('a')\n", 3),
        (f"{CACHE}if not await cache.ahas_key('a'):\n        await cache.aset('a', 1)\n", 3),
        (f"{CACHE}return await cache.aget_or_set(\n        'rates',\n        rates,\n        300,\n    )\n", 3),
        (f"{CACHES}async def page(request):\n    await caches['pages'].adelete_many(['a', 'b'])\n", 3),
        (f"{CACHES}pages = caches['pages']\nasync def page(request):\n    return await pages.aincr('hits')\n", 4),
        (
            f"{CACHES}class Limiter:\n    def __init__(self):\n        self.store = caches['pages']\n"
            "    async def allows(self, key):\n        return await self.store.aadd(key, 1)\n",
            6,
        ),
        (
            "async def page(request):\n    from django.core.cache import cache as c\n    await c.aget_many([])\n",
            3,
        ),
        ("from django.core import cache\nasync def page(request):\n    return await cache.cache.atouch('a')\n", 3),
        ("import django.core.cache\nasync def page(request):\n    await django.core.cache.cache.aclear()\n", 3),
    ],
)
def test_asynchronous_calls_of_a_cache_that_is_not_asynchronous_are_told(site: Site, text: str, line: int) -> None:
    site.append("mysite/settings", f"CACHES = {{'default': {FILES}, 'pages': {FILES}}}\n")
    site.write("mysite/pages", text)
    assert found(site, settings_services.check, "mysite.pages") == [f"122 info mysite/pages.py:{line}"]
    site.append("mysite/settings", f"CACHES = {{'default': {DUMMY}, 'pages': {DUMMY}}}\n")
    assert found(site, settings_services.check, "mysite.pages") == []


@pytest.mark.parametrize(
    "text",
    [
        f"{CACHE}return cache.get('a')\n",
        f"{CACHES}async def page(request):\n    return await caches['quick'].aget('a')\n",
        f"{CACHES}async def page(request):\n    return await caches['own'].aget('a')\n",
        f"{CACHES}async def page(request, alias):\n    return await caches[alias].aget('a')\n",
        "from mysite.asynchronous import cache\nasync def page(request):\n    return await cache.aget('a')\n",
        "async def page(request, cache):\n    return await cache.aget('a')\n",
        f"{CACHE}return await cache_of_answers.aget(question)\n",
        f"{CACHE}return 'await cache.aget(1)'\n",
        f"{CACHE}return await cache.aclose()\n",
    ],
)
def test_other_caches_and_calls_are_not(site: Site, text: str) -> None:
    """Those of other libraries often have an aget(), too."""
    site.append("mysite/settings", f"CACHES = {{'default': {FILES}, 'quick': {DUMMY}, 'own': {OWN}}}\n")
    site.write("mysite/asynchronous", f"{OWN_CACHE}\n    cache = object()\n")
    site.write("mysite/pages", text)
    assert found(site, settings_services.check, "mysite.asynchronous", "mysite.pages") == []


def test_throttling_in_local_memory_is_found(site: Site) -> None:
    site.append("mysite/settings", "REST_FRAMEWORK = {'DEFAULT_THROTTLE_CLASSES': ['a.B']}\n")
    assert found(site, settings_services.check, workers=4) == ["109 error"]
    assert found(site, settings_services.check, workers="auto") == ["109 error"]  # whatever this machine has
    assert found(site, settings_services.check) == ["109 info"]


@pytest.mark.parametrize("version", [(5, 2), (6, 0), (6, 1)])
def test_a_prefix_with_a_slash_is_found_before_django_6_1(
    site: Site, version: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.VERSION", (*version, 0, "final", 0))
    site.append("mysite/settings", "FORCE_SCRIPT_NAME = '/shop/'\n")
    assert found(site, settings_http.check) == ([] if version == (6, 1) else ["116 error mysite/settings.py:8"])
    site.append("mysite/settings", "FORCE_SCRIPT_NAME = '/shop'\n")
    assert found(site, settings_http.check) == []


def test_two_prefixes_that_differ_are_found(site: Site) -> None:
    site.append("mysite/settings", "FORCE_SCRIPT_NAME = '/shop'\n")
    for root_path in ("/store", "/shop/v2"):
        assert found(site, settings_http.check, root_path=root_path) == ["117 warning mysite/settings.py:8"]
    assert found(site, settings_http.check, root_path="/shop") == []
    assert found(site, settings_http.check) == []


@pytest.mark.parametrize("gzip", ["django.middleware.gzip.GZipMiddleware", "mysite.compress.Compress"])
def test_compressed_streams_are_found_with_django_6_0_only(
    site: Site, gzip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(
        "mysite/compress", "from django.middleware.gzip import GZipMiddleware\nclass Compress(GZipMiddleware): ...\n"
    )
    site.write("mysite/feed", STREAM)
    site.append("mysite/settings", f"MIDDLEWARE = ['django.middleware.common.CommonMiddleware', '{gzip}']\n")
    monkeypatch.setattr("django.VERSION", (6, 0, 1, "final", 0))
    assert found(site, settings_http.check, "mysite.feed") == ["119 warning mysite/settings.py:8"]
    assert found(site, settings_http.check) == []
    monkeypatch.setattr("django.VERSION", (6, 1, 0, "final", 0))
    assert found(site, settings_http.check, "mysite.feed") == []
