"""Metrics and the access log of several workers, through their deaths and replacements."""

import json
import os
import signal
import textwrap
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.load import Load
from tests.chaos.service import Running, Service, open_request, until
from tests.programs import require_package
from tests.test_metrics import REQUESTS, labelled, metrics
from tests.utils import Server, Site

WHO = labelled(REQUESTS, method="GET", route="/who", status=200)


def send(running: Running, first: int, last: int) -> int:
    """So many were answered with 200, each on a connection of its own."""
    return sum(b" 200 OK" in running.server.get(f"/who?n={number}") for number in range(first, last))


def has(running: Running, name: str, value: float) -> bool:
    return metrics(running.server).get(name) == value


def test_what_workers_have_counted_outlives_them_and_each_request_is_one_line(tmp_path: Path) -> None:
    require_package("prometheus_client")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    service = Service(tmp_path / "service")
    options = ["--metrics-path", "/metrics", "--access-log", "json"]
    with service.running(*options, TMPDIR=str(temporary)) as running:
        first, second = running.wait_until_ready()
        answered = send(running, 0, 30)
        until(lambda: has(running, WHO, answered), lambda: str(metrics(running.server)))
        assert metrics(running.server)["django_asgi_worker_starts_total"] == 2
        assert len(os.listdir(temporary)) == 1

        with open_request(running, "/slow?s=60"):
            victim = int(running.server.wait_for(r"^slow (\d+)$")[1])
            until(lambda: has(running, "django_asgi_requests_in_flight", 2))
            os.kill(victim, signal.SIGKILL)
            running.wait_for_workers(3)
        until(lambda: has(running, "django_asgi_requests_in_flight", 1))
        answered += send(running, 30, 60)
        until(lambda: has(running, WHO, answered), lambda: str(metrics(running.server)))

        running.signal(signal.SIGHUP)
        running.wait_for_workers(5)
        for pid in {first, second, *running.started[:3]}:
            running.server.wait_for(rf"Worker {pid} has left")
        answered += send(running, 60, 90)
        assert answered == 90
        until(lambda: has(running, WHO, answered), lambda: str(metrics(running.server)))
        found = metrics(running.server)
        assert found["django_asgi_worker_starts_total"] == 5
        assert sum(name.startswith("django_asgi_worker_start_time_seconds") for name in found) == 2
        assert running.stop() == 0
    lines = [json.loads(line) for line in running.server.lines if line.startswith('{"time"')]
    seen = Counter(line["path"] for line in lines if line["path"].startswith("/who?"))
    assert seen == {f"/who?n={number}": 1 for number in range(90)}
    assert {line["pid"] for line in lines} <= set(running.started)
    assert os.listdir(temporary) == []


ECHO = """
    import os

    async def application(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        print(f"open {os.getpid()}\\n", end="", flush=True)
        while (await receive())["type"] != "websocket.disconnect":
            pass
"""
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_a_worker_that_is_killed_under_load_takes_no_count_with_it(tmp_path: Path) -> None:
    """What it had open is over, and whoever scrapes is answered all the while."""
    require_package("prometheus_client")
    service = Service(tmp_path)
    service.write("mysite/echo", ECHO)
    service.append("mysite/settings", "ASGI_DEPLOY = {'WEBSOCKET': 'mysite.echo.application'}\n")
    with service.running("--metrics-path", "/metrics") as running:
        running.wait_until_ready()
        with running.server.connect() as websocket, Load(running.server.port) as load:
            websocket.sendall(HANDSHAKE)
            victim = int(running.server.wait_for(r"^open (\d+)$")[1])
            until(lambda: has(running, "django_asgi_websockets_open", 1))
            load.wait_for_more(200)
            os.kill(victim, signal.SIGKILL)
            is_replaced = False
            while not is_replaced:
                is_replaced = len(running.started) > 2
                assert counted(running) > 0
            load.wait_for_more(200)
            load.stop()
            answered = sum(each.result == "ok" for each in load.outcomes)
            assert 400 < answered == len(load.outcomes) - len(load.lost), load.summary()
            until(lambda: has(running, "django_asgi_websockets_open", 0), lambda: str(metrics(running.server)))
            until(lambda: has(running, "django_asgi_requests_in_flight", 1), lambda: str(metrics(running.server)))
        assert answered <= counted(running) <= answered + len(load.lost), load.summary()
        assert running.stop() == 0


def counted(running: Running) -> float:
    """As Prometheus asks, a second time where the first went to the worker that was killed."""
    try:
        return metrics(running.server)[WHO]
    except (OSError, ValueError, LookupError):  # no answer, or none to the end
        return metrics(running.server)[WHO]


def test_a_gauge_of_the_project_ends_with_the_process_that_set_it_be_it_the_one_that_forks(tmp_path: Path) -> None:
    """Imported before the fork, it is set there, and is 0 in the workers."""
    require_package("prometheus_client")
    service = Service(tmp_path)
    service.append(
        "mysite/urls",
        """
        from prometheus_client import Gauge
        loaded = Gauge("mysite_loaded", "Set where the project is imported.", multiprocess_mode="liveall")
        loaded.set(VERSION)
        """,
    )
    with service.running("--metrics-path", "/metrics", "--preload", "on", workers=1) as running:
        running.wait_until_ready()
        until(lambda: loaded(running) == [0.0, 1.0])
        service.write("mysite/version", "VERSION = 2\n")
        running.signal(signal.SIGHUP)
        until(lambda: loaded(running) == [0.0, 2.0], lambda: str(metrics(running.server)))
        assert running.stop() == 0


def loaded(running: Running) -> list[float]:
    return sorted(value for name, value in metrics(running.server).items() if name.startswith("mysite_loaded{"))


def has_reloaded(server: Server, times: int) -> bool:
    return sum(line.startswith("Reloaded in ") for line in server.lines) >= times


@pytest.mark.real
def test_after_a_reload_each_line_is_there_once(site: Site) -> None:
    logging = """
    LOGGING = {
        "version": 1,
        "handlers": {"console": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["console"], "level": "INFO"},
    }
    """
    site.append("mysite/settings", textwrap.dedent(logging))
    with site.serve("--reload") as server:
        server.get("/?n=1")
        server.wait_for(r'"GET /\?n=1 ')
        for number in (2, 3):
            site.append("mysite/urls", f"# version {number}\n")
            until(partial(has_reloaded, server, number - 1))
            server.get(f"/?n={number}")
            server.wait_for(rf'"GET /\?n={number} ')
        server.stop()
    for number in (1, 2, 3):
        assert sum(f'"GET /?n={number} ' in line for line in server.lines) == 1
