"""A project served by ``manage.py runasgi``: what it says, and how it ends."""

import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import require_program
from tests.utils import DEADLINE_SECONDS, Site, clean_environment, duration, run_server, run_to_end


def test_the_banner_names_versions_application_settings_and_server(site: Site) -> None:
    with site.serve() as server:
        assert b"Hello" in server.get()
        assert re.fullmatch(r"django-asgi-deploy \S+, Django \S+, uvicorn \S+, Python \S+", server.lines[0])
        server.wait_for(r"application +mysite.asgi:application \(found beside")
        server.wait_for(r"settings +mysite.settings \(the default in manage.py\)")
        server.wait_for(rf"server +uvloop, httptools; one worker, pid {server.process.pid}")
        server.wait_for(r"DEBUG +is on")


def test_an_exported_settings_module_is_said_to_come_from_the_environment(site: Site) -> None:
    site.write("mysite/other", "from mysite.settings import *")
    with site.serve(DJANGO_SETTINGS_MODULE="mysite.other") as server:
        server.wait_for(r"settings +mysite.other \(DJANGO_SETTINGS_MODULE in the environment\)")
        assert b"Hello" in server.get()
        assert "asks for" not in server.output


def test_settings_on_the_command_line_are_said_to_come_from_there(site: Site) -> None:
    site.write("mysite/other", "from mysite.settings import *")
    with site.serve("--settings", "mysite.other") as server:
        server.wait_for(r"settings +mysite.other \(--settings\)")


def test_other_settings_in_asgi_py_than_in_manage_py_do_not_pass_in_silence(site: Site) -> None:
    """Inside manage.py its default wins: development settings would be served in production."""
    site.write("mysite/production", "from mysite.settings import *")
    site.write(
        "mysite/asgi",
        """
        import os
        from django.core.asgi import get_asgi_application
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.production")
        application = get_asgi_application()
        """,
    )
    with site.serve() as server:
        server.wait_for(
            r"asgi.py asks for mysite.production, served is mysite.settings \(from the default in manage.py\). "
            "To choose: export DJANGO_SETTINGS_MODULE=mysite.production, or runasgi --settings mysite.production"
        )


@pytest.mark.parametrize("path", ["127.0.0.1:0", "localhost:0", "0"])
def test_djangos_address_forms_are_understood(site: Site, path: str) -> None:
    with site.serve("--bind", path) as server:
        assert b"Hello" in server.get()


def test_ipv6_and_several_addresses_are_served_each(site: Site) -> None:
    path = site.folder / "asgi.sock"
    with site.serve("--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--bind", f"unix:{path}") as server:
        server.wait_for(r"^Serving unix:")
        urls = [line.removeprefix("Serving ") for line in server.lines if line.startswith("Serving")]
        assert len(urls) == 3
        assert b"Hello" in server.get()
        with socket.create_connection(("::1", int(urls[1].rpartition(":")[2]))) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"Hello" in b"".join(iter(lambda: sock.recv(65536), b""))


def test_addrport_is_one_more_bind(site: Site) -> None:
    with site.serve("127.0.0.1:0", "--bind", "127.0.0.1:0", "--static", "off") as server:
        server.wait_for("^Serving http")
        assert b"Hello" in server.get()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_inherited_socket_is_served_whatever_its_family(site: Site, loop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.set_inheritable(True)
        command = [sys.executable, "manage.py", "runasgi", "--bind", f"fd://{sock.fileno()}", "--loop", loop]
        with run_server(command, site.folder, pass_fds=[sock.fileno()]) as server:
            assert server.port == sock.getsockname()[1]
            assert b"Hello" in server.get()
            server.wait_for(rf"server +{loop}")


def test_the_port_of_a_platform_is_bound_on_every_address_and_said(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "manage.py", "runasgi"]
    with run_server(command, site.folder, {"PORT": str(port)}) as server:
        server.wait_for(f"PORT={port} in the environment: listening on 0.0.0.0:{port}")
        server.wait_for(rf"^Serving http://0.0.0.0:{port}$")
        assert b"Hello" in server.get()


def test_https_is_served_with_the_certificate_given(site: Site, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with site.serve("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(server.connect(), server_hostname="localhost") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"Hello" in b"".join(iter(lambda: sock.recv(65536), b""))


def test_with_ca_certs_a_client_without_a_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key), "--ssl-ca-certs", str(certificate)]
    with site.serve(*tls) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        assert ask_over_tls(server.connect(), context) == b""
        context.load_cert_chain(certificate, key)
        assert b"Hello" in ask_over_tls(server.connect(), context)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    openssl = require_program("openssl")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files],
        check=True,
        capture_output=True,
    )
    return certificate, key


