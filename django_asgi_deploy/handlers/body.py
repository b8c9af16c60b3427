"""The body of a request: in memory while it is small, otherwise on disk, which the event loop never waits for."""

import io
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, BinaryIO

from django.core.exceptions import RequestAborted

from django_asgi_deploy.types import Message, Receive

PIECE_BYTES = 2**20  # goes to disk at once: a hop to a thread for each of a server's messages would be 16 times as many

CallInThread = Callable[[Callable[[], Any]], Awaitable[Any]]


async def read_body(receive: Receive, max_memory_bytes: int, call_in_thread: CallInThread) -> BinaryIO:
    """The whole body as a file, at its beginning: io.BytesIO up to ``max_memory_bytes``, otherwise a temporary file.

    ``await call_in_thread(call)`` runs what touches the disk. No more is taken from the server until a piece is
    written, so a slow disk slows the client down instead of filling the memory. Raises RequestAborted if the client
    leaves before the end.
    """
    message = await _next(receive)
    if not message.get("more_body", False) and len(message.get("body", b"")) <= max_memory_bytes:
        return io.BytesIO(message.get("body", b""))
    memory = io.BytesIO()
    file: BinaryIO | None = None
    try:
        while True:
            memory.write(message.get("body", b""))
            if memory.tell() > (max_memory_bytes if file is None else PIECE_BYTES):
                file = file or await call_in_thread(tempfile.TemporaryFile)
                await call_in_thread(partial(_move, memory, file))
            if not message.get("more_body", False):
                break
            message = await _next(receive)
        if file is not None:
            await call_in_thread(partial(_finish, memory, file))
    except BaseException:
        if file is not None:
            await call_in_thread(file.close)
        raise
    memory.seek(0)
    return file or memory


async def _next(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise RequestAborted
    return message


def _move(memory: io.BytesIO, file: BinaryIO) -> None:
    file.write(memory.getvalue())
    memory.seek(0)
    memory.truncate()


def _finish(memory: io.BytesIO, file: BinaryIO) -> None:
    _move(memory, file)
    file.seek(0)
