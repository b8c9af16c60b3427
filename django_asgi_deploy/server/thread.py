"""A server in a thread of this process, for tests."""

import threading
from collections.abc import Callable
from dataclasses import replace

from django_asgi_deploy.addresses import TCPAddress
from django_asgi_deploy.conf import Settings
from django_asgi_deploy.exceptions import ASGIDeployError, ExitStatus
from django_asgi_deploy.server import logs
from django_asgi_deploy.server.config import build_config
from django_asgi_deploy.server.sockets import Sockets
from django_asgi_deploy.server.worker import Worker
from django_asgi_deploy.types import ASGIApp


class ServerThread(threading.Thread):
    """Serves an application on ``host`` with its lifespan, by the settings of ``runasgi``; for port 0 on any free one.

    When ``is_ready`` is set, either it serves, or ``error`` says why it doesn't. At its end open requests are cut.
    """

    def __init__(self, load: Callable[[], tuple[ASGIApp, Settings]], host: str, port: int = 0) -> None:
        super().__init__(name="live server", daemon=True)
        self.host = host
        self.port = port
        self.is_ready = threading.Event()
        self.error: BaseException | None = None
        self._load = load
        self._worker: Worker | None = None

    def run(self) -> None:
        try:
            with Sockets([TCPAddress(self.host, self.port)]) as sockets, logs.without_start_and_end():
                self.port = sockets.sockets[0].getsockname()[1]
                self._serve(sockets)
        except BaseException as error:
            self.error = error  # raised by whoever waits
        finally:
            self.is_ready.set()

    def _serve(self, sockets: Sockets) -> None:
        app, settings = self._load()
        here = replace(settings, graceful_timeout_seconds=0, ssl_certfile=None, ssl_keyfile=None, ssl_ca_certs=None)
        config = build_config(here, app, lifespan=None)
        self._worker = Worker(config, on_ready=self.is_ready.set, cleanup=sockets.close)
        if self._worker.serve_until_stopped(sockets.sockets) != ExitStatus.STOPPED:
            raise ASGIDeployError("The live server can't start: the application's lifespan failed. Its log says why.")

    def terminate(self) -> None:
        """Ends the server, closes the lifespan, and returns when the thread has ended."""
        if self._worker is not None:
            self._worker.should_exit = True
        self.join()
