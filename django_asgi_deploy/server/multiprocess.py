"""The directory in which the workers share their metrics: who makes it removes it.

``prometheus_client`` looks at PROMETHEUS_MULTIPROC_DIR when it is imported, so this comes before the project is.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_metrics(wanted: bool = True) -> Iterator[None]:
    """While the block runs, processes that are started share their metrics.

    A directory that the environment names already is used, and left to whoever made it.
    """
    if not wanted or os.environ.get(VARIABLE):
        yield
        return
    folder = tempfile.mkdtemp(prefix="django-asgi-deploy-metrics-")
    os.environ[VARIABLE] = folder
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


def mark_dead(pid: int) -> None:
    """Forget what a worker that has ended said of itself: its requests in flight, threads and memory."""
    if not os.environ.get(VARIABLE):
        return
    from prometheus_client import multiprocess

    library: Any = multiprocess  # typed in part only
    library.mark_process_dead(pid)
