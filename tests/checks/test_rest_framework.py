"""Asynchronous handlers in Django REST framework: what is found fails, what isn't found serves."""

import json
from typing import Any

import pytest

from tests.checks.seeds import checked, found_in, run_in, seeds
from tests.programs import require_package

pytestmark = pytest.mark.real

FAILING = {"/orders/", "/prices/", "/breads/", "/cakes/newest/"}
SERVING = {"/sync-orders/", "/sync-prices/", "/async-orders/", "/async-prices/", "/cakes/", "/breads/oldest/"}
SERVING |= {"/for-customers/", "/for-bakers/"}  # the latter is the mistake: nobody should get there


@pytest.fixture(autouse=True, scope="module")
def packages() -> None:
    require_package("rest_framework")
    require_package("adrf")


def test_it_finds_each_asynchronous_handler_and_nothing_else() -> None:
    assert found_in(checked("bakery", "bakery.settings"), families="23") == seeds("bakery")


@pytest.mark.parametrize("handler", ["django", "pooled"])
def test_what_is_found_fails_and_what_is_not_found_serves(handler: str) -> None:
    printed = run_in(
        "bakery", "-m", "tests.checks.proof", handler, *sorted(FAILING | SERVING), settings="bakery.settings"
    )
    outcomes: dict[str, Any] = json.loads(printed)
    statuses = {path: cases["anonymous GET"][0] for path, cases in outcomes.items()}
    assert statuses == {**dict.fromkeys(FAILING, 500), **dict.fromkeys(SERVING, 200)}
