"""As process 1 of a container: a PID namespace is what makes it one, and what its end ends."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.chaos.service import all_children, read_to_end
from tests.programs import require_program
from tests.utils import Server, Site, run_server, until

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces of processes need Linux"),
]

URLS = """
    import os, pathlib, subprocess, time
    from django.http import HttpResponse
    from django.urls import path

    def orphan(request):
        \"\"\"A program that outlives the shell that has started it, and ends a moment later.\"\"\"
        done = subprocess.run(["sh", "-c", "sleep 0.2 >/dev/null & echo $!"], capture_output=True, check=True)
        return HttpResponse(b"orphan " + done.stdout)

    def state(request, pid):
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return HttpResponse("state: gone")
        return HttpResponse(f"state: {fields[0]}, parent: {fields[1]}")

    def slow(request):
        print("slow", flush=True)
        time.sleep(0.5)
        return HttpResponse("answered")

    urlpatterns = [path("orphan", orphan), path("state/<int:pid>", state), path("slow", slow)]
"""


@pytest.fixture
def site(site: Site) -> Site:
    site.write("mysite/urls", URLS)
    return site


@contextmanager
def served_by_process_1(site: Site, *arguments: str) -> Iterator[Server]:
    unshare = [require_program("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this user may not make a namespace: {tried.stderr.strip()}")
    command = [*unshare, sys.executable, "manage.py", "runasgi", "127.0.0.1:0", *arguments]
    with run_server(command, site.folder) as server:
        yield server


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one worker", "two"])
def test_it_reaps_orphans_hands_sigterm_on_and_ends_with_status_0(site: Site, arguments: list[str]) -> None:
    with served_by_process_1(site, *arguments) as server:
        server.wait_for(r"supervisor 1: " + (r"WORKERS \(--workers\)" if arguments else "it is process 1"))
        pid = re.findall(rb"orphan (\d+)", server.get("/orphan"))[0].decode()
        until(lambda: b"state: gone" in server.get(f"/state/{pid}"))
        with server.connect() as sock:
            sock.sendall(b"GET /slow HTTP/1.0\r\nHost: localhost\r\n\r\n")
            server.wait_for("^slow")
            (process_1,) = all_children(server.process.pid)
            os.kill(process_1, signal.SIGTERM)
            assert b"answered" in read_to_end(sock)
        assert server.wait() == 0
        assert "Traceback" not in server.output


def test_without_a_supervisor_it_serves_and_ends_as_well(site: Site) -> None:
    with served_by_process_1(site, "--supervisor", "off") as server:
        server.wait_for("one worker, pid 1$")
        assert b"answered" in server.get("/slow")
        (process_1,) = all_children(server.process.pid)
        os.kill(process_1, signal.SIGTERM)
        assert server.wait() == 0


def test_what_is_no_process_1_gets_no_supervisor_by_itself(site: Site) -> None:
    with site.serve() as server:
        server.wait_for(f"one worker, pid {server.process.pid}$")
