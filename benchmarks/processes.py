"""Processes of a server: where they run, what they use, how they end. Linux only: it reads /proc."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 4.0


@dataclass(frozen=True)
class Cores:
    """The server has one for itself; the load generator has another, and the database what is left."""

    server: int
    client: int
    database: tuple[int, ...]

    @classmethod
    def choose(cls) -> "Cores":
        server, *others = sorted(os.sched_getaffinity(0))
        client, *rest = others or [server]
        return cls(server, client, tuple(rest) or (client,))


@contextmanager
def pinned(*cores: int) -> Iterator[None]:
    """Whatever is started inside runs on ``cores``: children inherit the affinity of the thread that starts them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Usage:
    """One moment of all processes of a server together."""

    cpu_seconds: float
    threads: int
    resident_bytes: int


def usage(session: int) -> Usage:
    """What the processes of a session use; a server's master and workers are one session."""
    ticks = threads = resident = 0
    for pid, fields in _members(session):
        ticks += int(fields[11]) + int(fields[12])
        threads += int(fields[17])
        resident += _resident_bytes(pid)
    return Usage(ticks / TICKS_PER_SECOND, threads, resident)


def _members(session: int) -> Iterator[tuple[str, list[str]]]:
    """Process ids, and /proc/<pid>/stat from the state on, which is the third field."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                yield file.parent.name, fields


def _resident_bytes(pid: str) -> int:
    # Rss of smaps_rollup is exact; that of status may lag behind by some hundred kB for each core.
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    return 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own session, and whatever it left behind there."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(condition, seconds: float, interval: float = 0.05) -> bool:
    """Whether ``condition()`` came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval)
    return True
