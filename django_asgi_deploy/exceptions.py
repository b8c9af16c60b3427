"""What can go wrong, and the exit status each kind of failure ends the process with."""

from enum import IntEnum


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
        super().__init__("\n".join(problems))


class ApplicationError(ASGIDeployError):
    """The application was found, or not, but can't be served."""


class AddressError(ASGIDeployError):
    """An address can't be listened on; ``status`` says whether trying again later can help."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.TEMPORARY) -> None:
        super().__init__(message)
        self.status = status


class ProjectError(ASGIDeployError):
    """The project's own code fails: settings, ``asgi.py``, URLconf or system checks."""

    status = ExitStatus.PROJECT
