"""The clock that the supervisor's deadlines go by: nobody is blamed for time in which it stood still itself."""

import time
from collections.abc import Callable

UNNOTICED_SECONDS = 0.5  # a turn of the loop that is late by more was held up from outside


class Clock:
    """Seconds, in ``now``, as they were at the last ``turn``: between two turns it is one moment.

    A process isn't told that it was stopped, that its control group was frozen or its virtual machine paused. It sees
    that it has slept for much longer than it wanted to, and takes that as no time at all. ``read`` is the real clock.
    """

    def __init__(self, read: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._read_last = self.now = read()

    def turn(self, slept_at_most: float) -> float:
        """Go on after a sleep of up to so many seconds. Returns those that don't count, mostly 0."""
        now = self._read()
        elapsed, self._read_last = now - self._read_last, now
        late = elapsed - slept_at_most
        if late <= UNNOTICED_SECONDS:
            self.now += elapsed
            return 0.0
        self.now += slept_at_most
        return late
