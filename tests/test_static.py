"""Collected static files, from a real server."""

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import require_package
from tests.tables import rows
from tests.utils import Server, Site, clean_environment, until

SETTINGS = """
    import pathlib
    DEBUG = False
    INSTALLED_APPS += ["django.contrib.staticfiles"]
    STATIC_URL = "static/"
    STATIC_ROOT = pathlib.Path("collected").absolute()
    STATICFILES_DIRS = ["assets"]
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
"""
LARGE = bytes(range(256)) * 4096


class Answer:
    def __init__(self, answer: bytes) -> None:
        head, _, self.body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def get(server: Server, path: str, *lines: str, method: str = "GET") -> Answer:
    with server.connect() as sock:
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines])
        sock.sendall(f"{head}\r\n\r\n".encode())
        return Answer(b"".join(iter(lambda: sock.recv(65536), b"")))


def prepare(site: Site) -> None:
    site.append("mysite/settings", SETTINGS)
    assets = site.folder / "assets"
    assets.mkdir()
    (assets / "digits.txt").write_text("0123456789")
    (assets / "style.css").write_text("body { color: black }\n" * 100)
    (assets / "large.bin").write_bytes(LARGE)
    (assets / "Grüße.txt").write_text("Grüße")
    command = [sys.executable, "manage.py", "collectstatic", "--noinput"]
    subprocess.run(command, cwd=site.folder, env=clean_environment(), check=True, capture_output=True, timeout=60)
    collected = site.folder / "collected"
    (collected / "style.css.gz").write_bytes(gzip.compress((assets / "style.css").read_bytes()))
    (site.folder / "secret.txt").write_text("the secret")
    (collected / "link.txt").symlink_to(site.folder / "secret.txt")
    (collected / "dangling.txt").symlink_to(site.folder / "not there")  # as collectstatic --link leaves it
    (collected / "outside").symlink_to(site.folder)
    (collected / "circle").symlink_to(collected)
    (collected / "inside.txt").symlink_to(collected / "digits.txt")
    os.mkfifo(collected / "pipe.txt")
    (collected / "sparse.bin").touch()
    os.truncate(collected / "sparse.bin", 2**30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    require_package("servestatic")
    site = Site(tmp_path_factory.mktemp("static"))
    prepare(site)
    with site.serve() as server:
        server.wait_for("^Serving")
        yield server


def test_collected_files_are_served_without_debug_and_the_site_beside_them(server: Server) -> None:
    answer = get(server, "/static/digits.txt")
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.headers["content-type"] == 'text/plain; charset="utf-8"'
    assert answer.headers["cache-control"] == "max-age=60, public"
    assert b"Hello" in server.get("/")
    assert "static files are not served" not in server.output


def test_a_link_within_the_folder_is_followed(server: Server) -> None:
    assert get(server, "/static/inside.txt").body == b"0123456789"


def test_a_name_that_the_manifest_gave_may_be_kept_for_ever(server: Server) -> None:
    folder = f"/proc/{server.process.pid}/cwd/collected"
    (name,) = [each for each in os.listdir(folder) if re.fullmatch(r"digits\.[0-9a-f]{12}\.txt", each)]
    answer = get(server, f"/static/{name}")
    assert answer.headers["cache-control"] == "max-age=315360000, public, immutable"


def test_a_name_that_only_looks_like_it_may_not(server: Server) -> None:
    assert get(server, "/static/staticfiles.json").headers["cache-control"] == "max-age=60, public"


def test_who_accepts_a_compressed_variant_gets_it(server: Server) -> None:
    answer = get(server, "/static/style.css", "Accept-Encoding: br;q=0, gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body).startswith(b"body {")
    for refusal in ("gzip;q=0", "identity"):
        answer = get(server, "/static/style.css", f"Accept-Encoding: {refusal}")
        assert "content-encoding" not in answer.headers
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.body.startswith(b"body {")


def test_a_large_file_arrives_whole_and_in_part(server: Server) -> None:
    assert get(server, "/static/large.bin").body == LARGE
    assert get(server, "/static/large.bin", "Range: bytes=100000-900000").body == LARGE[100000:900001]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_file_whose_client_has_left_is_not_read_to_its_end(server: Server) -> None:
    folder = Path(f"/proc/{server.process.pid}")

    def is_open() -> bool:
        return any(os.path.realpath(each).endswith("sparse.bin") for each in (folder / "fd").iterdir())

    def read_bytes() -> int:
        return int((folder / "io").read_text().split()[1])

    before = read_bytes()
    with server.connect() as sock:
        sock.sendall(b"GET /static/sparse.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.recv(1000)
        assert is_open()
    until(lambda: not is_open())
    assert read_bytes() - before < 2**29


def test_head_has_the_headers_and_no_body(server: Server) -> None:
    answer = get(server, "/static/digits.txt", method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "10", b"")


def test_another_method_is_not_allowed(server: Server) -> None:
    answer = get(server, "/static/digits.txt", "Content-Length: 0", method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_name_in_any_language_is_found(server: Server) -> None:
    assert get(server, "/static/Gr%C3%BC%C3%9Fe.txt").body.decode() == "Grüße"


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static",
        "/static/nothing.txt",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/digits.txt%00",
        "/static/digits.txt/",
        "/static/%ff",
        "/static/link.txt",
        "/static/dangling.txt",
        "/static/outside/secret.txt",
        "/static/circle/digits.txt",
        "/static/pipe.txt",
        "/static/style.css.gz",
        "//static/digits.txt",
    ],
)
def test_what_is_no_file_of_the_folder_goes_to_django_which_has_no_such_page(server: Server, path: str) -> None:
    answer = get(server, path)
    assert answer.status == 404
    assert b"secret" not in answer.body


@pytest.mark.parametrize(("sent", "answered"), rows("static.rst", "Ranges"))
def test_ranges_and_conditions(server: Server, sent: list[str], answered: list[str]) -> None:
    etag = get(server, "/static/digits.txt", method="HEAD").headers["etag"]
    lines = [re.sub(r"<5000 digits>", "9" * 5000, line).replace("<the ETag>", etag) for line in sent]
    answer = get(server, "/static/digits.txt", *lines)
    assert f"{answer.status} {answer.body.decode()}".rstrip() == answered[0]
    if answer.status == 416:
        assert answer.headers["content-range"] == "bytes */10"


def test_below_a_root_path_whether_the_proxy_strips_it_or_not(site: Site) -> None:
    require_package("servestatic")
    prepare(site)
    with site.serve("--root-path", "/shop") as server:
        for path in ("/shop/static/digits.txt", "/static/digits.txt"):
            assert get(server, path).body == b"0123456789"
        (site.folder / "collected" / "digits.txt").unlink()
        assert get(server, "/shop/static/digits.txt").status == 404  # as Django says it, not a traceback
        assert "Traceback" not in server.output


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("STATIC_ROOT = None", "set STATIC_ROOT and run collectstatic"),
        ("", "there is no .*/collected yet; run collectstatic"),
        ("import sys; sys.modules['servestatic'] = None", r'pip install "django-asgi-deploy\[static\]"'),
    ],
)
def test_where_something_is_missing_the_banner_says_what_to_type(site: Site, change: str, line: str) -> None:
    if not change:
        require_package("servestatic")
    site.append("mysite/settings", SETTINGS + f"\n    {change}\n")
    with site.serve() as server:
        server.wait_for(rf"note +static files are not served.*{line}")
        server.wait_for("^Serving")


def test_with_static_off_nothing_is_served_and_nothing_said(site: Site) -> None:
    prepare(site)
    with site.serve("--static", "off") as server:
        assert get(server, "/static/digits.txt").status == 404
        assert "static files" not in server.output
