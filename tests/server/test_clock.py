from django_asgi_deploy.server.clock import UNNOTICED_SECONDS, Clock


def clock_of(*seconds: float) -> Clock:
    """A clock that reads these numbers from the real one, in their order."""
    return Clock(iter(seconds).__next__)


def test_it_goes_with_the_real_clock_and_shows_one_moment_between_two_turns() -> None:
    clock = clock_of(100.0, 100.3, 101.2)
    assert clock.now == 100.0
    assert clock.turn(0.5) == 0.0
    assert clock.now == 100.3
    assert clock.turn(0.5) == 0.0
    assert clock.now == 101.2


def test_time_beyond_the_sleep_that_was_wanted_does_not_count() -> None:
    clock = clock_of(100.0, 107.0, 107.2)
    assert clock.turn(1.0) == 6.0
    assert clock.now == 101.0
    assert clock.turn(0.5) == 0.0
    assert round(clock.now, 3) == 101.2


def test_what_a_busy_machine_adds_is_no_pause() -> None:
    clock = clock_of(100.0, 100.5 + UNNOTICED_SECONDS, 102.0 + 2 * UNNOTICED_SECONDS)
    assert clock.turn(0.5) == 0.0
    assert clock.turn(0.5) > 0.0


def test_a_pause_that_is_shorter_than_any_limit_does_not_count_either() -> None:
    clock = clock_of(100.0, 101.6)
    assert round(clock.turn(0.5), 3) == 1.1
    assert clock.now == 100.5
