"""Every row of the table in docs/reliability.rst has a test that is marked with its id."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
TABLE = (TESTS.parent / "docs" / "reliability.rst").read_text(encoding="utf-8")
MEASURED = (TESTS.parent / "benchmarks" / "fault_rows.py").read_text(encoding="utf-8")
ROWS = re.findall(r"^   \* - (\d+[a-z]?)$", TABLE, re.MULTILINE)
MARKS = {
    mark
    for file in TESTS.rglob("test_*.py")
    for mark in re.findall(
        r'^(?:@|pytestmark = )pytest\.mark\.row\("([^"]+)"\)$', file.read_text("utf-8"), re.MULTILINE
    )
}


def test_the_table_has_all_the_rows_that_were_promised() -> None:
    promised = ["1", "2", "2b", "3a", "3b", "3c", "3d", "4", "4b", "5", "5b", "6", "7", "7s", "7f", "8", "9", "10"]
    assert promised == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_the_row_has_a_test(row: str) -> None:
    assert row in MARKS


def test_no_test_proves_a_row_that_is_not_there() -> None:
    assert set(ROWS) >= MARKS


@pytest.mark.parametrize("row", ROWS)
def test_the_row_sets_what_is_here_beside_the_goal_and_the_peers(row: str) -> None:
    rest = TABLE.partition(f"   * - {row}\n")[2].partition("\n   * - ")[0].partition("\n\n")[0]
    what, best, worst, goal, here = re.split(r"^     - ", rest, flags=re.MULTILINE)[1:]
    assert all([what, best, worst, goal, here])


def test_every_row_is_measured_by_the_command_that_the_page_names() -> None:
    assert re.findall(r"^    Row\(\s*\"(\w+)\"", MEASURED, re.MULTILINE) == ROWS
