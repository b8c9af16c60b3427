"""The catalogue of checks is complete, and every check has its page."""

import ast
from pathlib import Path

import pytest

from django_asgi_deploy.checks import catalogue, pages
from django_asgi_deploy.checks.catalogue import BY_SLUG, CHECKS, DROPPED
from django_asgi_deploy.checks.pages import PARTS

RESEARCH = {
    int(number): slug
    for number, slug in (line.split() for line in (Path(__file__).parent / "catalogue.txt").read_text().splitlines())
}
OURS = {0, 708}  # beyond the research
SOURCES = sorted(Path(catalogue.__file__).parent.glob("*.py"))


def reported() -> set[int]:
    """The numbers that the package reports: ``found(number)``, ``_finding(number)``, ``scope.problem(...)``."""
    numbers = set()
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="found" | "_finding"), args=[ast.Constant(value=int(number)), *_]):
                    numbers.add(number)
                case ast.Call(func=ast.Attribute(attr="problem"), args=[_, ast.Constant(value=int(number)), *_]):
                    numbers.add(number)
    return numbers


REPORTED = reported()


@pytest.mark.parametrize("number", RESEARCH)
def test_each_number_of_the_research_is_implemented_or_dropped_for_a_reason(number: int) -> None:
    assert (number in CHECKS) != (number in DROPPED)
    assert number in DROPPED or CHECKS[number].slug == RESEARCH[number]
    assert number in REPORTED or len(DROPPED.get(number, "")) > 20


def test_there_is_nothing_else() -> None:
    assert set(CHECKS) | set(DROPPED) == set(RESEARCH) | OURS
    assert set(CHECKS) >= REPORTED


def test_numbers_ids_and_slugs_are_unique() -> None:
    checks = catalogue._ALL
    assert len({check.number for check in checks}) == len(checks) == len(CHECKS)
    assert len({check.id for check in checks}) == len(checks)
    assert len({check.slug for check in checks}) == len(checks) == len(BY_SLUG)


@pytest.mark.parametrize("name", ["101", "asgi.101", "E101", "conn-max-age"])
def test_a_check_is_found_by_number_id_and_slug(name: str) -> None:
    assert catalogue.find(name) is CHECKS[101]


@pytest.mark.parametrize("name", ["", "9999", "conn", "asgi.", "²"])
def test_no_check_is_found_by_anything_else(name: str) -> None:
    assert catalogue.find(name) is None


@pytest.mark.parametrize("number", sorted(REPORTED))
def test_each_check_has_a_page_with_all_its_parts(number: int) -> None:
    text = pages.page(number)
    title, underline = text.splitlines()[:2]
    assert title == CHECKS[number].title
    assert underline == "=" * len(title)
    parts = [f"\n{part}\n{'-' * len(part)}\n" for part in (*PARTS, "How to silence it")]
    positions = [text.find(part) for part in parts]
    assert -1 not in positions
    assert positions == sorted(positions)
    example = text[positions[2] : positions[3]]
    assert example.count(".. code-block::") >= 2, "an example before and after"


def test_each_page_belongs_to_a_check() -> None:
    numbers = {int(file.stem) for file in (Path(pages.__file__).parent / "pages").glob("*.rst")}
    assert numbers <= set(CHECKS)
