"""The file that holds the pid of the server, for whoever sends it signals."""

import os
from pathlib import Path

from django_asgi_deploy.exceptions import ExitStatus, PidFileError


class PidFile:
    """At ``path``. Only ever removed by the process whose pid is in it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def write(self) -> None:
        """Take over what a dead process has left. Raises PidFileError if a live one has it, or it can't be written."""
        owner = self._owner()
        if owner:
            raise PidFileError(
                f"PID_FILE {self.path}: process {owner} is running with it. Stop that, or choose another file."
            )
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            temporary.write_text(f"{os.getpid()}\n")
            temporary.replace(self.path)  # a reader sees the old pid or the new one, never half of it
        except OSError as error:
            raise PidFileError(f"PID_FILE {self.path}: {error.strerror}.", ExitStatus.USAGE) from None

    def remove(self) -> None:
        if self._pid() == os.getpid():
            self.path.unlink(missing_ok=True)

    def _pid(self) -> int:
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            return 0

    def _owner(self) -> int:
        """The live process whose pid is in the file, other than this one; 0 if there is none."""
        pid = self._pid()
        if pid <= 0 or pid == os.getpid():  # in a container, the last instance had the same pid
            return 0
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return 0
        except PermissionError:
            pass  # somebody else's, and alive
        return pid if _may_be_ours(pid) else 0


def _may_be_ours(pid: int) -> bool:
    """Whether the process is a runasgi, rather than one that got the pid of a dead one."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True  # not Linux, or nobody may look
    return b"runasgi" in words
