"""Makes a Python on Linux lack what Python lacks on another system, named by the variable ELSEWHERE.

The standard library decides by the system as it is imported, so that comes first; whoever asks later sees the other.
"""

import asyncio
import concurrent.futures  # noqa: F401
import ctypes  # noqa: F401
import functools
import multiprocessing.connection
import multiprocessing.popen_spawn_posix
import multiprocessing.spawn  # noqa: F401
import os
import pathlib  # noqa: F401
import select
import shutil  # noqa: F401
import signal
import socket
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import sysconfig
import tempfile  # noqa: F401
import threading  # noqa: F401
import urllib.request  # noqa: F401
import zoneinfo  # noqa: F401
from contextlib import suppress

with suppress(ImportError):
    import click  # noqa: F401

sysconfig.get_config_vars()

LINUX = {
    os: ("memfd_create", "sched_getaffinity", "eventfd", "pidfd_open", "splice"),
    signal: ("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGPOLL", "SIGSTKFLT"),
}
POSIX = {
    os: (
        *("fork", "forkpty", "getpgid", "setpgid", "getpgrp", "setsid", "getuid", "geteuid", "getgid", "nice", "chown"),
        *("environb", "sysconf", "posix_spawn", "wait", "wait3", "wait4", "WNOHANG", "uname", "getloadavg", "mkfifo"),
        *("fchmod", "fchown", "killpg", "sched_yield"),
    ),
    signal: (
        *("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL", "SIGCHLD", "SIGCLD", "SIGSTOP", "SIGCONT", "SIGTSTP"),
        *("SIGTTIN", "SIGTTOU", "SIGQUIT", "SIGPIPE", "SIGWINCH", "setitimer", "getitimer", "alarm", "pause"),
        *("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF", "pthread_sigmask", "pthread_kill", "sigwait", "sigpending"),
        *("siginterrupt", "SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK"),
    ),
    socket: ("AF_UNIX", "send_fds", "recv_fds", "SOCK_SEQPACKET", "SO_REUSEPORT", "CMSG_SPACE", "CMSG_LEN"),
    select: ("poll", "epoll"),
}
POSIX_MODULES = ("fcntl", "resource", "termios", "grp", "pwd", "pty", "tty", "syslog", "readline", "uvloop")

platform = os.environ["ELSEWHERE"]
if platform == "win32":
    socket.socketpair = functools.partial(socket.socketpair, socket.AF_UNIX)  # made of TCP there
for missing in (LINUX, POSIX) if platform == "win32" else (LINUX,):
    for module, names in missing.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
if platform == "win32":
    for name in POSIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment] # an ImportError for whoever wants it
    asyncio.ProactorEventLoop = asyncio.SelectorEventLoop  # type: ignore[misc] # which has no readers there
    signal.SIGBREAK = 21  # type: ignore[attr-defined] # Ctrl-Break
sys.platform = platform
