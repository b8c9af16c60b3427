"""The directory in which the workers share their metrics.

``prometheus_client`` looks for PROMETHEUS_MULTIPROC_DIR once, when it is imported: so the variable comes before the
project. For the supervisor, which doesn't import the library.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_PREFIX = "django-asgi-deploy-metrics-"


def directory() -> str:
    """The one that the environment names, or a new one, which is then in the environment."""
    if not os.environ.get(VARIABLE):
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix=_PREFIX)
    return os.environ[VARIABLE]


def comes_too_late() -> bool:
    """Whether the library has been imported without the variable: then only a fresh interpreter can share."""
    return "prometheus_client" in sys.modules and not os.environ.get(VARIABLE)


def mark_dead(folder: str, pid: int) -> None:
    """Forget what a process that has ended said of itself: its requests in flight, threads and memory.

    What ``prometheus_client.multiprocess.mark_process_dead`` does.
    """
    for file in Path(folder).glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)


def remove(folder: str) -> None:
    """Remove the directory, unless it is the user's."""
    if Path(folder).name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
