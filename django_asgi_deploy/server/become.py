"""How ``manage.py runasgi`` becomes the supervisor: it executes another program and keeps its pid and its sockets.

Before that it forks, so that what it has imported already isn't imported twice: the fork is the first generation.
"""

import os
import sys

from django_asgi_deploy.server import processes
from django_asgi_deploy.server.channel import Channel, Message
from django_asgi_deploy.server.handover import Handover
from django_asgi_deploy.server.sockets import Sockets


def become_supervisor(handover: Handover, sockets: Sockets) -> tuple[Channel, Message]:
    """Turn this process into the supervisor; returns in a fork of it, which goes on as the first generation.

    Raises OSError if the supervisor's program can't be executed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = Channel.pair()
    with processes.signals_blocked():  # the supervisor lets them in when it can hear them
        if _may_fork(handover):
            pid = os.fork()
            if not pid:
                ours.close()
                sockets.close_copies()
                return theirs, {"generation": 1, "announces": True}
            handover = handover._replace(generation=(pid, ours.fileno()))
        handover.execute()


def _may_fork(handover: Handover) -> bool:
    """If not, the supervisor starts an interpreter for the first generation, as it does for the others."""
    knows_metrics = handover.metrics_folder is not None and "prometheus_client" in sys.modules  # it looks at its import
    return not processes.unsafe_threads() and not knows_metrics
