"""How many connections each worker holds, in memory that the workers share: who has more than its share waits a moment.

Workers that share a listening socket race for every connection, and the kernel wakes the same one first time and again.
Without a look at the others, long-lived connections pile up in one worker.
"""

import mmap
import os
import time

_ROW = 2  # doubles per worker: when it last wrote (monotonic seconds, 0.0: it doesn't accept), and its connections
_DOUBLE = 8
STALE_SECONDS = 1.0  # a worker that hasn't written for so long is blocked, or gone: it takes no connections
LONGEST_WAIT_SECONDS = 0.02
_WAIT_PER_CONNECTION_SECONDS = 0.001
_SLACK = 4  # so many above the mean are no reason to wait, nor is an eighth of the mean


class Balance:
    """A table with one row per worker. The parent makes it; each worker takes a seat in it.

    ``fd`` is a file descriptor of a table that the parent made, for a process that was started rather than forked.
    """

    def __init__(self, rows: int = 64, *, fd: int | None = None) -> None:
        if fd is None:
            fd = _anonymous_file()
            os.ftruncate(fd, (rows * _ROW + 1) * _DOUBLE)  # the last is of all workers: when one has complained
        self.fd = fd
        self._memory = mmap.mmap(fd, 0)
        # Eight aligned bytes are written at once: a reader in another process sees the old value or the new one.
        self._table = memoryview(self._memory).cast("d")
        self._rows = len(self._table) // _ROW
        self._seat: int | None = None

    def take_seat(self) -> None:
        """Take the first free row. A worker that finds none takes connections uncounted, as if it were alone.

        A lock of the kernel on the row's bytes says that it is taken: it ends with the process, however that ends.
        """
        import fcntl  # not on Windows, where nothing is shared, but where this file is imported

        for row in range(self._rows):
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row * _ROW * _DOUBLE)
            except OSError:
                continue
            self._seat = row
            return

    def write(self, connections: int) -> None:
        """Say that this worker is alive and holds so many connections."""
        if self._seat is not None:
            self._table[self._seat * _ROW + 1] = connections
            self._table[self._seat * _ROW] = time.monotonic()

    def leave(self) -> None:
        """Say that this worker accepts no more."""
        if self._seat is not None:
            self._table[self._seat * _ROW] = 0.0

    def is_first_to_complain(self, calm_seconds: float) -> bool:
        """Whether none of the workers has complained for so long, about what they all share; now this one has."""
        import fcntl

        place = self._rows * _ROW
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, _DOUBLE, place * _DOUBLE)
        except OSError:
            return False  # another one complains just now
        last, now = self._table[place], time.monotonic()
        self._table[place] = now
        fcntl.lockf(self.fd, fcntl.LOCK_UN, _DOUBLE, place * _DOUBLE)
        return last == 0.0 or now - last >= calm_seconds

    def wait_seconds(self, connections: int) -> float:
        """How long a worker that holds so many should leave the next connection to the others; mostly 0."""
        others = self._others()
        if not others or self._seat is None:
            return 0.0
        mean = (sum(others) + connections) / (len(others) + 1)
        excess = connections - mean
        if excess <= max(_SLACK, mean / 8):
            return 0.0
        return min(LONGEST_WAIT_SECONDS, excess * _WAIT_PER_CONNECTION_SECONDS)

    def _others(self) -> list[float]:
        """The connections of each of the other workers that are accepting."""
        table, since = self._table, time.monotonic() - STALE_SECONDS
        return [table[row * _ROW + 1] for row in range(self._rows) if table[row * _ROW] > since and row != self._seat]

    def close(self) -> None:
        self._table.release()
        self._memory.close()
        os.close(self.fd)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("django-asgi-deploy-balance", os.MFD_CLOEXEC)
    import tempfile  # half a megabyte, and not needed on Linux

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
