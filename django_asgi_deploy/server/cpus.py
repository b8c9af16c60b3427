"""How many CPUs this process may use, and which rule says so: affinity, or the quota of a control group."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def count(root: Path = Path("/")) -> tuple[int, str]:
    """The number, at least 1, and the rule in words. ``root`` is where ``proc`` and ``sys`` are.

    A quota of 1.5 CPUs counts as 2: one more worker than whole CPUs makes use of the half.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    if affinity is None:
        return os.cpu_count() or 1, "CPUs of this machine"
    number = len(affinity(0))
    total = os.cpu_count() or number
    words = "CPUs of this machine" if number >= total else f"CPU affinity, of {total} CPUs"
    quota = min(_quotas(root), default=float(number))
    if math.ceil(quota) < number:
        return max(1, math.ceil(quota)), f"quota of the control group: {quota:g} CPU{'s' * (quota != 1)}"
    return number, words


def _quotas(root: Path) -> Iterator[float]:
    """The quotas in CPUs of this process's control group and of all around it: the tightest counts."""
    for controllers, path in _memberships(root):
        for mount in _mounts(root, controllers):
            for group in _upwards(mount, path):
                quota = _quota_v2(group) if controllers == "" else _quota_v1(group)
                if quota:
                    yield quota


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Version 2 has no controllers in its line: ``0::/path``; version 1 is ``4:cpu,cpuacct:/path``."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            yield controllers, path


def _mounts(root: Path, controllers: str) -> list[Path]:
    base = root / "sys/fs/cgroup"
    names = ["", "unified"] if controllers == "" else [controllers, "cpu"]
    return [base / name for name in names if (base / name).is_dir()]


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group and all around it. In a container, the path may be the host's, and only the mount itself is there."""
    group = mount.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    while group != mount:
        yield group
        group = group.parent
    yield mount


def _quota_v2(group: Path) -> float | None:
    """``cpu.max`` is "150000 100000" or "max 100000" (microseconds)."""
    words = _read(group / "cpu.max").split()
    return _ratio(*words) if len(words) == 2 else None


def _quota_v1(group: Path) -> float | None:
    return _ratio(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """None for "max", for -1, which means none in version 1, and for what isn't there."""
    quota, period = quota.strip(), period.strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
