"""From the settings to a serving process, and its exit status: one worker here, or the supervisor and its workers."""

import gc
import os
import platform
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import FrameType

import django
import uvicorn
from django.core.cache import caches
from django.db import connections

import django_asgi_deploy
from django_asgi_deploy import database
from django_asgi_deploy.addresses import parse_address
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ExitStatus
from django_asgi_deploy.project import Project
from django_asgi_deploy.server import generation, logs, multiprocess, processes, systemd
from django_asgi_deploy.server.become import become_supervisor
from django_asgi_deploy.server.channel import Channel, Message
from django_asgi_deploy.server.config import Config, build_config, implementations
from django_asgi_deploy.server.handover import Handover
from django_asgi_deploy.server.pidfile import PidFile
from django_asgi_deploy.server.plan import Plan
from django_asgi_deploy.server.sockets import Sockets
from django_asgi_deploy.server.tie import Tie
from django_asgi_deploy.server.title import set_title
from django_asgi_deploy.server.warmup import Steps, warm_up
from django_asgi_deploy.server.worker import Worker, limit_exit


@dataclass(frozen=True)
class Command:
    """What the command line gives to the server."""

    load: Callable[[], Project]  # imports the project; raises ASGIDeployError if it can't be served
    advise: Callable[[Project], list[str]]  # lines about what could be better; takes its time
    say: Callable[[str], None]  # shows a text to the user
    debug: bool
    colour: bool | None  # None: by the terminal


def run(
    settings: Settings,
    command: Command,
    *,
    on_ready: Callable[[str], None] | None = None,
    brief: bool = False,
    is_last: bool = True,
) -> ExitStatus:
    """Serve until stopped.

    ``on_ready`` gets the lines with the addresses when it serves, in the place of ``say``; ``brief`` leaves the banner
    out; without ``is_last`` another process goes on with the sockets afterwards.

    Raises ASGIDeployError if it can't start.
    """
    limit_exit()
    with _stopped_by_signal():
        tied = Channel.inherited()
        if tied is None and (settings.is_supervised or _is_to_reap(settings)):
            tied = _become_supervisor(settings, command.colour)
        if tied:
            channel, told = tied
            with closing(channel):
                return _serve_for_supervisor(settings, command, channel, told)
        return _serve_alone(settings, command, on_ready or command.say, brief=brief, is_last=is_last)


def _load(settings: Settings, command: Command) -> tuple[Project, Config]:
    with logs.loggers_kept_enabled():
        project = command.load()
    logs.configure(settings.access_log, colour=command.colour)
    is_ours = project.application is project.ours
    config = build_config(
        settings,
        project.application,
        lifespan=is_ours or None,
        websockets=not is_ours or bool(settings.websocket or settings.mounts or settings.middleware),
    )
    _keep_what_is_loaded()
    return project, config


def _keep_what_is_loaded() -> None:
    """Have the garbage collector never look at it again: that takes long, and copies the pages that forks share."""
    gc.collect(0)
    gc.freeze()
    gc.enable()


def _serve_alone(
    settings: Settings, command: Command, on_ready: Callable[[str], None], *, brief: bool, is_last: bool
) -> ExitStatus:
    with ExitStack() as cleanup:
        sockets = cleanup.enter_context(_open_sockets(settings))
        cleanup.enter_context(_pid_file(settings.pid_file))
        project, config = _load(settings, command)
        if not brief:
            notes = [*project.notes, *command.advise(project)]
            here = f"{_workers_in_words(settings)}, pid {os.getpid()}"
            command.say(_banner(settings, project, config, notes, here, debug=command.debug))
        set_title(settings.process_name, "one worker")
        serving = "\n".join(f"Serving {url}" for url in sockets.urls(tls=config.is_ssl))

        def ready() -> None:
            on_ready(serving)
            systemd.notify(READY=1, STATUS=f"One worker serves, pid {os.getpid()}.")

        worker = Worker(
            config,
            on_ready=ready,
            cleanup=cleanup.close,
            warm_up=_warm_up(project.warmup, project.host),
            drain_delay_seconds=settings.drain_delay_seconds,
            is_last=is_last,
        )
        return worker.serve_until_stopped(sockets.sockets)


# ------------------------------------------------------------------ with a supervisor


def _is_to_reap(settings: Settings) -> bool:
    """Whether this is process 1, as in a container: whoever loses its parent becomes its child.

    A worker can't reap those: it would take the statuses of the programs that the project waits for.
    """
    return settings.supervisor == "auto" and sys.platform == "linux" and os.getpid() == 1


