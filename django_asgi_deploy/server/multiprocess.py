"""The directory in which the workers share their metrics: who makes it removes it.

``prometheus_client`` looks at PROMETHEUS_MULTIPROC_DIR when it is imported, so this comes before the project is.
The supervisor imports this file and should stay small, so what takes half a megabyte is imported where it is used.
"""

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def make_folder() -> str | None:
    """Have the processes that are started from now on share their metrics; the directory is for the caller to remove.

    None if the environment names one already: that is used, and left to whoever made it.
    """
    if os.environ.get(VARIABLE):
        return None
    import tempfile

    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="django-asgi-deploy-metrics-")
    return os.environ[VARIABLE]


def remove_folder(folder: str | None) -> None:
    if folder:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def mark_dead(pid: int) -> None:
    """Forget what a process that has ended said of itself, such as a worker's requests in flight, threads and memory.

    As ``prometheus_client.multiprocess.mark_process_dead``, which the supervisor can't import.
    """
    if folder := os.environ.get(VARIABLE):
        for file in Path(folder).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)
