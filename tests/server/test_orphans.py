"""The watch for the supervisor's end, where none can be had. What it does: row 9 of tests/chaos/test_rows.py."""

import sys
from pathlib import Path

from django_asgi_deploy.server import orphans, owner, worker
from tests.utils import run_to_end

# No process can be forked, then one can.
SCRIPT = """
import errno, os, signal
from django_asgi_deploy.server.lines import Lines
from django_asgi_deploy.server.orphans import OrphanWatch

def refuse():
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

watch, fork, os.fork = OrphanWatch(Lines(False), None), os.fork, refuse
before = os.listdir("/proc/self/fd")
watch.keep([os.getpid()])
watch.keep([os.getpid()])
os.fork = fork
child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
watch.keep([os.getpid(), child])
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
watch.dismiss()
assert os.listdir("/proc/self/fd") == before
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    print("nothing is left")
"""


def test_a_system_without_room_for_it_is_said_once_and_the_next_child_is_another_try() -> None:
    done = run_to_end([sys.executable, "-X", "dev", "-c", SCRIPT], Path(__file__).parents[2])
    assert done.stdout == "nothing is left\n", done.stderr
    assert done.stderr == "WARNING:  Nobody watches for the supervisor's end: Resource temporarily unavailable.\n"


def test_it_leaves_workers_the_time_that_they_give_themselves_and_ends_before_another_instance_gives_up() -> None:
    own = worker.ORPHAN_SECONDS + worker.ORPHAN_OVERTIME_SECONDS + worker.LAST_WORDS_SECONDS
    assert own <= orphans.PATIENCE_SECONDS < owner.ORPHAN_SECONDS
