"""A large upload through a real server: the memory stays flat, and others are served meanwhile.

100 MB; with LARGE_UPLOADS=1 in the environment 1 GB.
"""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.utils import DEADLINE_SECONDS, Server, Site

MB = 10**6
SIZE = 1000 * MB if os.environ.get("LARGE_UPLOADS") else 100 * MB
PATIENCE_SECONDS = DEADLINE_SECONDS * (10 if os.environ.get("LARGE_UPLOADS") else 2)
GROWTH_BYTES = 10 * MB

URLS = """
    import hashlib
    from django.http import HttpResponse
    from django.urls import path
    from django.views.decorators.csrf import csrf_exempt

    def hello(request):
        return HttpResponse("Hello")

    def digest(pieces):
        whole = hashlib.sha256()
        for piece in pieces:
            whole.update(piece)
        return HttpResponse(whole.hexdigest())

    @csrf_exempt
    def raw(request):
        return digest(iter(lambda: request.read(65536), b""))

    @csrf_exempt
    def form(request):
        return digest(request.FILES["file"].chunks())

    urlpatterns = [path("", hello), path("raw", raw), path("form", form)]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    site = Site(tmp_path_factory.mktemp("uploads"), mysite__urls=URLS)
    with site.serve() as server:
        server.wait_for("^Serving")
        yield server


def resident_bytes(server: Server, field: str) -> int:
    """VmRSS: now; VmHWM: the most since it was reset."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) * 1024


def reset_peak(server: Server) -> None:
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def send(server: Server, path: str, size: int, *, boundary: str = "") -> bytes:
    """The answer to a POST of ``size`` bytes."""
    before = after = b""
    kind = "application/octet-stream"
    if boundary:
        disposition = 'Content-Disposition: form-data; name="file"; filename="large.bin"'
        before = f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        after = f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
    length = len(before) + size + len(after)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) as sock:
        headers = f"Host: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close"
        sock.sendall(f"POST {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + before)
        piece = bytes(65536)
        for start in range(0, size, len(piece)):
            sock.sendall(piece[: size - start])
        sock.sendall(after)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def digest(size: int) -> str:
    whole = hashlib.sha256()
    for start in range(0, size, 65536):
        whole.update(bytes(min(65536, size - start)))
    return whole.hexdigest()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("path", "boundary"), [("/raw", ""), ("/form", "0815")])
def test_the_memory_stays_flat_and_others_are_served_while_a_large_body_comes(
    server: Server, path: str, boundary: str
) -> None:
    send(server, path, 4 * MB, boundary=boundary)  # what has to be imported and allocated once
    reset_peak(server)
    before = resident_bytes(server, "VmRSS")
    answers: list[bytes] = []
    upload = threading.Thread(target=lambda: answers.append(send(server, path, SIZE, boundary=boundary)))
    upload.start()
    asked = 0
    while upload.is_alive():
        assert b"Hello" in server.get("/")
        asked += 1
    upload.join()
    assert digest(SIZE).encode() in answers[0]
    assert asked > 3
    assert resident_bytes(server, "VmHWM") - before < GROWTH_BYTES
