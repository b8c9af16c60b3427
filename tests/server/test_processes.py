"""What Linux tells of processes, by files as it has them in a temporary folder, and of real ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from django_asgi_deploy.server import processes
from django_asgi_deploy.server.processes import ONE_MOMENT_SECONDS, OOMKills, oom_kills
from tests.chaos.service import until

pytestmark = pytest.mark.skipif(not processes.IS_LINUX, reason="reads /proc")

V2 = "0::/system.slice/mysite.service\n"
V1 = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"
EVENTS = "low 0\nhigh 0\nmax 9\noom 7\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


def machine(root: Path, membership: str, file: str, text: str) -> Path:
    """Writes anew what is there already."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(membership)
    counter = root / "sys/fs/cgroup" / file
    counter.parent.mkdir(parents=True, exist_ok=True)
    counter.write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "file", "text", "expected"),
    [
        (V2, "system.slice/mysite.service/memory.events", EVENTS.format(3), 3),
        ("0::/../../host/path\n", "memory.events", EVENTS.format(4), 4),  # in a container
        (V1, "memory/docker/abc/memory.oom_control", CONTROL.format(5), 5),
        (V1, "memory/memory.oom_control", CONTROL.format(6), 6),  # in a container
        (V1, "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", None),  # Linux before 4.13
        (V2, "memory.events", "", None),
        ("", "memory.events", EVENTS.format(3), None),
    ],
)
def test_the_counter_is_found_in_both_versions_of_cgroups(
    tmp_path: Path, membership: str, file: str, text: str, expected: int | None
) -> None:
    assert oom_kills(machine(tmp_path, membership, file, text)) == expected


def count(root: Path, kills: int) -> None:
    machine(root, V2, "system.slice/mysite.service/memory.events", EVENTS.format(kills))


def test_a_death_is_explained_by_the_counter_that_has_moved(tmp_path: Path) -> None:
    count(tmp_path, 3)
    kills = OOMKills(tmp_path)
    count(tmp_path, 4)
    assert kills.explain(now=100) == "its cgroup's oom_kill counter went from 3 to 4"
    assert kills.explain(now=200) == ""  # by hand


def test_each_of_two_that_are_killed_at_one_moment_is_explained(tmp_path: Path) -> None:
    count(tmp_path, 0)
    kills = OOMKills(tmp_path)
    count(tmp_path, 2)
    assert kills.explain(now=100) == "its cgroup's oom_kill counter went from 0 to 2"
    assert kills.explain(now=100.1) == "its cgroup's oom_kill counter went from 0 to 2"
    count(tmp_path, 3)
    assert kills.explain(now=100.2) == "its cgroup's oom_kill counter went from 0 to 3"
    count(tmp_path, 4)
    later = 100.2 + ONE_MOMENT_SECONDS + 1
    assert kills.explain(now=later) == "its cgroup's oom_kill counter went from 3 to 4"


def test_where_the_kernel_tells_nothing_nothing_is_said(tmp_path: Path) -> None:
    kills = OOMKills(tmp_path)
    assert kills.explain(now=100) == ""
    count(tmp_path, 4)  # readable from now on
    assert kills.explain(now=200) == ""
    count(tmp_path, 5)
    assert kills.explain(now=300) == "its cgroup's oom_kill counter went from 4 to 5"


def test_a_process_that_is_stopped_is_told_from_one_that_sleeps() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not processes.is_stopped(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: processes.is_stopped(process.pid))
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: not processes.is_stopped(process.pid))
        assert processes.tracer(process.pid) == 0
        process.communicate(b"\n")


def test_of_a_process_that_is_gone_nothing_is_said() -> None:
    assert not processes.is_stopped(0)
    assert processes.tracer(0) == 0
