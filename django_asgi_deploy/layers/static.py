"""Static files."""

import asyncio
import os
import re
import stat
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from django.core.handlers.asgi import ASGIHandler, get_script_prefix

from django_asgi_deploy.layers.route import note_route
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from servestatic.responders import Response, StaticFile

MAX_AGE_SECONDS = 60  # of a file whose name doesn't change with its content
BLOCK_BYTES = 2**18
IN_PLACE_BYTES = 2**16  # as nginx does, small files are read where the request is: a thread would take longer

_RANGE = re.compile(r"bytes=(?:[0-9]+-[0-9]*|-0*[1-9][0-9]*)")  # RFC 9110, section 14.1.1: one, of bytes

_HEADERS = {
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"if-modified-since": "HTTP_IF_MODIFIED_SINCE",
    b"if-none-match": "HTTP_IF_NONE_MATCH",
    b"if-range": "HTTP_IF_RANGE",
    b"range": "HTTP_RANGE",
}


class ThroughFinders:
    """``app`` behind Django's own development handler: files are looked up by the finders at each request.

    Needs ``django.contrib.staticfiles``. Not for production: unoptimised, and a file is read whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

        self.app = app
        self.files = ASGIStaticFilesHandler(cast(ASGIHandler, app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        files = cast(ASGIApp, self.files)
        base_url = self.files.base_url
        root = get_script_prefix(scope).rstrip("/")
        is_below_root = bool(root) and scope["path"].startswith(f"{root}/")
        path = scope["path"].removeprefix(root) if is_below_root else scope["path"]
        if path.startswith(base_url.path) and not base_url.netloc:
            note_route(scope, f"{base_url.path[1:]}*")
            if is_below_root:
                # Below a root_path STATIC_URL = "static/" is meant from there. Django's handler knows "/static/" only.
                scope = {**scope, "path": path, "root_path": ""}
        await files(scope, receive, send)


class Collected:
    """``app`` behind the files below ``folder``, at the paths below ``url``, which begins and ends with a slash.

    The table of files with all their headers is ServeStatic's, made once; a path that isn't in it costs one look. The
    file is sent from here: ServeStatic's own way makes a thread for each. ``immutable``: the names, relative to the
    folder, that change with their content. Raises ImportError where ServeStatic isn't installed.
    """

    def __init__(self, app: ASGIApp, folder: str | os.PathLike[str], url: str, immutable: Collection[str] = ()) -> None:
        from servestatic import ServeStaticASGI

        def is_immutable(path: str, url_of_file: str) -> bool:
            return url_of_file.removeprefix(url) in immutable

        self.app = app
        table = ServeStaticASGI(None, max_age=MAX_AGE_SECONDS, immutable_file_test=is_immutable)
        found = dict(_regular_files(folder))
        for path in found:
            name = os.path.relpath(path, folder).replace(os.sep, "/")
            table.add_file_to_dictionary(url + name, path, root=folder, stat_cache=found)
        self.files = table.files
        self.url = url
        self._executor: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        file = self.files.get(path)
        if file is None and (root := scope.get("root_path")):
            file = self.files.get(path.removeprefix(root.rstrip("/")))
        response = None if file is None else self._response(cast("StaticFile", file), scope)
        if response is None:
            await self.app(scope, receive, send)
        else:
            note_route(scope, f"{self.url[1:]}*")
            await self._send(response, receive, send)

    async def _send(self, response: "Response", receive: Receive, send: Send) -> None:
        body = response.file
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": int(response.status),
                    "headers": [
                        (name.lower().encode("latin-1"), value.encode("latin-1"))
                        for name, value in _with_length(response)
                        if value is not None
                    ],
                }
            )
            if body is None:
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._send_body(body, _length(response), receive, send)
        finally:
            if body is not None:
                cast(Any, body).close()

    @staticmethod
    def _response(file: "StaticFile", scope: Scope) -> "Response | None":
        """None if the file is no longer there, or isn't ours to read."""
        asked = {_HEADERS[name]: value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
        if tags := asked.get("HTTP_IF_NONE_MATCH"):
            # A proxy that compresses makes it weak; several, and "*", are the client's right. RFC 9110, section 13.1.2
            known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            asked["HTTP_IF_NONE_MATCH"] = file.etag if file.etag in known or "*" in known else ""
        if not _RANGE.fullmatch(asked.get("HTTP_RANGE", "")):  # ServeStatic takes what int() takes, such as "+1_0"
            asked.pop("HTTP_RANGE", None)
        condition = asked.get("HTTP_IF_RANGE")
        if condition is not None and condition.strip() not in (file.etag, _header(file, "Last-Modified")):
            asked.pop("HTTP_RANGE", None)  # the client has a part of another version
        try:
            return file.get_response(scope["method"], asked)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None

    async def _send_body(self, body: Any, size: int, receive: Receive, send: Send) -> None:
        if size <= IN_PLACE_BYTES:
            await send({"type": "http.response.body", "body": body.read(size)})
            return
        loop = asyncio.get_running_loop()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(2, "static-files")
        leaving = loop.create_task(_left(receive))
        try:
            while (
                size > 0 and not leaving.done()
            ):  # servers take what is sent to a client that has left, and say nothing
                block = await loop.run_in_executor(self._executor, body.read, min(BLOCK_BYTES, size))
                size -= len(block)
                # A file that has become shorter ends the connection instead of the response: the server sees to it.
                await send({"type": "http.response.body", "body": block, "more_body": size > 0 and bool(block)})
                if not block:
                    return
        finally:
            leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _regular_files(folder: str | os.PathLike[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Each with its path. ServeStatic's own search ends with an error at a link to nothing, and walks through all that
    a link leads to, be it ``/`` or a circle."""
    for path, _, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            with suppress(OSError):
                found = os.stat(file)
                if stat.S_ISREG(found.st_mode):
                    yield file, found


def _header(file: "StaticFile", name: str) -> str | None:
    return next((value for key, value in file.alternatives[0][2] if key == name), None)


def _length(response: "Response") -> int:
    return next((int(value) for name, value in response.headers if name == "Content-Length" and value), 0)


def _with_length(response: "Response") -> list[tuple[str, str | None]]:
    """What has no body says so, except for 304, which speaks of the body that the client has."""
    if response.status == 304 or any(name == "Content-Length" for name, _ in response.headers):
        return [*response.headers]
    return [*response.headers, ("Content-Length", "0")]
