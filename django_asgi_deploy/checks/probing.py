"""The probe in a process of its own: what it changes, and what it leaves running, stays there."""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import django

from django_asgi_deploy import conf, project
from django_asgi_deploy.checks import arguments, frames, inspected, prober
from django_asgi_deploy.checks.probed import Probed
from django_asgi_deploy.exceptions import ASGIDeployError, ProjectError

CHILD = "from django_asgi_deploy.checks.probing import main; main()"
MOST_PAGES = 200
UNSAFE = "DJANGO_ALLOW_ASYNC_UNSAFE"  # would hide from the probe what it looks for


@dataclass(frozen=True)
class Wanted:
    """What to drive, and how."""

    urls: Sequence[str]  # none: every page
    timeout_seconds: float
    settings_option: str | None = None
    shows_progress: bool = False


def probe(wanted: Wanted) -> Probed:
    """What driving the application brings. Raises ProjectError if it can't be driven."""
    environment = {name: value for name, value in os.environ.items() if name != UNSAFE}
    with tempfile.TemporaryDirectory(prefix="checkasgi-") as folder:
        file = Path(folder, "probed")
        asked = {"path": sys.path, "root": str(frames.root()), "file": str(file), "wanted": asdict(wanted)}
        # What the project prints must not get between the lines of the report: it goes to standard error.
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(asked),
            env=environment,
            stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if not file.exists():
            raise ProjectError(f"The process that drives the application ended with {done.returncode}.")
        answer: Probed | str = pickle.loads(file.read_bytes())
    if isinstance(answer, str):
        raise ProjectError(answer)
    return answer


def _has_descriptor(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return False
    return True


# ------------------------------------------------------------------ in the child


def main() -> None:
    """Probe as standard input asks, and leave the outcome in the file that it names."""
    asked = json.load(sys.stdin)
    sys.path[:] = asked["path"]
    frames.use_root(Path(asked["root"]))
    os.environ.pop(UNSAFE, None)
    answer: Probed | str
    try:
        answer = _probe(Wanted(**asked["wanted"]))
    except ASGIDeployError as error:
        answer = str(error)
    file = Path(asked["file"])
    file.with_suffix(".part").write_bytes(pickle.dumps(answer))
    file.with_suffix(".part").rename(file)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)  # whatever still hangs


def _probe(wanted: Wanted) -> Probed:
    django.setup()
    settings = conf.load()
    loaded = project.load(settings, settings_option=wanted.settings_option, check=None)
    urls, left_out = [*wanted.urls], 0
    if not urls:
        routes = inspected.of_project(settings, loaded).routes
        pages = [*dict.fromkeys(route.url for route in routes if route.url)]
        filled = (arguments.path_for(route) for route in routes if route.url is None)
        pages += [page for page in dict.fromkeys(filled) if page]
        urls, left_out = pages[:MOST_PAGES], max(0, len(pages) - MOST_PAGES)
    progress = _show if wanted.shows_progress else lambda text: None
    probed = prober.probe(settings, loaded, urls, wanted.timeout_seconds, named=bool(wanted.urls), progress=progress)
    if left_out:
        probed.notes.append(f"{left_out} more pages were not requested; to choose: checkasgi --probe --url ...")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coroutines that the errors' frames held
        for request in probed.requests:  # they are judged, and can't be sent to another process
            request.answer.error, request.answer.exceptions = None, []
    return probed


def _show(text: str) -> None:
    """One line on the terminal, over the one before."""
    sys.stderr.write(f"\r\x1b[K{text and 'GET '}{text}")
    sys.stderr.flush()
