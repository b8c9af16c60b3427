"""A PostgreSQL server of its own in a temporary folder, for tests and benchmarks."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _find_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


PROGRAMS = _find_programs()
# PostgreSQL refuses to run as root.
AS_POSTGRES = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


@dataclass(frozen=True)
class Postgres:
    """A running server; it listens on a Unix socket only, whose folder is ``host``."""

    host: str
    port: int
    user: str = "postgres"
    database: str = "postgres"

    def settings(self, **options: Any) -> dict[str, Any]:
        """An entry for DATABASES."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": self.host,
            "PORT": str(self.port),
            "USER": self.user,
            "NAME": self.database,
            **options,
        }


@contextmanager
def run_postgres(max_connections: int = 100) -> Iterator[Postgres]:
    if PROGRAMS is None:
        raise FileNotFoundError("PostgreSQL's initdb isn't in PATH, nor under /usr/lib/postgresql/*/bin.")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has to be short
    if AS_POSTGRES:
        shutil.chown(folder, "postgres")
    data = folder / "data"

    def run(*command: str | Path) -> None:
        subprocess.run(
            [*AS_POSTGRES, *map(str, command)], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120
        )

    try:
        run(PROGRAMS / "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D", data)
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections={max_connections} -c port=5432"
        run(PROGRAMS / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield Postgres(host=str(folder), port=5432)
        finally:
            run(PROGRAMS / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
