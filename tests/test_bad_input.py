"""Whatever is wrong with what a user gives gets a clear answer, with the exit status of the design."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils import Site, run_server, run_to_end


def refused(site: Site, *arguments: str, status: int, **environment: str) -> str:
    """What runasgi says on refusing to start; never a traceback, and nothing is served."""
    result = site.run(*arguments, **environment)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr
    assert "Serving" not in result.stdout
    return result.stderr.strip()


# ------------------------------------------------------------------ options


def test_an_unknown_setting_is_named_with_the_nearest_known_one(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'BIDN': ['8000']}")
    message = 'CommandError: settings.ASGI_DEPLOY["BIDN"]: there is no such option; did you mean BIND?'
    assert refused(site, status=2) == message


def test_every_mistake_of_every_source_is_shown_at_once(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'BIDN': ['8000'], 'SSL_KEYFILE': 'key.pem'}")
    message = refused(site, "--loop", "uvlop", "--backlog", "many", ASGI_DEPLOY_KEEP_ALIVE_SECONDS="0", status=2)
    lines = message.splitlines()
    assert lines[0] == "CommandError: 5 problems in the configuration:"
    assert [line.removeprefix("  - ").partition(":")[0] for line in lines[1:]] == [
        'settings.ASGI_DEPLOY["BIDN"]',
        "ASGI_DEPLOY_KEEP_ALIVE_SECONDS=0",
        "--backlog many",
        "SSL_KEYFILE (settings.ASGI_DEPLOY) needs SSL_CERTFILE beside it",
        "LOOP = 'uvlop'",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{'BACKLOG': '100'}", "settings.ASGI_DEPLOY[\"BACKLOG\"] = '100': expected a whole number, at least 1."),
        ("{'BACKLOG': True}", 'settings.ASGI_DEPLOY["BACKLOG"] = True: expected a whole number, at least 1.'),
        ("{'BIND': '8000'}", "settings.ASGI_DEPLOY[\"BIND\"] = '8000': expected a list of addresses."),
        ("{'BIND': []}", "BIND is empty: nothing to listen on; leave it out for 127.0.0.1:8000."),
        ("{'BIND': ['8000', '8000']}", "BIND: '8000' is given twice."),
        ("{'STATIC': 'on'}", "settings.ASGI_DEPLOY[\"STATIC\"] = 'on': expected auto or off."),
        ("{'UVICORN': {'host': 'x'}}", 'UVICORN["host"]: use BIND instead.'),
        ("{'UVICORN': {'reload': True}}", 'UVICORN["reload"]: has no effect under runasgi; leave it out.'),
        ("{'UVICORN': {'limit_concurrency': 'x'}}", "UVICORN[\"limit_concurrency\"] = 'x': expected int | None."),
        ("{'UVICORN': {'lifespan': 'nope'}}", "UVICORN[\"lifespan\"] = 'nope': expected Literal['auto', 'on', 'off']."),
        (
            "{'UVICORN': {'ssl_ciphers': 'x'}}",
            'UVICORN["ssl_ciphers"] needs SSL_CERTFILE beside it: without a certificate nothing is encrypted.',
        ),
        ("{'APPLICATION': ''}", "settings.ASGI_DEPLOY[\"APPLICATION\"] = '': expected a string."),
        ("['BIND']", "settings.ASGI_DEPLOY = ['BIND']: expected a dictionary of options."),
    ],
)
def test_a_wrong_value_in_settings_is_quoted_with_what_was_expected(site: Site, value: str, expected: str) -> None:
    site.append("mysite/settings", f"ASGI_DEPLOY = {value}")
    assert refused(site, status=2) == f"CommandError: {expected}"


def test_an_option_that_uvicorn_does_not_have_is_refused(site: Site) -> None:
    site.append("mysite/settings", "ASGI_DEPLOY = {'UVICORN': {'ws_max_sice': 1}}")
    assert "has no such option; did you mean 'ws_max_size'?" in refused(site, status=2)


def test_a_loop_or_protocol_that_cannot_be_imported_is_named(site: Site) -> None:
    assert "'nosuch:factory' (LOOP): there is no module 'nosuch'" in refused(
        site, "0", "--loop", "nosuch:factory", status=2
    )
    site.append("mysite/settings", "ASGI_DEPLOY = {'UVICORN': {'ws': 'nosuch:Protocol'}}")
    assert "uvicorn can't use one of them" in refused(site, "0", status=2)


def test_an_abbreviated_flag_is_refused(site: Site) -> None:
    assert "unrecognized arguments: --worker" in refused(site, "--worker", "2", status=2)


def test_an_unknown_flag_is_a_usage_error(site: Site) -> None:
    assert "unrecognized arguments: --wokers" in refused(site, "--wokers", "2", status=2)


def test_the_port_that_kubernetes_injects_for_a_service_is_ignored_with_a_warning(site: Site) -> None:
    """Kubernetes sets ASGI_DEPLOY_PORT for a Service that is named asgi-deploy."""
    with site.serve(ASGI_DEPLOY_PORT="tcp://10.0.0.1:80") as server:
        assert b"Hello" in server.get()
        server.wait_for(r"ASGI_DEPLOY_PORT=tcp://10.0.0.1:80 in the environment is ignored: there is no such option")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("80000", "a port is a number from 0 (any free one) to 65535"),
        ("localhost", 'expected "8000"'),
        ("http://localhost:8000", 'expected "8000"'),
        ("127.0.0.1:", 'expected "8000"'),
        ("::1:8000", 'expected "8000"'),
        ("[::g]:8000", "Only hex digits permitted in 'g'"),
        ("[1::2::3]:8000", "At most one '::' permitted"),
        ("300.0.0.1:8000", "300 (> 255)"),
        ("unix:", 'expected a path behind "unix:"'),
        ("unix:" + "x" * 200, "may have 107 bytes at most, this one has 200"),
        ("fd://three", 'expected a number behind "fd://"'),
    ],
)
def test_an_address_that_is_none_is_answered_with_the_forms_there_are(site: Site, address: str, expected: str) -> None:
    assert expected in refused(site, "--bind", address, status=2)


def test_a_port_variable_that_is_no_number_is_refused(site: Site) -> None:
    assert "PORT=web: expected a number" in refused(site, PORT="web", status=2)


# ------------------------------------------------------------------ addresses


def test_a_port_in_use_names_the_address_and_who_has_it(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(site, str(port), status=1)
    assert message.startswith(f"CommandError: 127.0.0.1:{port} is in use by pid {os.getpid()} (")
    assert message.endswith(f"runasgi 127.0.0.1:{port + 1}")


def test_a_second_instance_is_refused_and_the_first_goes_on(site: Site) -> None:
    with site.serve() as server:
        assert f"is in use by pid {server.process.pid}" in refused(site, str(server.port), status=1)
        assert b"Hello" in server.get()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give the privilege away")
def test_a_port_below_1024_without_the_privilege_says_what_to_do(site: Site) -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        if int(file.read()) <= 80:
            pytest.skip("needs a kernel that reserves ports below 1024 (net.ipv4.ip_unprivileged_port_start)")
    open_to_nobody(site.folder)
    command = [*as_nobody(), sys.executable, "manage.py", "runasgi", "80"]
    result = run_to_end(command, site.folder, {"PYTHONDONTWRITEBYTECODE": "1"})
    assert result.returncode == 2, result.stderr
    assert "127.0.0.1:80: ports below 1024 need a privilege" in result.stderr
    assert "runasgi 8000" in result.stderr


def as_nobody() -> list[str]:
    """setpriv without any capability; the interpreter must be readable for that user."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--securebits=+noroot"]


