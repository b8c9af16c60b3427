"""Who listens on a TCP port: a question for messages, answered on Linux and only where /proc lets us look."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"
RESTART_SECONDS = 1.0  # one of ours that was asked to stop closes its sockets within this
ORPHAN_SECONDS = 5.0  # and one whose supervisor is gone ends within this, even if it is blocked


@dataclass(frozen=True)
class Owner:
    """A process that holds a listening socket."""

    pid: int
    command: str

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
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        if inodes & set(_links(process / "fd")):
            return Owner(int(process.name), _command_line(process))
    return None


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _links(directory: Path) -> Iterator[str]:
    try:
        for entry in directory.iterdir():
            yield os.readlink(entry)
    except OSError:
        return  # it ended meanwhile, or belongs to somebody else


def _command_line(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return " ".join(b" ".join(words).decode(errors="replace").split())
