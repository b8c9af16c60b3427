"""What checkasgi says of middleware is what the site then does, with Django's handler and with ours."""

import importlib.util
import json
import sys
from typing import Any

import pytest

from tests.checks.seeds import PROJECTS, run_in, seeds

HARBOUR = PROJECTS / "harbour" / "harbour"
UNPLACED = (207, 208, 209)  # no line of them is wrong
PLAIN = range(201, 207)


def _cases() -> dict[str, tuple[list[str], list[int], dict[str, int]]]:
    spec = importlib.util.spec_from_file_location("harbour_cases", HARBOUR / "cases.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases: dict[str, tuple[list[str], list[int], dict[str, int]]] = module.CASES
    return cases


CASES = _cases()
EVERY = [(name, handler) for name in CASES for handler in ("django", "pooled")]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    printed = run_in("harbour", "-m", "tests.checks.middleware_proof", settings="harbour.settings")
    found: dict[str, Any] = json.loads(printed)
    return found


def numbers(case: str) -> list[int]:
    """With Python 3.11, asyncio's old mark still counts."""
    return CASES[case][1]


@pytest.mark.parametrize(("case", "handler"), EVERY)
def test_it_finds_what_is_wrong_and_nothing_else(outcomes: dict[str, Any], case: str, handler: str) -> None:
    found = outcomes[case][handler]["findings"]
    assert sorted(number for number, _, _ in found if number != 209) == sorted(numbers(case))
    places = seeds("harbour")
    for number, _, place in found:
        if number not in UNPLACED:
            assert (number, *place) in places


@pytest.mark.parametrize(("case", "handler"), EVERY)
def test_what_it_says_is_what_happens(outcomes: dict[str, Any], case: str, handler: str) -> None:
    _, expected, statuses = CASES[case]
    outcome = outcomes[case][handler]
    if 206 in expected:
        assert not outcome["built"]
        return
    if expected == [203] and sys.version_info < (3, 12):
        statuses = {}
    for path in ("/ships/", "/tides/", "/positions/"):
        status = outcome["statuses"][path]
        if handler == "pooled" and path == "/ships/" and status == 200:
            continue  # a synchronous view can be spared: its chain is the synchronous one
        assert status == statuses.get(path, 200)


def test_an_error_with_our_handler_is_one_for_asynchronous_views_too(outcomes: dict[str, Any]) -> None:
    levels = {case: {number: level for number, level, _ in outcomes[case]["pooled"]["findings"]} for case in CASES}
    assert levels["unmarked, outermost"] == {202: "warning"}
    assert levels["synchronous __call__"][205] == "error"
    legacy = "error" if sys.version_info >= (3, 12) else "warning"
    assert levels["legacy mark"][203] == legacy


def test_the_handler_in_use_says_how_bad_synchronous_middleware_is(outcomes: dict[str, Any]) -> None:
    for handler, level in (("django", "warning"), ("pooled", "info")):
        found = {number: level for number, level, _ in outcomes["sandwich"][handler]["findings"]}
        assert (found[207], found[208]) == (level, level)


@pytest.mark.parametrize("case", CASES)
def test_django_check_finds_what_stops_the_site_without_making_the_rest(outcomes: dict[str, Any], case: str) -> None:
    wanted = [number for number in numbers(case) if number in PLAIN]
    assert outcomes[case]["django"]["plain"] == wanted


def test_what_waits_for_its_other_form_is_a_warning(outcomes: dict[str, Any]) -> None:
    for case in ("synchronous __call__, around a synchronous middleware", "unmarked, around a synchronous middleware"):
        for handler in ("django", "pooled"):
            assert {level for number, level, _ in outcomes[case][handler]["findings"] if number in PLAIN} == {"warning"}


def test_no_middleware_is_made_a_second_time(outcomes: dict[str, Any]) -> None:
    for case, by_handler in outcomes.items():
        for outcome in by_handler.values():
            assert outcome["taken_over"] or not outcome["built"], case


@pytest.mark.parametrize(("case", "handler"), EVERY)
def test_hops_are_as_many_as_predicted(outcomes: dict[str, Any], case: str, handler: str) -> None:
    """Where the middleware is nothing but Django's, mixins and synchronous ones; others do what they like."""
    outcome = outcomes[case][handler]
    if not outcome["built"] or any(number in PLAIN for number in numbers(case)):
        return
    for path, hops in outcome["predicted"].items():
        assert outcome["measured"][path] == hops, path


def test_asynchronous_code_does_not_see_the_thread_local(outcomes: dict[str, Any]) -> None:
    for handler in ("django", "pooled"):
        assert outcomes["thread-local"][handler]["bodies"]["/who/"] == "None None"
        assert outcomes["context variable"][handler]["bodies"]["/who/"] == "None Ada"
