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
ONE_MOMENT_SECONDS = 2.0  # between the ends of processes that were killed together: it takes time to free much memory

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


def tracer(pid: int) -> int:
    """The pid of the debugger, or of strace, that has hold of a process; 0 if there is none."""
    return int(_status(pid).get("TracerPid", "0"))


def is_stopped(pid: int) -> bool:
    """As by SIGSTOP."""
    return _status(pid).get("State", "").startswith("T")


def _status(pid: int) -> dict[str, str]:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def reap() -> Iterator[tuple[int, int]]:
    """The pid and wait status of each child that has ended, and of each orphan that became one."""
    while True:
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, wait_status


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def status_in_words(code: int) -> str:
    """``code`` as ``os.waitstatus_to_exitcode`` gives it."""
    return f"status {code}" if code >= 0 else signal_name(-code)


class OOMKills:
    """The kernel's count of what it has killed for memory in this process's control group.

    ``root`` is where ``proc`` and ``sys`` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._count = self._before = oom_kills(root)
        self._moved_at = float("-inf")

    def explain(self, now: float) -> str:
        """How the count has moved, for a process that was killed; empty if it hasn't. ``now`` is of any clock.

        Of several that are killed at one moment, the first that is looked at finds all of them counted.
        """
        if now - self._moved_at > ONE_MOMENT_SECONDS:
            self._before = self._count
        count = oom_kills(self._root)
        if count != self._count:
            self._count = count
            self._moved_at = now
        if self._before is None or count is None or count <= self._before:
            return ""
        return f"its cgroup's oom_kill counter went from {self._before} to {count}"


def oom_kills(root: Path = Path("/")) -> int | None:
    """How often the kernel has killed for memory in this process's cgroup (v2, then v1); None where it doesn't tell."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = root / "sys/fs/cgroup" / controllers
        file = "memory.oom_control" if controllers else "memory.events"
        for folder in (base / path.lstrip("/"), base):  # in a container, the path may be the host's
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
