"""Metrics from real servers: what they say is what the client has counted."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from django_asgi_deploy.server import multiprocess
from tests.programs import require_package, require_program
from tests.tables import rows
from tests.test_static import get
from tests.utils import DEADLINE_SECONDS, Server, Site, run_to_end, until

URLS = """
    import asyncio, time
    from django.http import HttpResponse
    from django.urls import path

    def item(request, number):
        return HttpResponse("x" * number)

    async def asynchronous(request):
        return HttpResponse("Hello")

    async def silent(request):
        print("silent", flush=True)
        await asyncio.Event().wait()

    urlpatterns = [path("items/<int:number>/", item), path("async", asynchronous), path("silent", silent)]
"""
REQUESTS = "django_asgi_requests_total"


@pytest.fixture
def measured(site: Site) -> Site:
    require_package("prometheus_client")
    site.write("mysite/urls", URLS)
    site.append("mysite/settings", "DEBUG = False\nASGI_DEPLOY = {'METRICS_PATH': '/metrics'}\n")
    return site


@pytest.fixture
def server(measured: Site) -> Iterator[Server]:
    with measured.serve() as server:
        yield server


def metrics(server: Server, *lines: str) -> dict[str, float]:
    """Every sample by name and labels."""
    answer = get(server, "/metrics", *lines)
    assert answer.status == 200
    body = answer.body.decode()
    samples = (line.rpartition(" ") for line in body.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def labelled(name: str, **labels: object) -> str:
    inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{inside}}}"


def test_requests_are_counted_by_method_url_pattern_and_status(server: Server) -> None:
    for number in (1, 2, 300):
        assert get(server, f"/items/{number}/").status == 200
    get(server, "/items/1/", "Content-Length: 3\r\n\r\nabc", method="POST")
    get(server, "/nowhere")
    get(server, "/nowhere/else")
    get(server, "/async", method="PROPFIND")
    item = {"route": "/items/<int:number>/"}

    def counted() -> bool:
        found = metrics(server)
        return found.get(labelled(REQUESTS, method="(other)", route="/async", status=200)) == 1

    until(counted)
    found = metrics(server)
    assert found[labelled(REQUESTS, method="GET", status=200, **item)] == 3
    assert found[labelled(REQUESTS, method="POST", status=200, **item)] == 1
    assert found[labelled(REQUESTS, method="GET", route="(none)", status=404)] == 2
    assert found[labelled("django_asgi_request_duration_seconds_count", method="GET", **item)] == 3
    assert found[labelled("django_asgi_response_size_bytes_sum", method="GET", **item)] == 303
    assert found[labelled("django_asgi_response_size_bytes_bucket", le="100.0", method="GET", **item)] == 2
    assert found["django_asgi_request_size_bytes_sum"] == 3
    assert found["django_asgi_thread_wait_seconds_count"] >= 7
    assert found["django_asgi_requests_in_flight"] == 1  # this one
    assert found["django_asgi_pool_threads"] >= 1
    assert found["django_asgi_pool_threads_busy"] == found["django_asgi_pool_requests_waiting"] == 0
    assert found["django_asgi_worker_starts_total"] == 1
    assert found["django_asgi_worker_resident_memory_bytes"] > 10_000_000
    assert 0 <= found["django_asgi_loop_lag_seconds"] < DEADLINE_SECONDS


def test_the_url_pattern_is_known_under_djangos_own_handler_too(measured: Site) -> None:
    with measured.serve("--handler", "django") as server:
        assert get(server, "/items/7/").status == 200
        until(partial(has, server, labelled(REQUESTS, method="GET", route="/items/<int:number>/", status=200), 1))


def test_a_client_that_leaves_is_counted(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(b"GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.wait_for("^silent$")
        assert metrics(server)["django_asgi_requests_in_flight"] == 2
    until(lambda: metrics(server)["django_asgi_disconnects_total"] == 1)
    assert metrics(server)["django_asgi_requests_in_flight"] == 1


def test_only_trusted_clients_get_an_answer(server: Server) -> None:
    assert get(server, "/metrics").status == 200
    assert get(server, "/metrics", method="HEAD").body == b""
    assert get(server, "/metrics", "Content-Length: 0", method="POST").status == 405
    for header in ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: unknown", "X-Forwarded-Proto: https"):
        answer = get(server, "/metrics", header)
        assert (answer.status, answer.body) == (404, b"Not Found")


def test_every_metric_is_in_the_documentation(server: Server) -> None:
    get(server, "/async")
    text = get(server, "/metrics").body.decode()
    shown = {re.sub("_total$", "", name) for name in re.findall(r"^# TYPE (django_asgi_\w+) ", text, re.MULTILINE)}
    shown = {name for name in shown if not name.endswith("_created")}
    documented = {re.sub("_total$", "", cells[0][0]) for cells in rows("metrics.rst", "What is measured")}
    assert shown == documented


def test_processes_that_share_a_directory_answer_for_each_other_and_for_those_that_ended(
    measured: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One is killed, its successor goes on where it ended: nothing that a client has seen is lost."""
    shared = tmp_path_factory.mktemp("shared")
    environment = {multiprocess.VARIABLE: str(shared)}
    sent = 0
    name = labelled(REQUESTS, method="GET", route="/async", status=200)
    with measured.serve(**environment) as first:
        with measured.serve(**environment) as second:
            for server in (first, second, second):
                assert get(server, "/async").status == 200
                sent += 1
            for server in (first, second):
                until(partial(has, server, name, sent))
            with second.connect() as sock:
                sock.sendall(b"GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
                second.wait_for("^silent$")
                until(partial(has, first, "django_asgi_requests_in_flight", 2))
                assert second.stop(signal.SIGKILL) == -signal.SIGKILL
        assert metrics(first)["django_asgi_requests_in_flight"] == 2  # nobody has said yet that it is dead
        with measured.serve(**environment) as third:
            assert get(third, "/async").status == 200
            sent += 1
            until(partial(has, first, name, sent))
            mark_dead(shared, second.process.pid)
            found = metrics(first)
            assert found[name] == sent
            assert found["django_asgi_requests_in_flight"] == 1
            assert found["django_asgi_worker_starts_total"] == 3
            ages = [each for each in found if each.startswith("django_asgi_worker_start_time_seconds")]
            assert len(ages) == 2


def has(server: Server, name: str, value: float) -> bool:
    return metrics(server).get(name) == value


def mark_dead(folder: Path, pid: int) -> None:
    """As the supervisor does."""
    code = f"from django_asgi_deploy.server.multiprocess import mark_dead; mark_dead({pid})"
    done = run_to_end([sys.executable, "-c", code], folder, {multiprocess.VARIABLE: str(folder)})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_directory_of_the_workers_is_made_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(multiprocess.VARIABLE, "")  # taken back after this test, with what is put there meanwhile
    folder = multiprocess.make_folder()
    assert folder is not None
    assert Path(folder).is_dir()
    assert multiprocess.make_folder() is None
    multiprocess.remove_folder(folder)
    assert not Path(folder).exists()


def test_a_directory_that_was_tidied_away_is_made_anew_by_the_next_process(measured: Site, tmp_path: Path) -> None:
    """As systemd-tmpfiles does with what nobody has touched for ten days."""
    with measured.serve(**{multiprocess.VARIABLE: str(tmp_path / "gone")}) as server:
        assert get(server, "/async").status == 200
        until(partial(has, server, labelled(REQUESTS, method="GET", route="/async", status=200), 1))


def test_a_file_that_a_worker_has_made_and_not_yet_written_is_no_obstacle(measured: Site, tmp_path: Path) -> None:
    (tmp_path / "counter_1.db").touch()
    (tmp_path / "gauge_livesum_1.db").touch()
    with measured.serve(**{multiprocess.VARIABLE: str(tmp_path)}) as server:
        assert get(server, "/async").status == 200
        until(partial(has, server, labelled(REQUESTS, method="GET", route="/async", status=200), 1))


def test_requests_are_answered_though_nobody_can_count_them(measured: Site, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with measured.serve(**{multiprocess.VARIABLE: str(tmp_path / "a file" / "gone")}) as server:
        assert get(server, "/async").status == 200
        server.wait_for("A request couldn't be noted")


def test_without_the_library_it_says_what_to_install(site: Site) -> None:
    site.append("mysite/settings", "import sys; sys.modules['prometheus_client'] = None\n")
    result = site.run("--metrics-path", "/metrics")
    assert result.returncode == 2
    assert (
        "METRICS_PATH (ASGI_DEPLOY_METRICS_PATH) needs prometheus_client, which isn't installed. Type: python -m pip"
        in (result.stderr)
    )


@pytest.mark.real
@pytest.mark.parametrize("shared", [True, False])
def test_promtool_has_nothing_against_it(measured: Site, tmp_path: Path, shared: bool) -> None:
    promtool = require_program("promtool")
    environment = {multiprocess.VARIABLE: str(tmp_path)} if shared else {}
    with measured.serve(**environment) as server:
        get(server, "/items/3/")
        text = get(server, "/metrics").body
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, timeout=DEADLINE_SECONDS)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_what_django_does_not_see_has_the_name_of_who_answered(measured: Site) -> None:
    require_package("servestatic")
    measured.write(
        "mysite/mounted",
        """
        async def application(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"mounted"})
        """,
    )
    (measured.folder / "collected").mkdir()
    (measured.folder / "collected" / "site.css").write_text("a {}")
    options = {"METRICS_PATH": "/metrics", "LIVE_PATH": "/livez", "MOUNTS": {"/api": "mysite.mounted:application"}}
    measured.append(
        "mysite/settings",
        f"""
        ASGI_DEPLOY = {options}
        INSTALLED_APPS += ["django.contrib.staticfiles"]
        STATIC_URL = "static/"
        STATIC_ROOT = {str(measured.folder / "collected")!r}
        """,
    )
    with measured.serve() as server:
        for path in ("/static/site.css", "/api", "/api/users/7", "/livez", "/nowhere", "/static/nothing.css"):
            get(server, path)
        metrics(server)
        for route, status, number in (
            ("/static/*", 200, 1),
            ("/api/*", 200, 2),
            ("/livez", 200, 1),
            ("/metrics", 200, 1),
            ("(none)", 404, 2),
        ):
            until(partial(has_at_least, server, labelled(REQUESTS, method="GET", route=route, status=status), number))


def has_at_least(server: Server, name: str, value: float) -> bool:
    return metrics(server).get(name, 0) >= value
