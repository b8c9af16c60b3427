"""Removes the file of a unix socket, if nobody has put another in its place."""

import os
from typing import NamedTuple


class MadeFile(NamedTuple):
    """``made_at``, in nanoseconds, because a file system may give the number of a removed file to the next one."""

    path: str
    inode: int
    made_at: int

    @classmethod
    def of(cls, path: str) -> "MadeFile":
        """Raises OSError."""
        status = os.stat(path)
        return cls(path, status.st_ino, status.st_mtime_ns)

    def unlink_if_still_ours(self) -> None:
        try:
            if MadeFile.of(self.path) == self:
                os.unlink(self.path)
        except OSError:
            pass  # somebody removed it, which is what we wanted