def _become_supervisor(settings: Settings, colour: bool | None) -> tuple[Channel, Message]:
    with ExitStack() as cleanup:  # not reached by the fork, nor by the supervisor
        sockets = cleanup.enter_context(_open_sockets(settings))
        cleanup.enter_context(_pid_file(settings.pid_file))
        folder = multiprocess.make_folder() if settings.metrics_path else None
        cleanup.callback(multiprocess.remove_folder, folder)
        handover = Handover(
            command=[sys.executable, *sys.orig_argv[1:]],
            directory=processes.working_directory(),
            plan=Plan.of(settings),
            sockets=[sock.fileno() for sock in sockets.sockets],
            borrowed=sockets.borrowed,
            made=sockets.made,
            urls=sockets.urls(tls=settings.ssl_certfile is not None),
            colour=colour,
            process_name=settings.process_name,
            pid_file=settings.pid_file and os.path.abspath(settings.pid_file),
            metrics_folder=folder,
        )
        tied = become_supervisor(handover, sockets)
        cleanup.pop_all()
        return tied


def _serve_for_supervisor(settings: Settings, command: Command, channel: Channel, told: Message) -> ExitStatus:
    """Load a version of the project, and serve as a worker if the supervisor asks for it."""

    def advise() -> None:
        if lines := command.advise(project):
            command.say(_rows(_notes(lines)))

    number = told["generation"]
    set_title(settings.process_name, f"version {number}")
    systemd.forget_watchdog()
    generation.prepare()
    project, config = _load(settings, command)
    if told["announces"]:
        below = f"{_workers_in_words(settings)}, supervisor {os.getppid()}: {_why_supervised(settings)}"
        command.say(_banner(settings, project, config, project.notes, below, debug=command.debug))
    duty = generation.await_duty(
        channel,
        Plan.of(settings),
        settings.preload,
        before_fork=_close_connections,
        advise=advise if told["announces"] else None,
    )
    if duty is None:
        return ExitStatus.STOPPED
    set_title(settings.process_name, f"worker of version {number}")
    tie = Tie(duty.channel)
    worker = Worker(
        config,
        on_ready=tie.ready,
        cleanup=lambda: None,
        warm_up=_warm_up(project.warmup, project.host),
        drain_delay_seconds=settings.drain_delay_seconds,
        tie=tie,
        balance=duty.balance,
    )
    with closing(duty):
        return worker.serve_until_stopped(duty.sockets)


def _close_connections() -> None:
    """A connection that two processes write to is of no use to either."""
    connections.close_all()
    caches.close_all()


# ------------------------------------------------------------------ parts


def _open_sockets(settings: Settings) -> Sockets:
    return Sockets([parse_address(text) for text in settings.bind], reuse_port=settings.reuse_port == "on")


def _warm_up(steps: Steps, host: str) -> Callable[[Worker], Awaitable[None]] | None:
    if not steps:
        return None
    return lambda worker: warm_up(steps, worker.config.loaded_app, host, worker.lifespan.state)


@contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    file = PidFile(path)
    file.write()
    try:
        yield
    finally:
        file.remove()


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


Rows = list[tuple[str, str]]


def _banner(
    settings: Settings, project: Project, config: Config, notes: Iterable[str], processes: str, *, debug: bool
) -> str:
    rows: Rows = [
        ("application", f"{project.found.name} ({project.found.origin})"),
        ("settings", f"{project.settings_module.name} ({project.settings_module.origin})"),
        *(("handler", line) for line in project.handler_in_words()),
        ("server", f"{implementations(config)}; {processes}"),
    ]
    if project.pooled:
        rows += [("database", line) for line in database.advice(settings.workers_decided[0], project.pooled.threads)]
    if debug:
        rows.append(("DEBUG", "is on: for development only"))
    else:
        rows.append(("stopping", _budget(settings)))
    versions = (
        f"django-asgi-deploy {django_asgi_deploy.__version__}, Django {django.get_version()}, "
        f"uvicorn {uvicorn.__version__}, Python {platform.python_version()}"
    )
    return f"{versions}\n{_rows(rows + _notes(notes))}"


def _notes(lines: Iterable[str]) -> Rows:
    return [("note", line) for line in lines]


def _rows(rows: Rows) -> str:
    return "\n".join(f"  {name:<11}  {text}" for name, text in rows)


def _workers_in_words(settings: Settings) -> str:
    number, rule = settings.workers_decided
    return ("one worker" if number == 1 else f"{number} workers") + (f" ({rule})" if rule else "")


def _why_supervised(settings: Settings) -> str:
    if reasons := settings.needs_supervisor:
        return ", ".join(reasons)
    return f"SUPERVISOR ({settings.origins['SUPERVISOR']})" if settings.supervisor == "on" else "it is process 1"


def _budget(settings: Settings) -> str:
    """How long the end can take, and what to tell a process manager."""
    seconds = settings.drain_delay_seconds + settings.graceful_timeout_seconds
    patience = seconds + 5
    return (
        f"takes up to {seconds} s (DRAIN_DELAY_SECONDS + GRACEFUL_TIMEOUT_SECONDS): "
        f"TimeoutStopSec={patience}, terminationGracePeriodSeconds: {patience}"
    )