def open_to_nobody(folder: Path) -> None:
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755)


def test_an_address_of_another_machine_says_so(site: Site) -> None:
    message = refused(site, "192.0.2.1:8000", status=1)
    assert message.startswith("CommandError: 192.0.2.1:8000: 192.0.2.1 isn't an address of this machine (now).")
    assert "0.0.0.0:8000" in message


def test_a_host_name_that_does_not_exist_says_so(site: Site) -> None:
    message = refused(site, "no-such-host.invalid:8000", status=2)
    assert "no-such-host.invalid:8000: the host 'no-such-host.invalid' can't be resolved" in message


def test_a_stale_unix_socket_is_taken_over(site: Site) -> None:
    path = site.folder / "asgi.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with site.serve("--bind", f"unix:{path}") as server:
        server.wait_for(f"^Serving unix:{path}$")
        assert b"Hello" in get_over_unix(path)
        assert server.stop() == 0
    assert not path.exists()


def test_a_live_unix_socket_is_refused_and_left_alone(site: Site) -> None:
    path = site.folder / "asgi.sock"
    with site.serve("--bind", f"unix:{path}") as server:
        server.wait_for("^Serving")
        assert "is in use by pid " in refused(site, "--bind", f"unix:{path}", status=1)
        assert b"Hello" in get_over_unix(path)


def test_a_file_where_the_unix_socket_should_be_is_left_alone(site: Site) -> None:
    path = site.folder / "precious.txt"
    path.write_text("precious")
    assert "exists and isn't a socket" in refused(site, "--bind", f"unix:{path}", status=2)
    assert path.read_text() == "precious"


