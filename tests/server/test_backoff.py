from django_asgi_deploy.server.backoff import Backoff


def pauses(tolerated: int, ends: int, *, somebody_serves: bool) -> list[float]:
    """After each of so many ends."""
    backoff = Backoff(tolerated)
    found = []
    for number in range(ends):
        backoff.count(now=float(number))
        found.append(backoff.pause_seconds(somebody_serves=somebody_serves))
    return found


def test_the_pause_begins_with_the_last_end_that_is_tolerated_and_doubles_up_to_half_a_minute() -> None:
    assert pauses(5, 12, somebody_serves=True) == [0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_it_goes_on_for_days() -> None:
    assert pauses(1, 10_000, somebody_serves=True)[-1] == 30


def test_while_nobody_serves_it_does_not_grow() -> None:
    assert pauses(5, 12, somebody_serves=False) == [0, 0, 0, 0, *[1] * 8]


def test_a_long_pause_becomes_a_short_one_when_the_last_one_who_serves_is_gone() -> None:
    backoff = Backoff(1)
    for _ in range(5):
        backoff.count(now=100.0)
    assert backoff.ends_at(somebody_serves=True) == 116.0
    assert backoff.ends_at(somebody_serves=False) == 101.0
