"""Projects as their own tools make them, converted as the README says."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.utils import Server, clean_environment, run_server

PATIENCE_SECONDS = 120  # for migrations and the like on a busy machine

USERNAME = "ada"
PASSWORD = "correct horse battery staple"
SUPERUSER = {
    "DJANGO_SUPERUSER_USERNAME": USERNAME,
    "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    "DJANGO_SUPERUSER_EMAIL": "ada@example.com",
}


def run(command: Sequence[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    """What the command printed; it must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def add_to_installed_apps(settings: Path) -> None:
    """The second of the README's four steps."""
    text = settings.read_text()
    assert text.count("INSTALLED_APPS = [\n") == 1
    settings.write_text(text.replace("INSTALLED_APPS = [\n", 'INSTALLED_APPS = [\n    "django_asgi_deploy",\n'))


@contextmanager
def serving(python: str | Path, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """``manage.py runasgi`` on a free port. At the end it stops when asked to, and has shown no traceback."""
    with run_server([str(python), "manage.py", "runasgi", "127.0.0.1:0"], folder, environment) as server:
        server.wait_for(r"^Serving http://")
        yield server
        assert server.stop() == 0, server.output
        assert not re.search(r"Traceback|ERROR|CRITICAL", server.output), server.output