def test_a_unix_socket_in_a_missing_folder_says_so(site: Site) -> None:
    assert "No such file or directory" in refused(site, "--bind", f"unix:{site.folder}/no/asgi.sock", status=2)


def test_a_descriptor_that_is_no_socket_says_so(site: Site) -> None:
    assert "fd://17: descriptor 17 isn't a socket" in refused(site, "--bind", "fd://17", status=2)


def get_over_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: sock.recv(65536), b""))


# ------------------------------------------------------------------ TLS


def test_a_missing_certificate_is_named(site: Site) -> None:
    message = refused(site, "0", "--ssl-certfile", "no.pem", status=2)
    assert message == "CommandError: SSL_CERTFILE = 'no.pem': No such file or directory."


def test_a_certificate_that_is_none_is_named(site: Site) -> None:
    site.write("cert", "not a certificate")
    assert "SSL_CERTFILE = 'cert.py', SSL_KEYFILE = None: not a PEM pair" in refused(
        site, "0", "--ssl-certfile", "cert.py", status=2
    )


# ------------------------------------------------------------------ the application


def test_an_application_module_that_does_not_exist_is_named_with_a_near_one(site: Site) -> None:
    message = refused(site, "0", "--application", "mysite.asgy:application", status=2)
    assert message == (
        "CommandError: 'mysite.asgy:application' (--application): there is no module 'mysite.asgy'; "
        "did you mean 'mysite.asgi'?"
    )


def test_an_application_name_that_does_not_exist_is_named_with_a_near_one(site: Site) -> None:
    message = refused(site, "0", "--application", "mysite.asgi:aplication", status=2)
    assert "module 'mysite.asgi' has no 'aplication'; did you mean 'application'?" in message


def test_an_application_path_without_a_module_shows_the_form(site: Site) -> None:
    message = refused(site, "0", "--application", "application", status=2)
    assert 'expected "package.module:attribute", as in "mysite.asgi:application"' in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("application = 'text'", "is str 'text', which can't be called"),
        (
            "class application:\n    def __init__(self, scope): ...\n    async def __call__(self, receive, send): ...",
            "is a class, as in ASGI 2",
        ),
        (
            "def application(scope):\n    async def instance(receive, send): ...\n    return instance",
            "is a callable in two steps, as in ASGI 2",
        ),
        ("def application(environ, start_response): ...", "is a WSGI application"),
        (
            "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()",
            "is a WSGI application",
        ),
        ("from django.core.asgi import get_asgi_application as application", "Call it: application = application()"),
    ],
)
def test_what_is_no_asgi_3_application_is_called_what_it_is(site: Site, source: str, expected: str) -> None:
    site.write("mysite/asgi", source)
    assert expected in refused(site, "0", status=2)


def test_an_asgi_module_that_raises_shows_the_users_frames_and_nothing_else(site: Site) -> None:
    site.write("mysite/asgi", "def helper():\n    return 1 / 0\n\nhelper()\n")
    message = refused(site, "0", status=3)
    assert message.startswith(
        "CommandError: mysite.asgi (found beside the project's settings and URLs) can't be imported:"
    )
    frames = re.findall(r'File "(.+)", line (\d+), in (.+)', message)
    assert frames == [
        (str(site.folder / "mysite/asgi.py"), "4", "<module>"),
        (str(site.folder / "mysite/asgi.py"), "2", "helper"),
    ]
    assert message.endswith("ZeroDivisionError: division by zero")


def test_an_import_error_inside_the_asgi_module_is_shown_as_itself(site: Site) -> None:
    site.write("mysite/asgi", "import no_such_library\n")
    message = refused(site, "0", status=3)
    assert message.endswith("ModuleNotFoundError: No module named 'no_such_library'")
    assert 'mysite/asgi.py", line 1' in message


def test_a_project_without_an_asgi_module_is_served_all_the_same_and_says_so(site: Site) -> None:
    site.remove("mysite/asgi")
    with site.serve() as server:
        assert b"Hello" in server.get()
        server.wait_for("application .*the project has no asgi.py")


def test_an_asgi_application_setting_that_does_not_exist_names_the_setting(site: Site) -> None:
    site.append("mysite/settings", "ASGI_APPLICATION = 'mysite.routing.application'")
    assert "'mysite.routing.application' (settings.ASGI_APPLICATION): there is no module" in refused(
        site, "0", status=2
    )


# ------------------------------------------------------------------ the project


def test_empty_allowed_hosts_without_debug_are_refused(site: Site) -> None:
    site.append("mysite/settings", "DEBUG = False\nALLOWED_HOSTS = []")
    assert "ALLOWED_HOSTS is empty while DEBUG is off" in refused(site, "0", status=2)


