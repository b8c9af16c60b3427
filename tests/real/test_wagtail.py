"""A site as ``wagtail start`` makes it, in a virtual environment of its own with Wagtail from PyPI and this checkout.

The environment is kept in ``.cache/`` of the checkout, and made anew when our dependencies change.
"""

import fcntl
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import missing, require_package
from tests.real.projects import PASSWORD, SUPERUSER, USERNAME, add_to_installed_apps, run, serving
from tests.utils import DEADLINE_SECONDS, Server, clean_environment

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("wagtail")]

CHECKOUT = Path(__file__).parents[2]
WAGTAIL = "wagtail>=8,<9"
INSTALL_SECONDS = 600  # downloads some 70 MB

NO_CONNECTION = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Failed to establish a new connection"
    r"|Temporary failure in name resolution|\(from versions: none\)"
)

# Noise, because it doesn't compress: more than the 2.5 MB that Django keeps in memory.
MAKE_IMAGE = """
import os, sys
from PIL import Image
Image.frombytes("RGB", (1200, 900), os.urandom(1200 * 900 * 3)).save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def wagtail() -> Path:
    """The folder of programs of an environment with Wagtail."""
    pyproject = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    contents = json.dumps([WAGTAIL, str(CHECKOUT), sys.version, pyproject["project"]["dependencies"]])
    folder = CHECKOUT / ".cache" / f"wagtail-{sys.version_info.major}.{sys.version_info.minor}"
    made_of = folder / "made-of.json"
    folder.parent.mkdir(exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be making it
        if not (made_of.exists() and made_of.read_text() == contents):
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", folder], CHECKOUT)
            _install(folder / "bin" / "python")
            made_of.write_text(contents)
    return folder / "bin"


def _install(python: Path) -> None:
    options = ["--no-input", "--quiet", "--retries", "2"]
    command = [python, "-m", "pip", "install", *options, WAGTAIL, "--editable", CHECKOUT]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode and NO_CONNECTION.search(done.stderr):
        missing("Wagtail (PyPI can't be reached)")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server(wagtail: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wagtail")
    python = wagtail / "python"
    run([wagtail / "wagtail", "start", "mysite", folder], folder)
    add_to_installed_apps(folder / "mysite" / "settings" / "base.py")
    run([python, "manage.py", "migrate"], folder)
    run([python, "manage.py", "createsuperuser", "--noinput"], folder, SUPERUSER)
    with serving(python, folder) as server:
        yield server


@pytest.fixture
def image(wagtail: Path, tmp_path: Path) -> Path:
    file = tmp_path / "noise.png"
    run([wagtail / "python", "-c", MAKE_IMAGE, file], tmp_path)
    assert file.stat().st_size > 2.5 * 2**20
    return file


@pytest.fixture
def client(server: Server):
    """Somebody without a browser, who keeps cookies."""
    require_package("httpx")
    import httpx

    with httpx.Client(base_url=server.url, timeout=DEADLINE_SECONDS) as client:
        yield client


def test_the_banner_says_that_the_project_has_no_asgi_py_and_which_settings_are_served(server):
    server.wait_for(
        r"^  application +django_asgi_deploy\.asgi:get_asgi_application\(\) \(the project has no asgi\.py\)"
    )
    server.wait_for(r"^  settings +mysite\.settings\.dev \(the default in manage\.py\)")


def test_the_front_page_is_served_and_its_style_sheets_too(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "Welcome to your new Wagtail site!" in page.text
    sheets = re.findall(r'<link rel="stylesheet"[^>]* href="([^"]+)"', page.text)
    assert sheets
    assert {sheet: client.get(sheet).status_code for sheet in sheets} == dict.fromkeys(sheets, 200)


def test_an_image_is_uploaded_over_http_and_its_rendition_served(client, image):
    page = client.get("/admin/", follow_redirects=True)
    assert page.url.path == "/admin/login/"
    answer = post(client, "/admin/login/", {"username": USERNAME, "password": PASSWORD, "next": "/admin/"})
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200

    with image.open("rb") as file:
        answer = post(client, "/admin/images/add/", {"title": "Noise"}, {"file": (image.name, file, "image/png")})
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/images/")
    listing = client.get("/admin/images/").text
    rendition = re.search(r'<img\b[^>]*\bsrc="(/media/images/noise[^"]+)"', listing)
    assert rendition, listing
    picture = client.get(rendition[1])
    assert picture.status_code == 200
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert len(picture.content) == int(picture.headers["content-length"]) < image.stat().st_size


def post(client, path: str, data: dict[str, str], files: dict | None = None):
    """The answer to the form at ``path``, filled in."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(path).text)
    assert token
    return client.post(path, data={**data, "csrfmiddlewaretoken": token[1]}, files=files)


def test_an_image_is_uploaded_in_a_browser_and_shown(server, visitor, expect, image):
    ada = visitor(server.url)
    page = ada.page
    page.goto("/")
    expect(page.get_by_role("heading", name="Welcome to your new Wagtail site!")).to_be_visible()
    ada.screenshot("wagtail-front")

    ada.log_in("/admin/", USERNAME, PASSWORD)
    expect(page.get_by_role("link", name="Images").first).to_be_visible()
    ada.screenshot("wagtail-admin")

    page.goto("/admin/images/multiple/add/")
    page.locator("input[type=file]").set_input_files(image)
    page.get_by_label("Title").fill("Noise in a browser")
    with page.expect_response(lambda answer: answer.request.method == "POST") as saved:
        page.get_by_role("button", name="Update").click()
    assert saved.value.ok
    page.goto("/admin/images/")
    picture = page.get_by_role("main").locator("img").first
    expect(picture).to_be_visible()
    expect(page.get_by_text("Noise in a browser").first).to_be_visible()
    page.wait_for_function("[...document.querySelectorAll('main img')].every(img => img.naturalWidth > 0)")
    ada.screenshot("wagtail-images")
    assert set(ada.answers_below("/static/").values()) == {200}
    assert set(ada.answers_below("/media/").values()) == {200}
    # Wagtail asks there for newer versions, and says on the console that it can't.
    assert [problem for problem in ada.problems if "releases.wagtail.org" not in problem] == []
