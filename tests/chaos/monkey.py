"""Does to a service what may happen to it, in an order that a seed decides, and knows what must come of it."""

import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.load import Load, Outcome
from tests.chaos.service import Running, Service, children, is_alive, until

MOST_WANTED = 4
MOST_ENDS = 4  # more in a row make the supervisor pause, which is right, and takes long
PEACE_SECONDS = 15.0  # then they are no longer in a row
BROKEN = "import this_is_missing\n"
WARM = """
    import os
    from mysite.version import VERSION

    def say():
        print(f"worker {os.getpid()} of {VERSION}\\n", end="", flush=True)
"""
WARMUP = ("--warmup", "mysite.warm.say")
# Not ResourceWarning: a process that is ended at any moment of its start has something open.
NEVER_SAID = (
    "Traceback",
    "Exception ignored",
    "RuntimeWarning",
    "never retrieved",
    "Fatal Python",
    "abandoned",
    "Stopped at once",
)


class Monkey:
    """``burst`` does a few things in quick succession, ``settle`` waits for what must come of them, ``stop`` ends it.

    It expects that the service was started with WARM and WARMUP, and that ``load`` is on it. Without ``forks``, each
    worker has loaded the code by itself, and broken code is kept from it: there would be nothing to replace it by.
    """

    def __init__(self, seed: int, service: Service, running: Running, load: Load, *, forks: bool) -> None:
        self.random = random.Random(seed)
        self.service = service
        self.running = running
        self.load = load
        self.supervisor = running.supervisor
        self.wanted = running.number
        self.forks = forks
        self.written = self.good = 1  # versions: the last one, and the last one that isn't broken
        self.is_broken = False
        self.ends = 0  # of workers, by us, since there was peace
        self.last_end = 0.0
        self.killed: list[tuple[float, set[int]]] = []  # of each worker: when it was dead, and its clients' ports
        self.stopped_at = float("inf")
        self.done: list[str] = []
        self.began_at = time.monotonic()
        self.asgi = (service.folder / "mysite" / "asgi.py").read_text()
        self.descriptors = 0

    def story(self) -> str:
        """For a failure."""
        return "\n".join(
            [
                f"{self.wanted} wanted of version {self.good}; alive {self._alive()}, children {self._children()}, "
                f"{self._descriptors()} descriptors beside {self.descriptors}",
                *self.done,
                str(self.load.summary()),
                self.running.server.output,
            ]
        )

    def _note(self, text: str) -> None:
        self.done.append(f"{time.monotonic() - self.began_at:6.2f} {text} ({len(self.running.server.lines)} lines)")

    # ------------------------------------------------------------------ what it does

    def burst(self) -> None:
        """In a settled service, one to four things; not everything may come second."""
        anything = {
            self.reload: 4,
            self.reload_in_quick_succession: 1,
            self.want_more: 2,
            self.want_fewer: 2,
            self.kill_worker: 2,
            self.ask_worker: 1,
            self.pause_worker: 1,
            self.pause_supervisor: 1,
            self.show_stacks: 1,
        }
        only_first = {self.kill_generation: 2, self.kill_generation_while_code_is_broken: 1, self.break_code: 2}
        self._do(anything if self.is_broken or not self.forks else anything | only_first)
        for _ in range(self.random.randint(0, 3)):
            time.sleep(self.random.choice((0, 0, 0.05, 0.3, 0.7)))
            self._do(anything)

    def _do(self, actions: dict[Callable[[], None], int]) -> None:
        (action,) = self.random.choices(list(actions), list(actions.values()))
        action()

    def reload(self) -> None:
        if self.is_broken:
            self._write("asgi", self.asgi)
            self.is_broken = False
        self.written += 1
        self.good = self.written
        self._write("version", f"VERSION = {self.written}\n")
        self._signal(signal.SIGHUP, f"version {self.written}")

    def reload_in_quick_succession(self) -> None:
        for _ in range(self.random.randint(2, 4)):
            self.reload()
            time.sleep(self.random.choice((0, 0.02, 0.2)))

    def break_code(self) -> None:
        self._write("asgi", BROKEN)
        self.is_broken = True
        self._signal(signal.SIGHUP, "broken code")

    def want_more(self) -> None:
        if self.wanted < MOST_WANTED:
            self._want(signal.SIGTTIN, self.wanted + 1)

    def want_fewer(self) -> None:
        self._want(signal.SIGTTOU, max(1, self.wanted - 1))

    def _want(self, sig: signal.Signals, number: int) -> None:
        said = f"{sig.name} came: "
        before = self.running.server.output.count(said)
        self._signal(sig, f"{number} wanted")
        # Two signals of a kind that nobody has taken yet are one.
        until(lambda: self.running.server.output.count(said) > before, self.story)
        self.wanted = number

    def show_stacks(self) -> None:
        self._signal(signal.SIGUSR1, "stacks")

    def kill_worker(self) -> None:
        if pid := self._victim():
            self._note(f"kill -9 of worker {pid}")
            self._pause(pid)  # so that it is known what it holds
            ports = client_ports(pid)
            _send(pid, signal.SIGKILL)
            until(lambda: not is_alive(pid), self.story)
            self.killed.append((time.monotonic(), ports))

    def ask_worker(self) -> None:
        if pid := self._victim():
            self._note(f"SIGTERM of worker {pid}")
            _send(pid, signal.SIGTERM)

    def pause_worker(self) -> None:
        if alive := self._alive():
            pid = self.random.choice(alive)
            self._note(f"SIGSTOP of worker {pid} for a moment")
            self._pause(pid)
            time.sleep(0.3)
            _send(pid, signal.SIGCONT)

    def pause_supervisor(self) -> None:
        self._note("SIGSTOP of the supervisor for a moment")
        self._pause(self.supervisor)
        time.sleep(self.random.choice((0, 0.3)))
        self.random.choice([self.kill_worker, self.ask_worker, self.pause_worker, time.monotonic])()
        os.kill(self.supervisor, signal.SIGCONT)

    def kill_generation_while_code_is_broken(self) -> None:
        """It is mended without a signal, and may be loaded once it is."""
        said = "The next try is in"
        before = self.running.server.output.count(said)
        self._write("asgi", BROKEN)
        self.kill_generation()
        until(lambda: self.running.server.output.count(said) > before, self.story)
        self.written += 1
        self.good = self.written
        self._note(f"mended, version {self.written}")
        self._write("version", f"VERSION = {self.written}\n")
        self._write("asgi", self.asgi)

    def kill_generation(self) -> None:
        """What workers are forked from."""
        others = set(self._children()) - set(self.running.started)
        if len(others) == 1:
            self._note(f"kill -9 of {others}, which isn't a worker")
            _send(others.pop(), signal.SIGKILL)

    def _victim(self) -> int | None:
        if time.monotonic() - self.last_end > PEACE_SECONDS:
            self.ends = 0
        alive = self._alive()
        if not alive or self.ends == MOST_ENDS:
            return None
        self.ends += 1
        self.last_end = time.monotonic()
        return self.random.choice(alive)

    def _pause(self, pid: int) -> None:
        _send(pid, signal.SIGSTOP)
        until(lambda: not is_alive(pid) or _state(pid) == "T", self.story)

    def _signal(self, sig: signal.Signals, why: str) -> None:
        self._note(f"{sig.name}: {why}")
        self.running.signal(sig)

    def _write(self, module: str, text: str) -> None:
        """In one piece: whoever is loading sees the old file or the new one."""
        file = self.service.folder / "mysite" / f"{module}.py"
        draft = file.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(file)

    # ------------------------------------------------------------------ what must come of it

    def settle(self) -> None:
        """Exactly as many workers as are wanted, all of the newest good version, beside what they are forked from."""
        self._note("settling")
        until(self._is_settled, self.story)
        self._note("settled")
        since, settled_at = len(self.load.outcomes), time.monotonic()
        self.load.wait_for_more(20)
        late = [each for each in self.load.outcomes[since:] if each.sent_at > settled_at and each.result == "ok"]
        assert {each.body.split()[1] for each in late} <= {str(self.good)}, self.story()
        self.check_losses()

    def _is_settled(self) -> bool:
        alive, of_supervisor = self._alive(), self._children()  # with zombies
        if not self.descriptors and len(of_supervisor) == self.wanted + self.forks:
            self.descriptors = self._descriptors()
        said = self.running.server.output
        return (
            len(alive) == self.wanted
            and len(of_supervisor) == self.wanted + self.forks
            and set(alive) <= set(of_supervisor)
            and all(f"\nworker {pid} of {self.good}\n" in said for pid in alive)
            and self._descriptors() == self.descriptors
        )

    def _alive(self) -> list[int]:
        return [pid for pid in self.running.started if is_alive(pid)]

    def _children(self) -> list[int]:
        return children(self.supervisor) if self.running.server.process.poll() is None else []

    def _descriptors(self) -> int:
        """How many the supervisor has, without one for each worker."""
        try:
            return len(os.listdir(f"/proc/{self.supervisor}/fd")) - self.wanted
        except OSError:
            return 0

    def check_losses(self) -> None:
        """None but what a worker held that was killed, and what came to a port that was closed already."""
        lost = [each for each in self.load.lost if not self._may_be_lost(each)]
        assert lost == [], f"{lost}\n{self.story()}"

    def _may_be_lost(self, outcome: Outcome) -> bool:
        if outcome.result == "refused":
            return outcome.ended_at >= self.stopped_at
        return any(outcome.port in ports and outcome.sent_at <= dead_at for dead_at, ports in self.killed)

    def stop(self) -> None:
        """SIGTERM in the midst of something, and nothing is left."""
        before = self.random.choice(
            [self.reload, self.reload_in_quick_succession, self.want_more, self.want_fewer]
            + [self.break_code] * self.forks
            + ([self.ask_worker, self.kill_worker] if self.wanted > 1 else [])  # somebody must be there to accept
        )
        before()
        time.sleep(self.random.choice((0, 0.05, 0.2, 0.5, self.random.random())))
        port = self.running.server.port
        self.stopped_at = time.monotonic()
        if self.random.random() < 0.3:
            self._note("SIGTERM to all processes")
            os.killpg(self.supervisor, signal.SIGTERM)
        else:
            self._signal(signal.SIGTERM, "the end")
        assert self.running.server.wait() == 0, self.story()
        assert _of_session(self.supervisor) == [], self.story()
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) != 0, self.story()
        self.load.wait_for(lambda outcomes: outcomes[-1].result == "refused")
        self.load.stop()
        self.check_losses()
        said = self.running.server.output
        said_words = [words for words in NEVER_SAID if words in said]
        assert said_words == [], f"{said_words}\n{self.story()}"


# ------------------------------------------------------------------ processes


def _send(pid: int, sig: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has left meanwhile
        os.kill(pid, sig)


def client_ports(pid: int) -> set[int]:
    """The other ends of the TCP connections that a process has."""
    inodes = set()
    with suppress(OSError):  # it has left meanwhile
        for name in os.listdir(f"/proc/{pid}/fd"):
            if match := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{name}")):
                inodes.add(match[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in inodes}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _of_session(session: int) -> list[str]:
    """The processes of a session that are left, as /proc/PID/stat has them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = file.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[3]) == session:
            found.append(text)
    return found
