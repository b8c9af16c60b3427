"""The body of a request: what stays in memory, what goes to disk, and that the event loop waits for neither."""

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest
from django.core.exceptions import RequestAborted

from django_asgi_deploy.handlers import body
from django_asgi_deploy.handlers.body import read_body

LIMIT = 100
DISCONNECT = {"type": "http.disconnect"}


class Disk:
    """Runs in another thread what read_body() hands over, and knows what of it touched a file."""

    def __init__(self) -> None:
        self.files: list[Any] = []
        self.threads: set[threading.Thread] = set()
        self.hops = 0

    async def call(self, call: Callable[[], Any]) -> Any:
        self.hops += 1
        return await asyncio.to_thread(self._noted, call)

    def _noted(self, call: Callable[[], Any]) -> Any:
        self.threads.add(threading.current_thread())
        result = call()
        if hasattr(result, "fileno"):
            self.files.append(result)
        return result


def read(*messages: Any, disk: Disk | None = None) -> BinaryIO:
    """The body that these pieces (bytes) or messages make."""
    pieces = [
        each if isinstance(each, dict) else {"type": "http.request", "body": each, "more_body": number < len(messages)}
        for number, each in enumerate(messages, 1)
    ]

    async def receive() -> Any:
        return pieces.pop(0)

    return asyncio.run(read_body(receive, LIMIT, (disk or Disk()).call))


@pytest.mark.parametrize("pieces", [[b""], [b"x" * 100], [b"x" * 50, b"x" * 50], [b"", b"abc", b""]])
def test_up_to_the_limit_it_is_in_memory_and_no_thread_is_asked(pieces: list[bytes]) -> None:
    disk = Disk()
    file = read(*pieces, disk=disk)
    assert type(file) is io.BytesIO
    assert file.read() == b"".join(pieces)
    assert disk.hops == 0


@pytest.mark.parametrize(
    "pieces", [[b"x" * 101], [b"a" * 60, b"b" * 60], [b"ab" * 60, b"c" * 60, b"d" * 10_000_000, b"end"]]
)
def test_beyond_it_is_on_disk_and_whole(pieces: list[bytes]) -> None:
    disk = Disk()
    with read(*pieces, disk=disk) as file:
        assert file is disk.files[0]
        assert file.read() == b"".join(pieces)
    assert threading.current_thread() not in disk.threads


def test_pieces_are_written_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    read(*[b"x" * 65536] * 256, disk=disk).close()  # 16 MiB, as servers cut them
    assert disk.hops <= 16 + 4
    assert body.PIECE_BYTES == 2**20


def test_messages_without_a_body_are_fine() -> None:
    assert read({"type": "http.request"}).read() == b""


@pytest.mark.parametrize("before", [[], [b"x"], [b"x" * 200], [b"x" * 200, b"x" * 200]])
def test_a_client_that_leaves_aborts_the_request_and_leaves_no_file_open(before: list[bytes]) -> None:
    disk = Disk()
    with pytest.raises(RequestAborted):
        read(*before, DISCONNECT, disk=disk)
    assert all(file.closed for file in disk.files)
    assert bool(disk.files) is any(len(piece) > LIMIT for piece in before)


def test_a_disk_that_is_full_is_an_error_and_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()

    def full(memory: io.BytesIO, file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(body, "_move", full)
    with pytest.raises(OSError, match="No space left"):
        read(b"x" * 200, b"y", disk=disk)
    assert disk.files[0].closed
