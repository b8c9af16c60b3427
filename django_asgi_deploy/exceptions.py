"""What can go wrong, and the exit status each kind of failure ends the process with.

The supervisor imports this file and starts as fast as it can, so what it has no use for is imported where it is used.
"""

import functools
import os
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traceback import FrameSummary


class ExitStatus(IntEnum):
    """Exit statuses of ``runasgi``; a process manager need not restart after USAGE and PROJECT."""

    STOPPED = 0  # asked to stop
    TEMPORARY = 1  # may pass with time: port in use, lifespan failed
    USAGE = 2  # wrong options or configuration
    PROJECT = 3  # the project can't be imported, or its checks or URLconf fail


class ASGIDeployError(Exception):
    """An error that is the user's to mend: its text is the whole message, no traceback is shown."""

    status = ExitStatus.USAGE


class ConfigurationError(ASGIDeployError):
    """One or more options are wrong; ``problems`` (list of str) holds one line each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        several = [f"{len(problems)} problems in the configuration:", *(f"  - {each}" for each in problems)]
        super().__init__(problems[0] if len(problems) == 1 else "\n".join(several))


class ApplicationError(ASGIDeployError):
    """The application isn't there, or isn't something that can be served."""


class AddressError(ASGIDeployError):
    """An address can't be listened on; ``status`` says whether trying again later can help."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.TEMPORARY) -> None:
        super().__init__(message)
        self.status = status


class PidFileError(ASGIDeployError):
    """The PID file belongs to a live process (TEMPORARY), or can't be written (USAGE)."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.TEMPORARY) -> None:
        super().__init__(message)
        self.status = status


class ProjectError(ASGIDeployError):
    """The project's own code fails: settings, ``asgi.py``, URLconf or system checks."""

    status = ExitStatus.PROJECT

    @classmethod
    def from_exception(cls, what_failed: str, error: BaseException) -> "ProjectError":
        """The message is ``what_failed``, then the error with the user's own frames only."""
        import traceback

        frames = traceback.StackSummary.from_list(_frames_of_the_user(error.__traceback__))
        reason = "".join(traceback.format_exception_only(error))
        return cls(f"{what_failed}\n\n{''.join(frames.format())}{reason}".rstrip())


@functools.cache
def _foreign() -> tuple[str, ...]:
    """How the names of files begin that the user didn't write."""
    import sysconfig

    return (
        os.path.dirname(__file__) + os.sep,
        *(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "purelib", "platlib")),
        "<",  # frozen, or made from a string
    )


def is_users(filename: str) -> bool:
    """Whether the user wrote this file: not Python's, not installed, not ours."""
    return not filename.startswith(_foreign()) and "site-packages" not in filename


def _frames_of_the_user(tb: TracebackType | None) -> "list[FrameSummary]":
    """What the user wrote, and behind it the place that raised; the rest is noise on the way."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(tb) if not frame.filename.startswith("<frozen ")]
    users = [frame for frame in frames if is_users(frame.filename)]
    if users and users[-1] is not frames[-1]:
        users.append(frames[-1])
    return users
