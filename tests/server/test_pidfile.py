"""Who gets the PID file when several want it, and what becomes of it at the end."""

import os
import re
import socket
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from django_asgi_deploy.server.pidfile import _may_be_ours
from tests.server.contest import contest
from tests.utils import Site, until

ROUNDS = 50
STALE = "4194304\n"  # above the highest pid that Linux gives

# Takes one file after the other at moments that are the same in each process. A taken file stays taken.
TAKES = f"""
    import sys, time
    from django_asgi_deploy.exceptions import ASGIDeployError
    from django_asgi_deploy.server.pidfile import PidFile

    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    for number in range({ROUNDS}):
        while time.monotonic() < begin + number * 0.02:
            pass
        try:
            PidFile(f"{{number}}.pid").write()
        except ASGIDeployError as error:
            print(error.status, error, flush=True)
        else:
            print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.mark.chaos
@pytest.mark.parametrize("before", [None, STALE, "99999999999999999999\n"], ids=["none", "stale", "no pid"])
def test_of_three_that_want_a_file_at_the_same_moment_one_gets_it(tmp_path: Path, before: str | None) -> None:
    """Fifty times: a file that isn't there, or the same stale one."""
    script = tmp_path / "runasgi.py"  # so that it counts as one of us
    script.write_text(textwrap.dedent(TAKES))
    if before is not None:
        for number in range(ROUNDS):
            (tmp_path / f"{number}.pid").write_text(before)
    with contest(tmp_path, script) as three:
        three.begin(time.monotonic() + 0.1)
        for number in range(ROUNDS):
            said = three.said()
            (owner,) = [pid for pid, line in said.items() if line == "taken\n"]
            refused = f"1 PID_FILE {number}.pid: process {owner} is running with it. Stop that, or choose another file."
            assert sorted(said.values()) == [refused + "\n", refused + "\n", "taken\n"]
            assert (tmp_path / f"{number}.pid").read_text() == f"{owner}\n"


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_of_two_instances_that_start_at_the_same_moment_one_serves(site: Site, supervisor: str) -> None:
    """The other one ends with status 1, and names the process that has the file."""
    file = site.folder / "runasgi.pid"
    arguments = ("--pid-file", "runasgi.pid", "--supervisor", supervisor)
    with site.serve(*arguments) as first, site.serve(*arguments) as second:
        until(lambda: first.process.poll() is not None or second.process.poll() is not None)
        serves, refused = (first, second) if first.process.poll() is None else (second, first)
        assert refused.wait() == 1
        assert f"PID_FILE runasgi.pid: process {serves.process.pid} is running with it" in refused.output
        assert "Serving" not in refused.output
        assert b"Hello" in serves.get("/")
        assert file.read_text() == f"{serves.process.pid}\n"
        assert serves.stop() == 0
    assert not file.exists()


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_a_pid_that_another_program_has_by_now_is_no_hindrance(site: Site, supervisor: str) -> None:
    file = site.folder / "runasgi.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            file.write_text(f"{other.pid}\n")
            with site.serve("--pid-file", "runasgi.pid", "--supervisor", supervisor) as server:
                server.wait_for("^Serving")
                assert file.read_text() == f"{server.process.pid}\n"
        finally:
            other.kill()


@pytest.mark.parametrize("supervisor", ["on", "off"])
@pytest.mark.parametrize("content", ["1\n", None], ids=["replaced", "removed"])
def test_a_file_that_somebody_has_replaced_or_removed_is_left_alone_at_the_end(
    site: Site, supervisor: str, content: str | None
) -> None:
    file = site.folder / "runasgi.pid"
    with site.serve("--pid-file", "runasgi.pid", "--supervisor", supervisor) as server:
        server.wait_for("^Serving")
        if content is None:
            file.unlink()
        else:
            (site.folder / "other").write_text(content)
            (site.folder / "other").replace(file)
        assert server.stop() == 0
        assert "Traceback" not in server.output
    assert (file.read_text() if file.exists() else None) == content


@pytest.mark.parametrize("supervisor", ["on", "off"])
def test_it_is_removed_although_the_project_has_gone_to_another_folder_and_a_second_signal_came(
    site: Site, supervisor: str
) -> None:
    site.append("mysite/urls", "os.chdir('/')\n")
    file = site.folder / "runasgi.pid"
    with site.serve("--pid-file", "runasgi.pid", "--supervisor", supervisor) as server:
        server.wait_for("^Serving")
        assert file.exists()
        with server.connect() as sock:
            sock.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"first" in _read_until_first(sock)
            server.process.terminate()
            until(lambda: _refuses(server.port))
            assert server.stop() == 0
    assert not file.exists()


def _read_until_first(sock) -> bytes:  # type: ignore[no-untyped-def]
    received = b""
    while b"first" not in received:
        received += sock.recv(65536)
    return received


def _refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_a_folder_that_may_not_be_written_to_is_named(site: Site) -> None:
    (site.folder / "run").mkdir(mode=0o555)
    path = "run/runasgi.pid" if os.geteuid() else "/sys/runasgi.pid"  # where root may not write either
    done = site.run("--bind", "127.0.0.1:0", "--pid-file", path)
    assert done.returncode == 2
    assert re.search(
        rf"PID_FILE {path}: (Permission denied|Read-only file system|Operation not permitted)", done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_what_is_no_file_is_refused(site: Site, kind: str) -> None:
    path = site.folder / "runasgi.pid"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nothing")
    else:
        os.mkfifo(path)
    done = site.run("--bind", "127.0.0.1:0", "--pid-file", "runasgi.pid")
    assert done.returncode == 2
    assert re.search("PID_FILE runasgi.pid(: No such file or directory| is there, and is no file)", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_process_that_executes_another_program_just_now_is_not_taken_for_a_stranger(tmp_path: Path) -> None:
    """As the one that becomes the supervisor: for a moment, it has no command line."""
    script = tmp_path / "runasgi"
    script.write_text('#!/bin/sh\nexec "$0"\n')
    script.chmod(0o755)
    with subprocess.Popen([script]) as process:
        try:
            assert all(_may_be_ours(process.pid) for _ in range(20_000))
        finally:
            process.kill()
