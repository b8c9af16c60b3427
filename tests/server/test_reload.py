"""``runasgi --reload``: what a developer does to a project while it is served, and what the browser sees of it.

Each start takes its time: what doesn't depend on the versions of Python and Django is marked ``real``, for one pair.
"""

import asyncio
import os
import pty
import re
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.utils import DEADLINE_SECONDS, Server, Site, run_server, run_to_end

ASGI = """
    import os
    from django_asgi_deploy.asgi import get_asgi_application
    print(f"start {os.getpid()}", flush=True)
    application = get_asgi_application("mysite.settings")
"""
TEMPLATES = """
    from pathlib import Path
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent.parent / "templates"],
        }
    ]
"""
URLS = """
    from django.shortcuts import render
    from django.urls import path
    from mysite import views

    def show(request, name):
        return render(request, f"{name}.html")

    urlpatterns = [path("", views.hello), path("show/<name>/", show)]
"""
VIEWS = """
    from django.http import HttpResponse

    def hello(request):
        return HttpResponse("Hello")
"""
VIEWS_WITH_GREETING = textwrap.dedent(VIEWS).replace('"Hello"', "GREETING")
LIFESPAN = """
    import asyncio

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


@pytest.fixture
def project(site: Site) -> Site:
    site.write("mysite/asgi", ASGI)
    site.write("mysite/urls", URLS)
    site.write("mysite/views", VIEWS)
    site.append("mysite/settings", TEMPLATES)
    (site.folder / "templates").mkdir()
    (site.folder / "templates" / "page.html").write_text("first page")
    return site


def replace(site: Site, name: str, old: str, new: str) -> None:
    file = site.folder / f"{name}.py"
    file.write_text(file.read_text().replace(old, new))


class Watched:
    """A server whose lines are awaited one after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen = 0

    def next(self, pattern: str) -> str:
        """The first line that matches, after those awaited before."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            for number, line in enumerate(self.server.lines[self.seen :], self.seen + 1):
                if re.search(pattern, line):
                    self.seen = number
                    return line
            self.server.wait_for_line(self.seen, end - time.monotonic())
        raise AssertionError(f"no line matches {pattern!r} after line {self.seen} of:\n{self.server.output}")

    def starts(self) -> int:
        return sum(line.startswith("start ") for line in self.server.lines)


@contextmanager
def reloading(site: Site, *arguments: str, **environment: str) -> Iterator[Watched]:
    with site.serve("--reload", *arguments, **environment) as server:
        watched = Watched(server)
        watched.next("^Serving http")
        yield watched


def until(server: Server, path: str, text: bytes) -> None:
    """Ask for the path until the answer has the text."""
    end = time.monotonic() + DEADLINE_SECONDS
    while text not in (answer := server.get(path)):
        assert time.monotonic() < end, answer


def test_a_day_of_work_is_served_as_it_is_saved(project: Site) -> None:
    """A view, a template, a broken URLconf mended, a new file; and no process is started in vain."""
    with reloading(project) as watched:
        server = watched.server
        assert b"Hello" in server.get()
        assert watched.starts() == 1

        replace(project, "mysite/views", "Hello", "Good morning")
        assert re.fullmatch(r"Reloaded in \d+\.\d s: mysite/views.py changed.", watched.next("^Reloaded"))
        assert b"Good morning" in server.get()
        assert watched.starts() == 2

        assert b"first page" in server.get("/show/page/")
        (project.folder / "templates" / "page.html").write_text("second page")
        until(server, "/show/page/", b"second page")
        assert b"TemplateDoesNotExist" in server.get("/show/new/")
        (project.folder / "templates" / "new.html").write_text("new page")
        until(server, "/show/new/", b"new page")
        assert watched.starts() == 2

        project.append("mysite/urls", "\n)(\n")
        watched.next("^SyntaxError: unmatched")
        watched.next("^Waiting for the next save.")
        replace(project, "mysite/urls", ")(", "")
        watched.next("^Reloaded in .*: mysite/urls.py changed.")
        assert b"Good morning" in server.get()
        assert watched.starts() == 3  # asgi.py isn't imported when the URLconf is broken

        project.write("mysite/more", 'GREETING = "Good evening"')
        project.write("mysite/views", "from mysite.more import GREETING\n" + VIEWS_WITH_GREETING)
        watched.next("^Reloaded in .*: mysite/views.py changed.")
        assert b"Good evening" in server.get()
        replace(project, "mysite/more", "evening", "night")
        watched.next("^Reloaded in .*: mysite/more.py changed.")
        assert b"Good night" in server.get()
        assert watched.starts() == 5
        assert server.stop() == 0


BREAKS = [
    ("mysite/settings", ")(", "SyntaxError: unmatched"),
    ("mysite/settings", "INSTALLED_APPS += ['mysite.checked']", "mysite.E001"),
]
MORE_BREAKS = [
    ("mysite/asgi", "1 / 0", "ZeroDivisionError"),
    ("mysite/settings", "raise LookupError('no secret')", "LookupError: no secret"),
    ("mysite/settings", "import sys; sys.exit('no word')", "^no word"),
    ("mysite/settings", "ASGI_DEPLOY = {'BAKLOG': 1}", "did you mean BACKLOG"),
    ("mysite/settings", "INSTALLED_APPS += ['nowhere']", "ModuleNotFoundError: No module named 'nowhere'"),
    ("manage", ")(", "manage.py.*line"),
]


@pytest.mark.parametrize("breaks", [BREAKS, pytest.param(MORE_BREAKS, marks=pytest.mark.real)], ids=["some", "more"])
def test_what_is_broken_is_shown_and_waits_for_the_next_save(project: Site, breaks: list[tuple[str, str, str]]) -> None:
    """The settings in several ways, a failing system check, asgi.py, and manage.py itself."""
    project.write("mysite/checked/__init__", "from django.core import checks\n" + FAILING_CHECK)
    with reloading(project) as watched:
        for file, text, shown in breaks:
            whole = (project.folder / f"{file}.py").read_text()
            project.append(file, f"\n{text}\n")
            watched.next(shown)
            watched.next("^Waiting for the next save.")
            (project.folder / f"{file}.py").write_text(whole)
            watched.next("^Reloaded in")
            assert b"Hello" in watched.server.get()
        assert watched.server.stop() == 0
        assert "Traceback" not in watched.server.output


FAILING_CHECK = """
@checks.register
def failing(app_configs, **kwargs):
    return [checks.Error("it can't work", id="mysite.E001")]
