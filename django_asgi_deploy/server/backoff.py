"""How long to wait before the next start, when what was started keeps ending."""

LONGEST_PAUSE_SECONDS = 30.0
SHORTEST_PAUSE_SECONDS = 1.0


class Backoff:
    """After ``tolerated`` ends in a row, there is a pause before the next start; each further one doubles it.

    That is for a service that goes on meanwhile. If nobody serves, the next start is the only way back, and a pause
    need only be long enough that starts and ends don't keep a processor busy.
    """

    def __init__(self, tolerated: int) -> None:
        self.tolerated = tolerated
        self.ends = 0  # in a row
        self.last_end_at = 0.0

    @property
    def is_on(self) -> bool:
        return self.ends >= self.tolerated

    def count(self, now: float) -> None:
        self.ends += 1
        self.last_end_at = now

    def pause_seconds(self, *, somebody_serves: bool) -> float:
        if not self.is_on:
            return 0.0
        if not somebody_serves:
            return SHORTEST_PAUSE_SECONDS
        doublings = min(self.ends - self.tolerated, 10)  # it may go on for days
        return min(LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS * 2.0**doublings)

    def ends_at(self, *, somebody_serves: bool) -> float:
        """When the next start may be."""
        return self.last_end_at + self.pause_seconds(somebody_serves=somebody_serves)
