"""Who has a TCP port or a unix socket: a question for messages, answered on Linux and where /proc lets us look."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
_UNCONNECTED = "01"  # a bound unix socket; the connections that it gave have its path, too
RESTART_SECONDS = 1.0  # one of ours that was asked to stop closes its sockets within this
ORPHAN_SECONDS = 5.0  # and one whose supervisor is gone ends within this, even if it is blocked


@dataclass(frozen=True)
class Owner:
    """A process that holds a socket."""

    pid: int
    command: str

    @classmethod
    def of(cls, process: Path) -> "Owner":
        return cls(int(process.name), _command_line(process))

    def __str__(self) -> str:
        command = self.command if len(self.command) <= 100 else self.command[:97] + "..."
        return f"pid {self.pid} ({command})"

    @property
    def patience_seconds(self) -> float:
        """How long it is worth waiting for its end: it may be the instance that this one replaces."""
        if not re.search(r"\brunasgi\b", self.command):
            return 0.0
        return ORPHAN_SECONDS if self._has_lost_its_leader() else RESTART_SECONDS

    def _has_lost_its_leader(self) -> bool:
        """A worker is in the process group of its supervisor, so that group has no leader once that was killed."""
        try:
            status = Path(f"/proc/{os.getpgid(self.pid)}/stat").read_text()
        except OSError:
            return True
        return status.rpartition(")")[2].split()[0] == "Z"  # dead, and nobody has asked for its status yet


def owner_of_port(port: int) -> Owner | None:
    """The process that listens there; None if nobody is seen, or not by us."""
    return next(map(Owner.of, _processes_with(set(_listening_inodes(port)))), None)


def owner_of_unix_socket(path: str) -> Owner | None:
    """The process that has bound it, whether it listens yet or not; None if nobody is seen, or not by us."""
    for inode, bound in _bound_paths(os.path.basename(path)):
        for process in _processes_with({inode}):
            with suppress(OSError):  # it has ended, or its folder isn't ours to see
                if os.path.samefile(process / "cwd" / bound, path):  # what it called it may be relative
                    return Owner.of(process)
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for fields in map(str.split, _rows(table)):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _bound_paths(name: str) -> Iterator[tuple[str, str]]:
    """Inode and path of each bound unix socket whose file is called so."""
    for row in _rows("/proc/net/unix"):
        fields = row.split(maxsplit=7)
        if len(fields) == 8 and fields[5] == _UNCONNECTED and os.path.basename(fields[7]) == name:
            yield fields[6], fields[7]


def _rows(table: str) -> list[str]:
    try:
        return Path(table).read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return []


def _processes_with(inodes: set[str]) -> Iterator[Path]:
    """The folders in /proc of those that hold one of these sockets, the oldest first."""
    names = {f"socket:[{inode}]" for inode in inodes}
    if not names:
        return
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if names & set(_links(process / "fd")):
            yield process


def _links(directory: Path) -> Iterator[str]:
    try:
        for entry in directory.iterdir():
            yield os.readlink(entry)
    except OSError:
        return  # it ended meanwhile, or belongs to somebody else


def _command_line(process: Path) -> str:
    """As it was typed: without the folder of the program, and what a supervisor of ours has put in front."""
    try:
        program, *words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    typed = [word for word in words if not word.endswith("/django_asgi_deploy/server/supervise.py")]
    return " ".join(" ".join([os.path.basename(program), *typed]).split())
