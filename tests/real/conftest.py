from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.programs import require_package
from tests.real.browser import Visitor, chromium
from tests.utils import DEADLINE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # not longer: other tests can't have an event loop while it runs
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: the folder TEST_SCREENSHOTS, if given, else a temporary one."""
    folder = Path(os.environ.get("TEST_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visitor(browser: Browser, screenshots: Path) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors of a site: ``visitor("http://127.0.0.1:8000", color_scheme="dark")``."""
    visitors: list[Visitor] = []

    def make(site: str, **options: object) -> Visitor:
        visitors.append(Visitor(browser, site, screenshots, **options))
        return visitors[-1]

    yield make
    for each in visitors:
        each.context.close()


@pytest.fixture
def expect() -> Any:
    """Playwright's assertions, which wait until they are true."""
    require_package("playwright")
    from playwright.sync_api import expect

    expect.set_options(timeout=DEADLINE_SECONDS * 1000)
    return expect
