"""What holds the event loop without being a call that is known to block: computing, C functions that don't give way.

The loop beats while a request is under way; a thread beside it looks, when a beat is overdue, where the loop's thread
is. What counts is the loop's own processor time, or samples in which the system says that its thread sleeps: on a busy
machine a thread that merely has to wait for its turn isn't taken for one that holds the loop.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from django_asgi_deploy.checks.frames import Place, outwards, place_of, stack_of

STALL_SECONDS = 0.1
BEAT_SECONDS = 0.01
ONLY_ONCE = ("<frozen importlib", "/django/template/loaders/", "/django/urls/resolvers.py")  # a warm server has them


class Stalls:
    """The user's lines at which the loop stood still, since watching() was entered."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._samples: Counter[Place] = Counter()
        self._asleep = 0
        self._beaten = time.monotonic()
        self._computed = 0.0
        self._handle: asyncio.TimerHandle | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Meanwhile, in the loop's thread: it beats, and another thread looks at it."""
        done = threading.Event()
        self._beaten, self._computed = time.monotonic(), time.thread_time()
        self._handle = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)
        arguments = (threading.get_ident(), threading.get_native_id(), done)
        threading.Thread(target=self._look, args=arguments, name="checkasgi-stalls", daemon=True).start()
        try:
            yield
        finally:
            done.set()
            self._judge()
            self._handle.cancel()

    def _beat(self) -> None:
        self._judge()
        self._handle = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _judge(self) -> None:
        computed, now = time.thread_time(), time.monotonic()
        held = computed - self._computed >= STALL_SECONDS or self._asleep * BEAT_SECONDS >= STALL_SECONDS
        if held and now - self._beaten >= STALL_SECONDS and self._samples:
            place, _ = self._samples.most_common(1)[0]
            if place not in self.places:
                self.places.append(place)
        self._beaten, self._computed, self._asleep = now, computed, 0
        self._samples = Counter()

    def _look(self, ident: int, native: int, done: threading.Event) -> None:
        while not done.wait(BEAT_SECONDS):
            if time.monotonic() - self._beaten < 2 * BEAT_SECONDS:
                continue
            frames = [*outwards(stack_of(ident))]
            place = None if any(_is_only_once(frame) for frame in frames) else place_of(frames)
            if place:
                self._samples[place] += 1
                self._asleep += _is_asleep(native)


def _is_only_once(frame: FrameType) -> bool:
    return any(part in frame.f_code.co_filename for part in ONLY_ONCE)


def _is_asleep(native: int) -> bool:
    """Whether the system says so of a thread; False where it doesn't say (not on Linux)."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/self/task/{native}/stat").read_text().rpartition(")")[2].split()[0]
        return state in ("S", "D")
    return False
