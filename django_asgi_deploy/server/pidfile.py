"""The file that holds the pid of the server, for whoever sends it signals."""

import errno
import os
import stat
import sys
import time
from pathlib import Path

from django_asgi_deploy.exceptions import ExitStatus, PidFileError

PATIENCE_SECONDS = 5.0  # with others that are about to take the same file
NAMELESS_SECONDS = 0.2  # how long a process may have no command line and be alive all the same
_RETRY_SECONDS = 0.01
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class PidFile:
    """At ``path``. Only ever removed by the process whose pid is in it."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.path = Path(path).absolute()  # the project may go elsewhere

    def write(self) -> None:
        """Take over what a dead process has left. Raises PidFileError if a live one has it, or it can't be written."""
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            draft.write_text(f"{os.getpid()}\n")
            try:
                self._take(draft)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise PidFileError(f"PID_FILE {self.name}: {error.strerror}.", ExitStatus.USAGE) from None

    def _take(self, draft: Path) -> None:
        """Of several that come at the same moment, one gets it: either to make it, or to replace a stale one.

        A reader sees the old pid or the new one, never half of it.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (self._is_made(draft) or self._is_replaced(draft)):
            if time.monotonic() >= deadline:
                raise PidFileError(
                    f"PID_FILE {self.name}: another program has locked it, or keeps changing it. Choose another file."
                )
            time.sleep(_RETRY_SECONDS)

    def _is_made(self, draft: Path) -> bool:
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS or self.path.exists():
                raise
            draft.replace(self.path)
        return True

    def _is_replaced(self, draft: Path) -> bool:
        """Who holds the lock of a stale file may replace it; whoever waited for it then has an old file's lock."""
        try:
            fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a FIFO would wait for a writer
        except FileNotFoundError:
            if self.path.is_symlink():
                raise  # to nothing
            return False  # removed since: it can be made
        try:
            if not (_is_locked(fd) and self._is_still(fd)):
                return False
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise PidFileError(
                    f"PID_FILE {self.name} is there, and is no file. Choose another path.", ExitStatus.USAGE
                )
            owner = _owner(os.read(fd, 100))
            if owner:
                raise PidFileError(
                    f"PID_FILE {self.name}: process {owner} is running with it. Stop that, or choose another file."
                )
            draft.replace(self.path)
        finally:
            os.close(fd)
        return True

    def _is_still(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def remove(self) -> None:
        try:
            if _pid(self.path.read_bytes()) == os.getpid():
                self.path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # somebody else was quicker
        except OSError as error:
            print(f"PID_FILE {self.name} can't be removed: {error.strerror}.", file=sys.stderr, flush=True)


def _is_locked(fd: int) -> bool:
    """Whether nobody else is about to replace this file. Ends with the descriptor."""
    import fcntl  # not on Windows, where there is no PID file

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _pid(content: bytes) -> int:
    try:
        return int(content)
    except ValueError:
        return 0


def _owner(content: bytes) -> int:
    """The live process whose pid is in the file, other than this one; 0 if there is none."""
    pid = _pid(content)
    if pid <= 0 or pid == os.getpid():  # in a container, the last instance had the same pid
        return 0
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return 0
    except PermissionError:
        pass  # somebody else's, and alive
    return pid if _may_be_ours(pid) else 0


def _may_be_ours(pid: int) -> bool:
    """Whether the process is a runasgi, rather than one that got the pid of a dead one."""
    deadline = time.monotonic() + NAMELESS_SECONDS
    while True:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return not Path("/proc/self").exists()  # it has ended; or this isn't Linux
        except OSError:
            return True  # nobody may look
        if words or time.monotonic() >= deadline:
            return b"runasgi" in words
        time.sleep(_RETRY_SECONDS)  # it is dead, or executes another program just now, as who becomes the supervisor
