"""Who listens on a TCP port: a question for messages, answered on Linux and only where /proc lets us look."""

import os
from collections.abc import Iterator
from pathlib import Path

_LISTEN = "0A"


def owner_of_port(port: int) -> str | None:
    """``"pid 123 (python manage.py runasgi)"``; None if nobody is seen, or not by us."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & set(_links(process / "fd")):
            return f"pid {process.name} ({_command_line(process)})"
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
    text = b" ".join(words).decode(errors="replace").strip()
    return text if len(text) <= 100 else text[:97] + "..."