def ask_over_tls(plain: socket.socket, context: ssl.SSLContext) -> bytes:
    with plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b""))
        except (ssl.SSLError, ConnectionError):
            return b""


# ------------------------------------------------------------------ the end


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(site: Site, sig: signal.Signals) -> None:
    with site.serve() as server:
        server.wait_for("^Serving")
        assert server.stop(sig) == 0
        assert "Traceback" not in server.output


def test_a_signal_during_the_import_of_the_project_ends_it_within_a_second(site: Site) -> None:
    site.write("mysite/asgi", "import time\nprint('importing', flush=True)\ntime.sleep(60)")
    with site.serve() as server:
        server.wait_for("importing")
        assert duration(lambda: server.stop()) < 1
        assert server.process.returncode == 0


@pytest.mark.parametrize("hang", ["await asyncio.Event().wait()", "time.sleep(60)"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_while_the_lifespan_hangs_ends_it_within_a_second(site: Site, hang: str, loop: str) -> None:
    site.write(
        "mysite/asgi",
        f"""
        import asyncio, time
        async def application(scope, receive, send):
            assert scope["type"] == "lifespan"
            await receive()
            print("hanging", flush=True)
            {hang}
        """,
    )
    with site.serve("--loop", loop) as server:
        server.wait_for("hanging")
        assert duration(lambda: server.stop()) < 1
        assert server.process.returncode == 0


def test_a_failing_lifespan_ends_it_with_status_1(site: Site) -> None:
    site.write(
        "mysite/asgi",
        """
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "the queue can't be reached"})
        """,
    )
    with site.serve() as server:
        assert server.wait() == 1
        assert "the queue can't be reached" in server.output
        assert "Serving" not in server.output


def test_an_open_stream_is_cut_at_the_graceful_timeout(site: Site) -> None:
    with site.serve("--graceful-timeout-seconds", "1") as server, server.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"first" in read_until(sock, b"first")
        assert server.stop() == 0
        server.wait_for(r"Cancel 1 running task\(s\), timeout graceful shutdown exceeded")
        assert "Traceback" not in server.output


def test_a_second_signal_ends_it_at_once(site: Site) -> None:
    with site.serve() as server, server.connect() as sock:
        sock.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_until(sock, b"first")
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("Shutting down")
        assert duration(lambda: server.stop()) < 1
        assert server.process.returncode == 0


def test_a_view_that_hangs_in_a_thread_does_not_keep_it_beyond_the_deadline(site: Site) -> None:
    with site.serve("--graceful-timeout-seconds", "0") as server, server.connect() as sock:
        sock.sendall(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait_for("hanging")
        assert server.stop(seconds=10) == 0
        server.wait_for("still running after the deadline is abandoned")


def test_a_request_that_is_under_way_is_answered_after_the_signal(site: Site) -> None:
    site.append(
        "mysite/urls",
        """
        def slow(request):
            print("slow", flush=True)
            time.sleep(0.5)
            return HttpResponse("done")
        urlpatterns.append(path("slow", slow))
        """,
    )
    with site.serve() as server, server.connect() as sock:
        sock.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        server.wait_for("^slow$")
        server.process.send_signal(signal.SIGTERM)
        assert b"done" in b"".join(iter(lambda: sock.recv(65536), b""))
        assert server.wait() == 0


def read_until(sock: socket.socket, text: bytes) -> bytes:
    received = b""
    sock.settimeout(DEADLINE_SECONDS)
    while text not in received:
        chunk = sock.recv(65536)
        assert chunk, received
        received += chunk
    return received


# ------------------------------------------------------------------ log lines


def test_without_logging_lines_look_like_uvicorns_without_colour_and_appear_once(site: Site) -> None:
    with site.serve() as server:
        server.get("/?once")
        server.wait_for(r'^INFO:     127.0.0.1:\d+ - "GET /\?once HTTP/1.0" 200 OK, 5 bytes in \d+\.\d ms$')
        server.stop()
        assert sum("GET /?once" in line for line in server.lines) == 1
        assert sum("Started server process" in line for line in server.lines) == 1
        assert "\x1b" not in server.output
        assert "unsupported" not in server.output


LOGGING = """
    LOGGING = {
        "version": 1,
        "formatters": {"mine": {"format": "mine %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "mine"}},
        HERE
    }
"""


def test_lines_follow_the_projects_root_logger(site: Site) -> None:
    site.append("mysite/settings", LOGGING.replace("HERE", '"root": {"handlers": ["console"], "level": "INFO"}'))
    with site.serve() as server:
        server.get("/?once")
        server.stop()
        assert sum("GET /?once" in line for line in server.lines) == 1
        server.wait_for(r'^mine django_asgi_deploy.access .*"GET /\?once')
        assert sum(line.startswith("mine uvicorn.error Started server process") for line in server.lines) == 1


def test_a_stock_asgi_py_with_a_logging_that_disables_loggers_silences_nothing(site: Site) -> None:
    """Its second django.setup() applies LOGGING again (Kludex/uvicorn#180)."""
    site.write("mysite/helpers", "import logging\nlogging.getLogger('library').setLevel('INFO')\n")
    site.append(
        "mysite/settings",
        LOGGING.replace("HERE", '"root": {"handlers": ["console"], "level": "INFO"}, "loggers": {"django": {}}'),
    )
    site.write(
        "mysite/asgi",
        """
        import logging, mysite.helpers
        from django.core.asgi import get_asgi_application
        application = get_asgi_application()
        """,
    )
    site.append(
        "mysite/urls",
        """
        def say(request):
            logging.getLogger("library").info("the library speaks")
            return HttpResponse("said")
        urlpatterns.append(path("say", say))
        logging.getLogger("library")
        """,
    )
    with site.serve() as server:
        assert b"said" in server.get("/say")
        server.stop()
        assert server.lines.count("mine library the library speaks") == 1
        server.wait_for("mine django_asgi_deploy.access")
        server.wait_for("mine uvicorn.error Shutting down")


def test_a_logging_without_handlers_for_the_server_leaves_uvicorns_look(site: Site) -> None:
    site.append("mysite/settings", LOGGING.replace("HERE", '"loggers": {"mysite": {"handlers": ["console"]}}'))
    with site.serve() as server:
        server.get("/?once")
        server.wait_for(r"^INFO:     .*GET /\?once")
        server.wait_for(r"^INFO:     Started server process")


def test_a_terminal_gets_colour_unless_no_color_is_set(site: Site) -> None:
    assert b"\x1b[" in shown_on_a_terminal(site, {})
    assert b"\x1b[" not in shown_on_a_terminal(site, {"NO_COLOR": "1"})


def shown_on_a_terminal(site: Site, environment: dict[str, str]) -> bytes:
    terminal, child = pty.openpty()
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0"]
    env = clean_environment({"TERM": "xterm", **environment})
    process = subprocess.Popen(command, cwd=site.folder, env=env, stdin=child, stdout=child, stderr=child)
    os.close(child)
    try:
        return read_terminal_until(terminal, b"Serving")
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        os.close(terminal)


def read_terminal_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], DEADLINE_SECONDS)
        assert ready, shown
        shown += os.read(terminal, 65536)
    return shown


# ------------------------------------------------------------------ conveniences


def test_breakpoint_works_in_a_view(site: Site) -> None:
    site.append(
        "mysite/urls",
        """
        def stop(request):
            answer = "unchanged"
            breakpoint()
            return HttpResponse(answer)
        urlpatterns.append(path("stop", stop))
        """,
    )
    terminal, child = pty.openpty()
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, cwd=site.folder, env=clean_environment(), stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    try:
        shown = read_terminal_until(terminal, b"Serving http://127.0.0.1:")
        while not (port := re.search(rb"127.0.0.1:(\d+)\r\n", shown)):
            shown += os.read(terminal, 65536)
        with socket.create_connection(("127.0.0.1", int(port[1])), DEADLINE_SECONDS) as sock:
            sock.sendall(b"GET /stop HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            read_terminal_until(terminal, b"(Pdb)")
            os.write(terminal, b"answer = 'changed'\n")
            read_terminal_until(terminal, b"(Pdb)")
            os.write(terminal, b"c\n")
            assert b"changed" in b"".join(iter(lambda: sock.recv(65536), b""))
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
        os.close(terminal)


def test_it_starts_without_a_home_in_folders_that_nothing_can_be_written_to(site: Site) -> None:
    """Read-only: a private mount where the kernel lets us, otherwise a folder without write permission."""
    unshare = require_program("unshare")
    script = f'mount --bind -o ro "{site.folder}" "{site.folder}" && mount -o remount,ro,bind "{site.folder}"; cd . && '
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0"]
    probe = run_to_end([unshare, "-m", "sh", "-c", script + f'cd "{site.folder}" && ! touch probe'], site.folder)
    if probe.returncode != 0:
        pytest.skip("needs permission to mount (unshare -m)")
    with run_server(
        [unshare, "-m", "sh", "-c", script + f'cd "{site.folder}" && unset HOME && exec "$@"', "sh", *command],
        site.folder,
    ) as server:
        assert b"Hello" in server.get()


def test_print_config_shows_every_value_with_its_origin_and_starts_nothing(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'BACKLOG': 64, 'LOOP': 'asyncio'}")
    result = site.run("9000", "--loop", "uvloop", "--print-config", "json", ASGI_DEPLOY_ACCESS_LOG="off")
    shown = json.loads(result.stdout)
    assert shown["BACKLOG"] == {"value": 64, "origin": "settings.ASGI_DEPLOY"}
    assert shown["LOOP"] == {"value": "uvloop", "origin": "--loop"}
    assert shown["BIND"] == {"value": ["9000"], "origin": "--bind"}
    assert shown["ACCESS_LOG"] == {"value": False, "origin": "ASGI_DEPLOY_ACCESS_LOG"}
    assert shown["HTTP"] == {"value": "auto", "origin": "default"}
    text = site.run("--print-config").stdout
    assert re.search(r"^BACKLOG +64 +settings.ASGI_DEPLOY$", text, re.M)


def test_the_command_line_reaches_the_application(site: Site) -> None:
    site.append(
        "mysite/urls",
        """
        def config(request):
            from django_asgi_deploy import conf
            return HttpResponse(conf.as_json(conf.load()))
        urlpatterns.append(path("config", config))
        """,
    )
    with site.serve("--static", "off", "--keep-alive-seconds", "7") as server:
        body = re.search(rb"\{.*\}", server.get("/config"), re.DOTALL)
    assert body
    shown = json.loads(body[0])
    assert shown["STATIC"]["value"] == "off"
    assert shown["KEEP_ALIVE_SECONDS"]["value"] == 7


def test_static_files_that_nobody_serves_are_not_passed_over_in_silence(site: Site) -> None:
    site.append(
        "mysite/settings",
        """
        DEBUG = False
        STATIC_URL = "static/"
        INSTALLED_APPS += ["django.contrib.staticfiles"]
        """,
    )
    with site.serve() as server:
        server.wait_for("note +static files are not served while DEBUG is off")
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.servestatic.Middleware']\n")
    site.write("mysite/servestatic", "def Middleware(get_response):\n    return get_response\n")
    with site.serve() as server:
        server.wait_for("^Serving")
        assert "static files" not in server.output


def test_a_stock_asgi_py_is_served_inside_our_layers(site: Site) -> None:
    site.write("mysite/asgi", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()")
    site.append(
        "mysite/settings",
        """
        INSTALLED_APPS += ["django.contrib." + name for name in ("staticfiles", "contenttypes", "auth", "admin")]
        STATIC_URL = "static/"
        """,
    )
    with site.serve("--skip-checks") as server:
        assert b"200 OK" in server.get("/static/admin/css/base.css")
        server.wait_for(r"application +mysite.asgi:application .*our handler in its place: --handler django keeps it")
        server.wait_for("handler +pooled, 8 threads$")
    with site.serve("--skip-checks", "--handler", "django") as server:
        assert b"200 OK" in server.get("/static/admin/css/base.css")
        server.wait_for("handler +Django's own, a new thread for each request")


def test_what_takes_djangos_own_path_is_named_in_the_banner(site: Site) -> None:
    site.write(
        "mysite/middleware",
        """
        from django.utils.decorators import async_only_middleware
        @async_only_middleware
        def only(get_response):
            async def middleware(request):
                return await get_response(request)
            return middleware
        """,
    )
    site.append("mysite/settings", "MIDDLEWARE = ['mysite.middleware.only']")
    with site.serve() as server:
        assert b"Hello" in server.get()
        server.wait_for("handler +requests with synchronous views: mysite.middleware.only is asynchronous only")


def test_a_wrapped_application_is_served_as_it_is_and_options_without_effect_are_named(site: Site) -> None:
    site.write(
        "mysite/asgi",
        """
        from django.core.asgi import get_asgi_application
        django = get_asgi_application()
        async def application(scope, receive, send):
            await django(scope, receive, send)
        """,
    )
    with site.serve("--static", "off") as server:
        assert b"Hello" in server.get()
        server.wait_for("handler +the application's own")
        server.wait_for(r"STATIC: no effect, because asgi.py makes .* write: from django_asgi_deploy.asgi import")


def test_our_application_inside_a_wrapper_obeys_the_options_and_the_banner_sees_it(site: Site) -> None:
    site.append(
        "mysite/asgi",
        """
        ours = application
        async def application(scope, receive, send):
            await ours(scope, receive, send)
        """,
    )
    with site.serve("--threads", "3") as server:
        assert b"Hello" in server.get()
        server.wait_for("handler +pooled, 3 threads, inside what asgi.py wraps around it")
        assert "no effect" not in server.output


def test_a_websocket_handshake_is_denied_when_there_is_nothing_to_take_it(site: Site) -> None:
    with site.serve() as server, server.connect() as sock:
        sock.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 403")
        assert "Traceback" not in server.output
