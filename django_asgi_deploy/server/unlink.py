"""Removes the file of a unix socket, if nobody has put another in its place."""

import os


def unlink_if_still_ours(path: str, inode: int) -> None:
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except OSError:
        pass  # somebody removed it, which is what we wanted
