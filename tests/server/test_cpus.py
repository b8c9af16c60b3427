"""How many CPUs there are, by files as Linux has them in a temporary folder; and WORKERS = "auto" on the real one."""

import os
import signal
import sys
from pathlib import Path

import pytest

from django_asgi_deploy.server import cpus
from tests.utils import Site, run_server, until

MANY = set(range(8))


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight CPUs, all of them allowed."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: MANY, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


def machine(root: Path, membership: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V2 = "0::/system.slice/mysite.service\n"
V1 = "5:memory:/\n4:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2, {}, (8, "CPUs of this machine")),
        (V2, {"system.slice/mysite.service/cpu.max": "max 100000\n"}, (8, "CPUs of this machine")),
        (V2, {"system.slice/mysite.service/cpu.max": "200000 100000\n"}, (2, "quota of the control group: 2 CPUs")),
        (V2, {"system.slice/mysite.service/cpu.max": "150000 100000\n"}, (2, "quota of the control group: 1.5 CPUs")),
        (V2, {"system.slice/mysite.service/cpu.max": "1000 100000\n"}, (1, "quota of the control group: 0.01 CPUs")),
        (V2, {"system.slice/mysite.service/cpu.max": "9000000 100000\n"}, (8, "CPUs of this machine")),
        (
            V2,  # the tightest of the nested ones
            {
                "system.slice/mysite.service/cpu.max": "400000 100000\n",
                "system.slice/cpu.max": "300000 100000\n",
                "cpu.max": "max 100000",
            },
            (3, "quota of the control group: 3 CPUs"),
        ),
        ("0::/\n", {"cpu.max": "100000 100000\n"}, (1, "quota of the control group: 1 CPU")),  # in a container
        ("0::/../../host/path\n", {"cpu.max": "100000 50000\n"}, (2, "quota of the control group: 2 CPUs")),
        (
            V2,
            {"unified/system.slice/mysite.service/cpu.max": "200000 100000"},
            (2, "quota of the control group: 2 CPUs"),
        ),
        (
            V1,
            {
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            (3, "quota of the control group: 2.5 CPUs"),
        ),
        (  # the path is the host's, the mount is the container's own
            V1,
            {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            (1, "quota of the control group: 1 CPU"),
        ),
        (
            V1,
            {
                "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            (8, "CPUs of this machine"),
        ),
        (V2, {"system.slice/mysite.service/cpu.max": "rubbish"}, (8, "CPUs of this machine")),
    ],
)
def test_the_tightest_quota_counts(
    tmp_path: Path, membership: str, files: dict[str, str], expected: tuple[int, str]
) -> None:
    assert cpus.count(machine(tmp_path, membership, **files)) == expected


def test_affinity_counts_where_it_is_the_tighter_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5}, raising=False)
    root = machine(tmp_path, V2, **{"system.slice/cpu.max": "300000 100000\n"})
    assert cpus.count(root) == (2, "CPU affinity, of 8 CPUs")


def test_without_any_of_these_files_there_is_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpus.count(tmp_path) == (8, "CPUs of this machine")
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cpus.count(tmp_path) == (8, "CPUs of this machine")


def test_the_real_machine_has_at_least_one_and_obeys_taskset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    number, rule = cpus.count()
    assert number >= 1
    assert rule
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert cpus.count()[0] == 1
        finally:
            os.sched_setaffinity(0, before)


# ------------------------------------------------------------------ WORKERS = "auto"


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The CPUs of the real machine that this process may use."""
    monkeypatch.undo()
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs Linux")
    return sorted(os.sched_getaffinity(0))


def rule(number: int) -> str:
    total = os.cpu_count()
    return "CPUs of this machine" if number == total else f"CPU affinity, of {total} CPUs"


def test_workers_auto_obeys_affinity_says_so_and_asks_again_at_a_reload(site: Site, allowed: list[int]) -> None:
    command = [sys.executable, "manage.py", "runasgi", "127.0.0.1:0", "--workers", "auto"]
    with run_server(command, site.folder, preexec_fn=lambda: os.sched_setaffinity(0, allowed[:1])) as server:
        pid = server.process.pid
        server.wait_for(rf"server .*; one worker \({rule(1)}\), supervisor {pid}: WORKERS \(--workers\)$")
        server.wait_for("^Serving")
        assert server.output.count(" serves, ") == 1
        number = min(cpus.count()[0], 2)
        os.sched_setaffinity(pid, allowed[:number])
        server.process.send_signal(signal.SIGHUP)
        until(lambda: server.output.count("(version 2)") == number)
        if number == 2:
            server.wait_for(f"WORKERS is 2 now: {rule(2)}.$")
        assert b"Hello" in server.get()
        assert server.stop() == 0


def test_auto_always_has_a_supervisor(site: Site, allowed: list[int]) -> None:
    """Or the signals would mean something else on a machine with one CPU."""
    result = site.run("--workers", "auto", "--supervisor", "off")
    assert result.returncode == 2
    assert "SUPERVISOR = 'off' (--supervisor): WORKERS (--workers) needs the supervisor" in result.stderr