def test_a_broken_urlconf_is_found_at_the_start(site: Site) -> None:
    site.write("mysite/urls", "from django.urls import path\nurlpatterns = [path('', missing)]\n")
    message = refused(site, "0", status=3)
    assert message.startswith("CommandError: The URLconf mysite.urls can't be loaded:")
    assert f'File "{site.folder}/mysite/urls.py", line 2' in message
    assert message.endswith("NameError: name 'missing' is not defined")


def test_a_broken_urlconf_is_found_even_when_checks_are_skipped(site: Site) -> None:
    site.write("mysite/urls", "import no_such_library\n")
    assert "No module named 'no_such_library'" in refused(site, "0", "--skip-checks", status=3)


def test_a_failing_system_check_refuses_to_start_unless_checks_are_skipped(site: Site) -> None:
    site.append(
        "mysite/settings",
        """
        from django.core import checks
        @checks.register
        def always_wrong(app_configs, **kwargs):
            return [checks.Error("always wrong", id="mysite.E001")]
        """,
    )
    assert "mysite.E001" in refused(site, "0", status=3)
    with site.serve("--skip-checks") as server:
        assert b"Hello" in server.get()


# ------------------------------------------------------------------ the settings module


def start_without_manage(site: Site, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_to_end([sys.executable, "-m", "django_asgi_deploy", "runasgi", "127.0.0.1:0"], site.folder, environment)


def test_a_settings_module_that_does_not_exist_names_variable_value_and_origin(site: Site) -> None:
    result = start_without_manage(site, DJANGO_SETTINGS_MODULE="mysite.setings")
    assert result.returncode == 3
    assert result.stderr == (
        "The settings module 'mysite.setings' (from DJANGO_SETTINGS_MODULE in the environment) can't be found: "
        "there is no module 'mysite.setings'; did you mean 'mysite.settings'? "
        "Type: export DJANGO_SETTINGS_MODULE=mysite.settings, from the directory that holds manage.py.\n"
    )


def test_a_settings_module_with_a_syntax_error_is_shown_with_the_line(site: Site) -> None:
    site.append("mysite/settings", "BROKEN = (\n")
    result = start_without_manage(site)
    assert result.returncode == 3
    assert result.stderr.startswith("mysite.settings (DJANGO_SETTINGS_MODULE, from the default in manage.py) can't be")
    assert f'File "{site.folder}/mysite/settings.py"' in result.stderr
    assert result.stderr.endswith("SyntaxError: '(' was never closed\n")
    assert "importlib" not in result.stderr


def test_inside_manage_py_a_syntax_error_in_the_settings_is_shown_by_django(site: Site) -> None:
    """Django imports the settings before it looks for our command; nothing of ours can run then."""
    site.append("mysite/settings", "BROKEN = (\n")
    result = site.run("0")
    assert result.returncode == 1
    assert result.stderr.endswith("SyntaxError: '(' was never closed\n")


def test_an_import_error_inside_the_settings_is_shown_as_itself(site: Site) -> None:
    site.append("mysite/settings", "import no_such_library\n")
    result = start_without_manage(site)
    assert result.returncode == 3
    assert result.stderr.endswith("ModuleNotFoundError: No module named 'no_such_library'\n")
    assert "mysite/settings.py" in result.stderr


def test_without_any_settings_module_the_message_says_what_to_type(site: Site) -> None:
    site.remove("manage")
    result = start_without_manage(site)
    assert result.returncode == 3
    assert "Which settings? DJANGO_SETTINGS_MODULE isn't set" in result.stderr
    assert "export DJANGO_SETTINGS_MODULE=mysite.settings" in result.stderr


def test_under_a_plain_asgi_server_a_missing_settings_module_is_the_same_message(site: Site) -> None:
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "mysite.asgi:application"]
    result = run_to_end(command, site.folder, {"DJANGO_SETTINGS_MODULE": "nowhere.settings"})
    assert result.returncode != 0
    assert "The settings module 'nowhere.settings' (from DJANGO_SETTINGS_MODULE in the environment)" in result.stderr


def test_under_a_plain_asgi_server_the_manage_py_beside_the_project_gives_the_settings(site: Site) -> None:
    site.write(
        "mysite/asgi",
        "from django_asgi_deploy.asgi import get_asgi_application\napplication = get_asgi_application()\n",
    )
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "mysite.asgi:application"]
    with run_server(command, site.folder) as server:
        port = server.wait_for(r"running on http://127.0.0.1:(\d+)")[1]
        with socket.create_connection(("127.0.0.1", int(port))) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"Hello" in b"".join(iter(lambda: sock.recv(65536), b""))
        assert "unsupported" not in server.output
