"""The site in ``testproject/``, in a browser."""

import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.projects import PASSWORD, SUPERUSER, USERNAME, run, serving
from tests.utils import Server

TESTPROJECT = Path(__file__).parents[2] / "testproject"

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("testproject")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("testproject")
    environment = {"TESTPROJECT_DATABASE": str(folder / "db.sqlite3"), "TESTPROJECT_MEDIA_ROOT": str(folder / "media")}
    run([sys.executable, "manage.py", "migrate"], TESTPROJECT, environment)
    run([sys.executable, "manage.py", "createsuperuser", "--noinput"], TESTPROJECT, environment | SUPERUSER)
    with serving(sys.executable, TESTPROJECT, environment) as server:
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "path", "heading"),
    [
        ("home", "/", "It works. Have a look around."),
        ("notes", "/notes/", "Notes"),
        ("upload", "/upload/", "Upload"),
        ("login", "/accounts/login/", "Log in"),
    ],
)
def test_a_page_opens_styled_and_without_errors(server, visitor, expect, scheme, name, path, heading):
    anybody = visitor(server.url, color_scheme=scheme)
    anybody.page.goto(path)
    expect(anybody.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    assert anybody.is_styled("body", "backgroundColor")
    red, green, blue = colour(anybody.page, "body", "backgroundColor")
    assert (red + green + blue < 3 * 128) == (scheme == "dark")
    assert set(anybody.answers_below("/static/").values()) == {200}
    anybody.screenshot(f"testproject-{name}-{scheme}")
    assert anybody.problems == []


def colour(page, selector: str, name: str) -> list[int]:
    value = page.locator(selector).evaluate("(element, name) => getComputedStyle(element)[name]", name)
    return [int(number) for number in re.findall(r"\d+", value)[:3]]


def test_every_link_of_the_home_page_leads_somewhere(server, visitor):
    anybody = visitor(server.url)
    anybody.page.goto("/")
    links = anybody.page.locator("a[href^='/']").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    meant_to_fail = ("/missing/", "/error/")
    long = ("/slow/", "/stream/", "/download/")
    paths = {link for link in links if not link.startswith((*meant_to_fail, *long))}
    assert len(paths) > 10
    assert {path: anybody.context.request.get(path).status for path in paths} == dict.fromkeys(paths, 200)


def test_a_note_is_written_and_changed_through_the_forms(server, visitor, expect):
    anybody = visitor(server.url)
    page = anybody.page
    page.goto("/notes/new/")
    page.get_by_label("Title").fill("Buy milk")
    page.get_by_label("Text").fill("Two litres")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Buy milk")).to_be_visible()

    page.get_by_role("link", name="Edit “Buy milk”").click()
    expect(page.get_by_label("Title")).to_have_value("Buy milk")
    page.get_by_label("Title").fill("Buy oat milk")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("“Buy oat milk”")
    expect(page.get_by_role("heading", name="Buy oat milk")).to_be_visible()
    anybody.screenshot("testproject-note-saved")
    assert anybody.problems == []


def test_a_note_is_deleted_after_logging_in(server, visitor, expect):
    ada = visitor(server.url)
    page = ada.page
    ada.log_in("/accounts/login/", USERNAME, PASSWORD)
    expect(page.get_by_role("banner")).to_contain_text(USERNAME)
    page.goto("/notes/new/")
    page.get_by_label("Title").fill("Short-lived")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Delete “Short-lived”").click()
    page.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"{server.url}/notes/")
    expect(page.get_by_role("heading", name="Short-lived")).to_have_count(0)
    assert ada.problems == []


def test_events_arrive_one_after_another_until_they_are_stopped(server, visitor, expect):
    anybody = visitor(server.url)
    page = anybody.page
    page.goto("/events/view/")
    events = page.get_by_label("Events, the latest first").get_by_role("listitem")
    expect(events.filter(has_text="Event 1 at")).to_be_visible()
    expect(events.filter(has_text="Event 3 at")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("live")
    anybody.screenshot("testproject-events")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("stopped")
    assert anybody.problems == []


def test_a_websocket_sends_back_text_and_bytes(server, visitor, expect):
    anybody = visitor(server.url)
    page = anybody.page
    page.goto("/websocket/")
    expect(page.get_by_role("status")).to_have_text("connected")
    page.get_by_label("Say something").fill("Grüße, 世界")
    page.get_by_role("button", name="Send", exact=True).click()
    messages = page.get_by_role("log").get_by_role("listitem")
    expect(messages).to_have_text(["← Grüße, 世界", "→ Grüße, 世界"])
    page.get_by_role("button", name="Send 4 bytes").click()
    expect(messages).to_have_count(4)
    sent, received = messages.nth(1).inner_text(), messages.nth(0).inner_text()
    assert received.startswith("← bytes ")
    assert received[1:] == sent[1:]
    anybody.screenshot("testproject-websocket")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_contain_text("closed")
    assert anybody.problems == []


def test_an_uploaded_file_arrives_whole(server, visitor, expect, tmp_path):
    content = bytes(range(256)) * 4 * 4096  # 4 MiB: more than Django keeps in memory
    file = tmp_path / "four-megabytes.bin"
    file.write_bytes(content)
    anybody = visitor(server.url)
    page = anybody.page
    page.goto("/upload/")
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="Upload received")).to_be_visible()
    received = page.get_by_role("main").inner_text()
    assert file.name in received
    assert str(len(content)) in received
    assert hashlib.sha256(content).hexdigest() in received
    anybody.screenshot("testproject-upload")
    assert anybody.problems == []
