"""What ``ps`` shows of a process, by the optional package setproctitle."""


def set_title(process_name: str | None, role: str) -> None:
    """``PROCESS_NAME: runasgi, ROLE``. Nothing if there is no name; conf has made sure that the package is there."""
    if process_name is not None:
        from setproctitle import setproctitle

        setproctitle(f"{process_name}: runasgi, {role}")
