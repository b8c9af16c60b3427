"""Responses that stream from something synchronous."""

import ast

from django.http import FileResponse, StreamingHttpResponse

from django_asgi_deploy.checks import resolve
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.definitions import Function, own_nodes
from django_asgi_deploy.checks.events import Call
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Generator, Known, Query


class Streams:
    """What a synchronous stream costs depends on who sends it."""

    def __init__(self, handler: str) -> None:
        self.is_pooled = handler == "pooled"

    def synchronous_stream(self, event: Call, scope: Scope) -> Problem | None:
        cls = event.callee.object if isinstance(event.callee, Known) else None
        if not isinstance(cls, type) or not issubclass(cls, StreamingHttpResponse) or _sets_own_content(cls):
            return None
        if issubclass(cls, FileResponse):
            return self._file(event, scope)
        content = event.arguments.get(0, "streaming_content")
        if isinstance(content, Generator) and not content.is_async:
            return self._stream(event, scope, is_endless=_is_endless(content.function))
        return self._stream(event, scope, is_endless=False) if isinstance(content, Query) else None

    def _file(self, event: Call, scope: Scope) -> Problem:
        hint = "Leave files to the web server in front (X-Accel-Redirect, X-Sendfile) or to an object store."
        if self.is_pooled:
            then = "this server reads it in pieces, in a thread; any other one collects the whole file in memory first"
            return scope.problem(event.node, 407, text_of(event.node), then, hint, "info")
        then = "Django collects the whole file in memory before it sends the first byte, for every client at once"
        return scope.problem(event.node, 407, text_of(event.node), then, hint)

    def _stream(self, event: Call, scope: Scope, *, is_endless: bool) -> Problem:
        level: Level
        if self.is_pooled:
            then = "it holds one of the server's threads until its last piece is sent"
            level = "warning" if is_endless else "info"
            if is_endless:
                then += ", and there is no last piece: a few such clients, and nobody else is served"
        else:
            then = "Django collects all pieces before it sends the first one"
            level = "error" if is_endless else "warning"
            if is_endless:
                then += ", and there is no end: nothing is ever sent, and the memory fills"
        hint = "Make it an asynchronous generator: async def, with yield and await inside."
        return scope.problem(event.node, 407, text_of(event.node), then, hint, level)


def _sets_own_content(cls: type) -> bool:
    base = resolve.defining_class(cls, "_set_streaming_content")
    return base is not None and not base.__module__.startswith("django.")


def _is_endless(function: Function | None) -> bool:
    """``while True:`` without a way out."""
    if function is None:
        return False
    nodes = [*own_nodes(function.node)]
    loops = any(
        isinstance(each, ast.While) and isinstance(each.test, ast.Constant) and each.test.value for each in nodes
    )
    return loops and not any(isinstance(each, ast.Break | ast.Return) for each in nodes)


def rules(handler: str) -> dict[type, list[object]]:
    return {Call: [Streams(handler).synchronous_stream]}
