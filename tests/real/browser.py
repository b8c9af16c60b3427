"""Chromium from the machine's packages, driven by Playwright, with an eye on whatever goes wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.programs import require_package, require_program
from tests.utils import DEADLINE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Request, Response

ARGUMENTS = [
    "--no-sandbox",  # there is none for root, which the tests of a container are run as
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nobody but the server under test is spoken to
]

# Whether the value of a computed property is there because of a style sheet: it goes when the sheets are off.
STYLED = """
    (element, property) => {
        const value = () => getComputedStyle(element)[property];
        const styled = value();
        const sheets = [...document.styleSheets].filter(sheet => sheet.href && !sheet.disabled);
        sheets.forEach(sheet => sheet.disabled = true);
        const bare = value();
        sheets.forEach(sheet => sheet.disabled = false);
        document.getAnimations().forEach(animation => animation.finish());
        return [styled, bare];
    }
"""


class Visitor:
    """Somebody with a browser of their own: one page, every answer it got, and every problem it met."""

    def __init__(self, browser: Browser, site: str, screenshots: Path, **options: object) -> None:
        self.context = browser.new_context(base_url=site, **options)  # type: ignore[arg-type]
        self.context.set_default_timeout(DEADLINE_SECONDS * 1000)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.answers: list[tuple[int, str]] = []
        self._site = site
        self._screenshots = screenshots
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))
        self.page.on("response", self._on_response)
        self.page.on("requestfailed", self._on_failure)

    def log_in(self, path: str, username: str, password: str) -> None:
        """Through the log-in form at ``path``, whose fields have Django's names."""
        self.page.goto(path)
        self.page.locator("[name=username]").fill(username)
        self.page.locator("[name=password]").fill(password)
        self.page.locator("[name=password]").press("Enter")

    def answers_below(self, prefix: str) -> dict[str, int]:
        """Status by path of everything loaded whose path starts with ``prefix``, at its first time."""
        answers: dict[str, int] = {}
        for status, url in self.answers:
            if (path := urlsplit(url).path).startswith(prefix):
                answers.setdefault(path, status)  # later it may be 304
        return answers

    def is_styled(self, selector: str, name: str) -> bool:
        """Whether a style sheet makes the computed property ``name`` of the element what it is."""
        styled, bare = self.page.locator(selector).evaluate(STYLED, name)
        return bool(styled != bare)

    def screenshot(self, name: str) -> Path:
        """The whole page as a picture."""
        file = self._screenshots / f"{name}.png"
        self.page.screenshot(path=file, full_page=True)
        return file

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and self._matters(message.location["url"]):
            self.problems.append(f"console: {message.text} ({message.location['url']})")

    def _on_response(self, response: Response) -> None:
        self.answers.append((response.status, response.url))
        if response.status >= 400 and self._matters(response.url):
            self.problems.append(f"{response.status} for {response.request.method} {response.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED" and self._matters(request.url):  # as an open stream when it is left
            self.problems.append(f"{request.failure} for {request.method} {request.url}")

    def _matters(self, url: str) -> bool:
        """Whether what is wrong with ``url`` can be the server's fault.

        Other sites can't be reached from here; and a browser asks by itself for an icon that no new project has.
        """
        given = urlsplit(url)
        is_elsewhere = given.scheme.startswith("http") and given.netloc != urlsplit(self._site).netloc
        return not is_elsewhere and given.path != "/favicon.ico"


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Playwright keeps an event loop in this thread meanwhile: no test of another kind beside it."""
    program = require_program("chromium", "chromium-browser")
    require_package("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
