"""A start takes no longer than it must: what can wait, waits until workers serve; what isn't needed isn't imported."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.chaos.service import Running, Service, children, is_alive
from tests.utils import duration, until

FINDING = "SESSION_ENGINE = 'django.contrib.sessions.backends.file'\n"
IMPORTED = """
    import sys
    from django.http import JsonResponse
    from django.urls import path

    def imported(request):
        return JsonResponse(list(sys.modules), safe=False)

    urlpatterns = [path("imported", imported)]
"""
# Found in vain after a minute.
SLOW = """
    import os, time

    class Slow(list):
        def __contains__(self, name):
            if name.startswith("asgi."):
                print(f"looking {os.getpid()}\\n", end="", flush=True)
                time.sleep(60)
            return False

    SILENCED_SYSTEM_CHECKS = Slow()
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = Service(tmp_path)
    service.append("mysite/settings", FINDING)
    return service


def line(running: Running, pattern: str) -> int:
    running.server.wait_for(pattern)
    return next(number for number, text in enumerate(running.server.lines) if re.search(pattern, text))


def test_with_a_supervisor_findings_are_told_when_it_serves_already(service: Service) -> None:
    with service.running() as running:
        assert line(running, "^Serving ") < line(
            running, r"^  note         asgi\.110 file-sessions: mysite/settings.py"
        )
        running.wait_until_ready()
        until(lambda: len(children(running.supervisor)) == 3)  # one has loaded the project, two serve
        assert running.stop() == 0


def test_findings_are_told_once_and_not_at_each_reload(service: Service) -> None:
    with service.running() as running:
        line(running, "asgi.110")
        running.wait_until_ready()
        running.signal(signal.SIGHUP)
        running.wait_for_workers(4)
        until(lambda: len(children(running.supervisor)) == 3)
        assert running.server.output.count("asgi.110") == 1


def test_where_each_worker_has_its_own_interpreter_they_are_told_before(service: Service) -> None:
    with service.running("--preload", "off") as running:
        assert line(running, "asgi.110") < line(running, "^Serving ")
        running.wait_until_ready()
        assert running.server.output.count("asgi.110") == 1


def test_whoever_looks_for_findings_gives_way_and_ends_with_the_server(service: Service) -> None:
    service.append("mysite/settings", SLOW)
    with service.running() as running:
        pid = int(running.server.wait_for(r"^looking (\d+)")[1])
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        assert b"200 OK" in running.server.get("/who")
        assert duration(running.stop) < 15
        assert running.server.process.returncode == 0
        until(lambda: not is_alive(pid))


def test_a_worker_has_not_imported_what_only_checks_and_other_protocols_need(service: Service) -> None:
    service.write("mysite/urls", IMPORTED)
    with service.running() as running:
        line(running, "asgi.110")
        imported = running.server.get("/imported").decode()
        for name in ("django_asgi_deploy.checks.run", "django_asgi_deploy.checks.infer", "h11", "websockets"):
            assert f'"{name}"' not in imported
        with running.server.connect() as sock:
            sock.sendall(
                b"GET /imported HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert sock.recv(65536).startswith(b"HTTP/1.1 403 ")
