"""A PostgreSQL of our own in a temporary folder, with every setting at its default but where it listens."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environment import clean_environment
from errors import BenchmarkError
from processes import pinned

PROGRAMS = ("initdb", "pg_ctl", "psql")
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
USER = "bench"  # without privileges: slots that are kept for superusers stay out of its reach, as in real life
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'bench'"
START_SECONDS = 60


def find_programs() -> Path:
    """The folder that initdb, pg_ctl and psql are in."""
    folders = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    folders += sorted(DEBIAN_PROGRAMS.glob("*/bin"), key=_version, reverse=True)
    for folder in folders:
        if all((folder / program).exists() for program in PROGRAMS):
            return folder
    raise BenchmarkError("PostgreSQL's initdb, pg_ctl and psql are needed; on Debian: apt install postgresql")


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdecimal() else 0


@dataclass(frozen=True)
class Postgres:
    programs: Path
    folder: Path  # the socket is here; nobody else can enter it

    def run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            env=clean_environment() | {"LC_ALL": "C.UTF-8"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=START_SECONDS,
            check=False,
            **_as_postgres(),
        )
        if done.returncode:
            raise BenchmarkError(f"PostgreSQL: {program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def query(self, sql: str) -> str:
        connection = ["--host", str(self.folder), "--username", "postgres", "--dbname", "postgres"]
        return self.run("psql", *connection, "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql)

    def connections(self) -> int:
        """How many the site has open."""
        return int(self.query(COUNT))

    def start(self) -> None:
        data = self.folder / "data"
        self.run("initdb", "--pgdata", str(data), "--username", "postgres", "--auth", "trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}'"
        # To a file: a pipe would stay open as long as the server runs.
        self.run("pg_ctl", "start", "-w", "-D", str(data), "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.folder / "data"))


@contextmanager
def running(cores: tuple[int, ...]) -> Iterator[Postgres]:
    programs = find_programs()
    with tempfile.TemporaryDirectory(prefix="bench-pg-", dir="/tmp") as name:  # a socket's path has to be short
        if os.geteuid() == 0:
            shutil.chown(name, "postgres", "postgres")
        postgres = Postgres(programs, Path(name))
        try:
            with pinned(*cores):
                postgres.start()
            postgres.query(f"CREATE ROLE {USER} LOGIN")
            postgres.query(f"CREATE DATABASE {USER} OWNER {USER}")
            yield postgres
        finally:
            postgres.stop()


def _as_postgres() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
