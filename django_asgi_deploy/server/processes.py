"""What Linux tells about processes, and what it lets us arrange: read from /proc, no package needed.

The supervisor imports this file and starts as fast as it can, so what it has no use for is imported where it is used.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IS_LINUX = sys.platform == "linux"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if IS_LINUX else 4096
PR_SET_CHILD_SUBREAPER = 36

# Threads that take care of a fork by themselves, by the name the kernel has for them.
SAFE_THREADS = frozenset({"jemalloc_bg_thd"})


def become_subreaper() -> None:
    """Children whose parent ends become ours, as for process 1, and those of the program that this process becomes.

    Raises OSError. See ``man 2 PR_SET_CHILD_SUBREAPER``.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@contextmanager
def signals_blocked() -> Iterator[None]:
    """For a fork: a signal waits until the child has handlers of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unsafe_threads() -> list[str]:
    """The names of this process's other threads, Python's and foreign ones, that a fork would lose."""
    import threading

    python_names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = []
    for task in Path("/proc/self/task").iterdir():
        number = int(task.name)
        if number != os.getpid() and (name := _read(task / "comm").strip()) not in SAFE_THREADS:
            found.append(python_names.get(number, name or "?"))
    return sorted(found)


def resident_bytes(pid: int) -> int:
    """What the process has in memory now; 0 if it is gone."""
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * PAGE_BYTES if fields else 0


def hindrance(pid: int) -> str:
    """What keeps a process from running although it is well: a debugger, or SIGSTOP."""
    status = dict(line.split(":\t", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines() if ":\t" in line)
    if status.get("TracerPid", "0") != "0":
        return f"pid {status['TracerPid']} traces it"
    if status.get("State", "").startswith("T"):
        return "it is stopped, as by SIGSTOP"
    return ""


def oom_kills() -> int | None:
    """How often the kernel has killed for memory in this process's cgroup (v2, then v1); None where it doesn't tell."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, file = ("", "memory.events") if controllers == "" else ("memory", "memory.oom_control")
        for folder in (Path("/sys/fs/cgroup", root, path.lstrip("/")), Path("/sys/fs/cgroup", root)):  # in a container
            for entry in _read(folder / file).splitlines():
                name, _, number = entry.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return None


def original_environment() -> dict[bytes, bytes]:
    """The environment that this process was started with, before ``manage.py`` or a dotenv file added to it."""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environb)
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def working_directory() -> str:
    """The folder as the shell called it: behind a symbolic link, the next deployment can be another one."""
    named = os.environ.get("PWD", "")
    try:
        if named and os.path.samefile(named, "."):
            return named
    except OSError:
        pass  # PWD is only a hint
    return os.getcwd()


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # it ended meanwhile, or this isn't Linux
