"""Three processes that want the same thing at the same moment."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.utils import DEADLINE_SECONDS, clean_environment


class Contest:
    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def begin(self, at: float) -> None:
        """Tell each when, on the monotonic clock."""
        for process in self._processes:
            print(at, file=process.stdin, flush=True)

    def said(self) -> dict[int, str]:
        """The next line of each, by pid."""
        return {process.pid: process.stdout.readline() for process in self._processes}  # type: ignore[union-attr]


@contextmanager
def contest(folder: Path, *arguments: str | Path) -> Iterator[Contest]:
    """Three times Python with ``arguments``, each of which has said "ready"."""
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment({"PYTHONPATH": os.pathsep.join(sys.path)}),
        )
        for _ in range(3)
    ]
    try:
        three = Contest(processes)
        assert set(three.said().values()) == {"ready\n"}
        yield three
    finally:
        for process in processes:
            process.communicate(timeout=DEADLINE_SECONDS)