"""


@pytest.mark.real
def test_a_module_that_was_missing_is_noticed_when_it_comes(project: Site) -> None:
    with reloading(project) as watched:
        replace(project, "mysite/views", "def hello", "from mysite.late import anything\ndef hello")
        watched.next("No module named 'mysite.late'")
        watched.next("^Waiting for the next save.")
        project.write("mysite/late", "anything = 1")
        watched.next("^Reloaded in .*: mysite/late.py changed.")


@pytest.mark.real
def test_a_project_that_is_broken_from_the_beginning_gets_its_banner_when_it_is_mended(project: Site) -> None:
    project.append("mysite/urls", "\n)(\n")
    with project.serve("--reload") as server:
        server.wait_for("^Waiting for the next save.")
        replace(project, "mysite/urls", ")(", "")
        server.wait_for("^Serving http://")
        assert b"Hello" in server.get()
        server.wait_for("^django-asgi-deploy ")


@pytest.mark.real
def test_a_failing_lifespan_waits_for_the_next_save(project: Site) -> None:
    failing = """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})
    """
    with reloading(project) as watched:
        project.write("mysite/asgi", failing)
        watched.next("no database")
        watched.next("^Waiting for the next save.")
        project.write("mysite/asgi", ASGI)
        watched.next("^Reloaded in")


def test_the_browser_waits_instead_of_being_refused(project: Site) -> None:
    """Whenever it comes: while the code is broken, and during each start."""
    with reloading(project) as watched:
        server = watched.server
        address = ("127.0.0.1", server.port)
        project.append("mysite/urls", "\n)(\n")
        watched.next("^Waiting for the next save.")
        with socket.create_connection(address, DEADLINE_SECONDS) as waiting:
            waiting.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            replace(project, "mysite/urls", ")(", "")
            assert b"Hello" in b"".join(iter(lambda: waiting.recv(65536), b""))
        watched.next("^Reloaded")
        replace(project, "mysite/views", "Hello", "Goodbye")
        while not any("views.py changed" in line for line in server.lines):
            socket.create_connection(address, DEADLINE_SECONDS).close()
        assert b"Goodbye" in server.get()


def test_at_each_reload_the_lifespan_is_closed_and_one_line_is_said(project: Site) -> None:
    """The banner is shown once, and says what it says without --reload."""
    project.write("mysite/lifespan", LIFESPAN)
    project.append("mysite/settings", 'ASGI_DEPLOY = {"MIDDLEWARE": ["mysite.lifespan.Announced"]}\n')
    with reloading(project) as watched:
        replace(project, "mysite/views", "Hello", "Goodbye")
        watched.next("^Reloaded")
        assert watched.server.stop() == 0
        lines = watched.server.lines
        told = [line for line in lines if line.startswith("lifespan.")]
        assert told == ["lifespan.startup", "lifespan.shutdown"] * 2
        assert sum(line.startswith("django-asgi-deploy ") for line in lines) == 1
        assert sum(line.startswith("Serving ") for line in lines) == 1
        assert "  settings     mysite.settings (the default in manage.py)" in lines
        assert not any(line.startswith("INFO:") for line in lines), watched.server.output


def test_open_streams_websockets_and_hanging_threads_do_not_delay_it(site: Site) -> None:
    site.write(
        "mysite/socket",
        """
        async def echo(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
        """,
    )
    site.append("mysite/settings", 'ASGI_DEPLOY = {"WEBSOCKET": "mysite.socket.echo"}\n')
    with reloading(site) as watched:
        server = watched.server
        with server.connect() as stream, server.connect() as hanging:
            stream.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in stream.recv(65536)
            hanging.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
            watched.next("^hanging")

            async def talk() -> int:
                from websockets.asyncio.client import connect

                async with connect(f"ws://127.0.0.1:{server.port}/") as websocket:
                    replace(site, "mysite/urls", "Hello", "Goodbye")
                    await websocket.wait_closed()
                    return int(websocket.close_code or 0)

            assert asyncio.run(asyncio.wait_for(talk(), DEADLINE_SECONDS)) == 1012  # service restart
            seconds = float(re.search(r"in (\S+) s", watched.next("^Reloaded"))[1])  # type: ignore[index]
            assert seconds < 25  # about one; the hanging view would take sixty, the graceful timeout thirty
        assert b"Goodbye" in server.get()
        assert "Traceback" not in server.output
        assert "Cancel" not in server.output


def test_it_is_for_one_worker(site: Site) -> None:
    done = site.run("--reload", "--workers", "2")
    assert done.returncode == 2
    assert "--workers 2 and --reload: reloading is for one worker; leave one of them out." in done.stderr
    with reloading(site, "--max-requests", "5", WEB_CONCURRENCY="4") as watched:
        given = "WORKERS (WEB_CONCURRENCY), MAX_REQUESTS (--max-requests)"
        assert f"{given}: no effect, --reload serves with one worker and without a supervisor." in watched.server.lines


def test_a_file_that_is_saved_again_just_after_its_import_is_not_missed(project: Site) -> None:
    """The edit is made by the project itself, between the import and the first look at the file."""
    project.append(
        "mysite/urls",
        """
        mark = Path("edit")
        if mark.exists():
            mark.unlink()
            file = Path(views.__file__)
            file.write_text(file.read_text().replace("Hello", "Goodbye"))
        """,
    )
    replace(project, "mysite/urls", "from django.shortcuts", "from pathlib import Path\nfrom django.shortcuts")
    with reloading(project) as watched:
        (project.folder / "edit").touch()
        project.append("mysite/urls", "# saved\n")
        watched.next(r"mysite/views.py changed")
        until(watched.server, "/", b"Goodbye")


@pytest.mark.real
def test_migrations_that_are_missing_are_noticed(site: Site) -> None:
    site.append(
        "mysite/settings",
        """
        INSTALLED_APPS += ["django.contrib.auth", "django.contrib.contenttypes"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        """,
    )
    with reloading(site) as watched:
        watched.server.wait_for(r"You have \d+ unapplied migration\(s\).* auth, contenttypes")
        assert run_to_end([sys.executable, "manage.py", "migrate"], site.folder).returncode == 0
        site.append("mysite/urls", "\n# migrated\n")
        watched.next("^Reloaded")
        assert watched.server.output.count("unapplied") == 1


@pytest.mark.real
def test_a_database_that_is_away_does_not_keep_it_from_serving(site: Site) -> None:
    site.append(
        "mysite/settings",
        'DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "nowhere/db.sqlite3"}}\n',
    )
    with reloading(site) as watched:
        watched.server.wait_for("Whether migrations are missing can't be seen: unable to open database file")
        assert b"Hello" in watched.server.get()


@pytest.mark.real
def test_another_bind_in_the_settings_is_said_to_need_a_new_start(site: Site) -> None:
    command = [sys.executable, "manage.py", "runasgi", "--reload"]
    site.append("mysite/settings", 'ASGI_DEPLOY = {"BIND": ["127.0.0.1:0"]}\n')
    with run_server(command, site.folder) as server:
        server.wait_for("^Serving")
        site.append("mysite/settings", 'ASGI_DEPLOY = {"BIND": ["127.0.0.1:0", "[::1]:0"]}\n')
        server.wait_for(r"^BIND is 127.0.0.1:0, \[::1\]:0 now: to listen there, stop runasgi and start it again.")


@pytest.mark.real
def test_a_unix_socket_survives_and_is_removed_at_the_end(project: Site, tmp_path: Path) -> None:
    path = tmp_path / "asgi.sock"
    with project.serve("--reload", "--bind", f"unix:{path}") as server:
        server.wait_for("^Serving unix:")
        inode = path.stat().st_ino
        replace(project, "mysite/views", "Hello", "Goodbye")
        server.wait_for("^Reloaded")
        assert path.stat().st_ino == inode
        assert server.stop() == 0
    assert not path.exists()


@pytest.mark.real
def test_python_m_does_the_same(project: Site) -> None:
    command = [sys.executable, "-m", "django_asgi_deploy", "runasgi", "127.0.0.1:0", "--reload"]
    with run_server(command, project.folder) as server:
        server.wait_for("^Serving")
        project.append("mysite/settings", "\n)(\n")
        server.wait_for("^Waiting for the next save.")
        replace(project, "mysite/settings", ")(", "")
        server.wait_for("^Reloaded in .*: mysite/settings.py changed.")
        assert server.stop() == 0


# ------------------------------------------------------------------ the end


@pytest.mark.parametrize(
    ("sig", "is_broken"), [(signal.SIGINT, False), pytest.param(signal.SIGTERM, True, marks=pytest.mark.real)]
)
def test_a_signal_to_the_parent_ends_both_with_status_0(project: Site, sig: signal.Signals, is_broken: bool) -> None:
    with reloading(project) as watched:
        pid = child_of(watched)
        if is_broken:
            project.append("mysite/urls", "\n)(\n")
            watched.next("^Waiting for the next save.")
        assert watched.server.stop(sig) == 0
        assert "Traceback" not in watched.server.output
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("is_broken", [False, pytest.param(True, marks=pytest.mark.real)], ids=["serving", "waiting"])
def test_one_ctrl_c_in_a_terminal_ends_it_cleanly(project: Site, is_broken: bool) -> None:
    with in_terminal(project) as (server, keyboard):
        if is_broken:
            project.append("mysite/urls", "\n)(\n")
            server.wait_for("^Waiting for the next save.")
        os.write(keyboard, b"\x03")
        assert server.wait() == 0
        assert not re.search("Traceback|second signal|KeyboardInterrupt", server.output), server.output


@pytest.mark.real
def test_a_breakpoint_has_the_keyboard(project: Site) -> None:
    replace(project, "mysite/views", "return", "breakpoint()\n    return")
    with in_terminal(project) as (server, keyboard), server.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        server.wait_for("views.py")
        os.write(keyboard, b"print(6 * 7, request.path)\n")
        server.wait_for("42 /")
        os.write(keyboard, b"continue\n")
        assert b"Hello" in b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.real
def test_without_its_parent_the_child_leaves(project: Site) -> None:
    with reloading(project) as watched:
        address = ("127.0.0.1", watched.server.port)
        os.kill(watched.server.process.pid, signal.SIGKILL)
        watched.server.wait()  # until the last process has closed its output
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


@pytest.mark.real
def test_a_child_that_is_killed_ends_it_with_a_line(project: Site) -> None:
    with reloading(project) as watched:
        os.kill(child_of(watched), signal.SIGKILL)
        assert watched.server.wait() == 1
        assert "The server process was ended by SIGKILL." in watched.server.output


def child_of(watched: Watched) -> int:
    return int(next(line for line in watched.server.lines if line.startswith("start ")).split()[1])


IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal at the standard input becomes the one that Ctrl-C comes from
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@contextmanager
def in_terminal(site: Site) -> Iterator[tuple[Server, int]]:
    """The server in the foreground of a terminal of its own, and the keyboard of that."""
    keyboard, terminal = pty.openpty()
    try:
        command = [sys.executable, "-c", IN_TERMINAL, "manage.py", "runasgi", "127.0.0.1:0", "--reload"]
        with run_server(command, site.folder, stdin=terminal) as server:
            server.wait_for("^Serving")
            yield server, keyboard
    finally:
        os.close(keyboard)
        os.close(terminal)
