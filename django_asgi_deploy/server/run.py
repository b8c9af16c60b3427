"""From the settings to a serving process, and its exit status."""

import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import django
import uvicorn

import django_asgi_deploy
from django_asgi_deploy import database
from django_asgi_deploy.addresses import parse_address
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ExitStatus
from django_asgi_deploy.project import Project
from django_asgi_deploy.server import logs
from django_asgi_deploy.server.config import build_config, implementations
from django_asgi_deploy.server.sockets import Sockets
from django_asgi_deploy.server.worker import Worker


def run(
    settings: Settings,
    load: Callable[[], Project],
    say: Callable[[str], None],
    *,
    debug: bool,
    colour: bool | None,
    on_ready: Callable[[str], None] | None = None,
    brief: bool = False,
) -> ExitStatus:
    """Serve until stopped. ``load`` imports the project, ``say`` shows a text to the user.

    ``on_ready`` gets the lines with the addresses when it serves, in the place of ``say``; ``brief`` leaves the banner
    out.

    Raises ASGIDeployError if it can't start.
    """
    with _stopped_by_signal(), Sockets([parse_address(text) for text in settings.bind]) as sockets:
        with logs.loggers_kept_enabled():
            project = load()
        logs.configure(colour=colour, bare=settings.access_log == "json")
        config = build_config(settings, project.application, lifespan=project.application is project.ours or None)
        if not brief:
            say(_banner(project, config, debug=debug))
        serving = "\n".join(f"Serving {url}" for url in sockets.urls(tls=config.is_ssl))
        worker = Worker(config, on_ready=lambda: (on_ready or say)(serving), cleanup=sockets.close)
        return worker.serve_until_stopped(sockets.sockets)


@contextmanager
def _stopped_by_signal() -> Iterator[None]:
    """Until the server has its own handlers: SIGTERM and Ctrl-C end the start-up with status 0."""

    def stop(sig: int, frame: FrameType | None) -> None:
        raise SystemExit(ExitStatus.STOPPED)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread gets signals
        return
    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for sig, handler in before.items():
            if signal.getsignal(sig) is stop:
                signal.signal(sig, handler)


def _banner(project: Project, config: uvicorn.Config, *, debug: bool) -> str:
    rows = [
        ("application", f"{project.found.name} ({project.found.origin})"),
        ("settings", f"{project.settings_module.name} ({project.settings_module.origin})"),
        *(("handler", line) for line in project.handler_in_words()),
        ("server", f"{implementations(config)}; one worker, pid {os.getpid()}"),
    ]
    if project.pooled:
        rows += [("database", line) for line in database.advice(1, project.pooled.threads)]
    if debug:
        rows.append(("DEBUG", "is on: for development only"))
    rows += [("note", note) for note in project.notes]
    versions = (
        f"django-asgi-deploy {django_asgi_deploy.__version__}, Django {django.get_version()}, "
        f"uvicorn {uvicorn.__version__}, Python {platform.python_version()}"
    )
    return "\n".join([versions, *(f"  {name:<11}  {text}" for name, text in rows)])
