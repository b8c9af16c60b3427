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
from django_asgi_deploy.checks import arguments, channels, frames, inspected, prober, websockets
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.probed import Probed
from django_asgi_deploy.checks.websockets import WebSocket
from django_asgi_deploy.exceptions import ASGIDeployError, ProjectError

CHILD = "from django_asgi_deploy.checks.probing import main; main()"
MOST_PAGES = 200
MOST_NAMED = 5  # routes in a note
UNSAFE = "DJANGO_ALLOW_ASYNC_UNSAFE"  # would hide from the probe what it looks for


@dataclass(frozen=True)
class Wanted:
    """What to drive, and how."""

    urls: Sequence[str]
    timeout_seconds: float
    websockets: Sequence[str] = ()  # paths; none here and no urls: every page and every WebSocket
    is_sent_elsewhere: bool = False  # also where a channel layer isn't on this machine
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
    subject = inspected.of_project(settings, loaded)
    urls, read_only, notes = [*wanted.urls], set[str](), list[str]()
    if wanted.urls or wanted.websockets:
        sockets = websockets.chosen(wanted.websockets, subject)
    else:
        urls, read_only, left_out = _pages(subject)
        if left_out:
            notes.append(f"{left_out} more pages were not requested; to choose: checkasgi --probe --url ...")
        sockets = _websockets(subject, notes, is_sent_elsewhere=wanted.is_sent_elsewhere)
    probed = prober.probe(
        settings,
        loaded,
        urls,
        wanted.timeout_seconds,
        named=bool(wanted.urls),
        read_only=read_only,
        websockets=sockets,
        progress=_show if wanted.shows_progress else lambda text: None,
    )
    probed.notes += notes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coroutines that the errors' frames held
        for request in probed.requests:  # they are judged, and can't be sent to another process
            request.answer.error, request.answer.exceptions = None, []
    return probed


def _pages(subject: Inspected) -> tuple[list[str], set[str], int]:
    """Those to request; of which, those that may not write; and how many more there are.

    These are the ones with arguments, and those that say that they do something.
    """
    plain: dict[str, bool] = {}
    for route in subject.routes:
        if route.url:
            plain.setdefault(route.url, arguments.does_something(route))
    paths = (arguments.path_for(route) for route in subject.routes if route.url is None)
    filled = dict.fromkeys(path for path in paths if path and path not in plain)
    pages = [*plain, *filled]
    read_only = {*filled} | {url for url, does in plain.items() if does}
    return pages[:MOST_PAGES], read_only, max(0, len(pages) - MOST_PAGES)


def _websockets(subject: Inspected, notes: list[str], *, is_sent_elsewhere: bool) -> list[WebSocket]:
    """Those to try. What connects often tells others, over the channel layer: they mustn't be anybody real."""
    known = websockets.known(subject)
    elsewhere = channels.layers_elsewhere()
    if known.sockets and elsewhere and not is_sent_elsewhere:
        notes.append(
            f"no WebSocket was tried, because a channel layer isn't on this machine: {', '.join(elsewhere)}; to try "
            "them all the same: checkasgi --probe --yes"
        )
        return []
    if known.left_out:
        shown = ", ".join(known.left_out[:MOST_NAMED])
        more = len(known.left_out) - MOST_NAMED
        notes.append(
            f"not tried, as its arguments aren't known or it may do more than answer: {shown}"
            f"{f' and {more} more' if more > 0 else ''}; to try it: checkasgi --probe --ws-url PATH"
        )
    return known.sockets


def _show(text: str) -> None:
    """One line on the terminal, over the one before."""
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
