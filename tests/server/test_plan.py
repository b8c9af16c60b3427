"""What the supervisor obeys."""

from django_asgi_deploy.server.plan import Plan


def plan(max_requests: int | None, jitter: int) -> Plan:
    values = dict.fromkeys(Plan._fields, 1)
    return Plan(**{**values, "max_requests": max_requests, "max_requests_jitter": jitter})  # type: ignore[arg-type]


def test_each_worker_draws_a_limit_of_its_own_from_max_requests_to_the_jitter_above() -> None:
    assert {plan(100, 3).draw_max_requests() for _ in range(1000)} == {100, 101, 102, 103}


def test_without_jitter_all_have_the_same_and_without_max_requests_none() -> None:
    assert {plan(100, 0).draw_max_requests() for _ in range(10)} == {100}
    assert {plan(None, 0).draw_max_requests() for _ in range(10)} == {None}
