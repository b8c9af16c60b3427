"""One request on its way through the handler, and the small things that belong to it."""

from typing import Any

from django_asgi_deploy.handlers import private
from django_asgi_deploy.handlers.affinity import RequestThread
from django_asgi_deploy.handlers.views import Found
from django_asgi_deploy.handlers.watch import Watch
from django_asgi_deploy.types import Scope


class Exchange:
    """One request on its way, and what is known of it so far."""

    __slots__ = ("body", "done", "found", "owner", "request", "response", "scope", "served", "watch")

    def __init__(self, scope: Scope, body: Any, owner: RequestThread, watch: Watch) -> None:
        self.scope = scope
        self.body = body
        self.owner = owner
        self.watch = watch
        self.found: Found | None = None
        self.request: Any = None
        self.response: Any = None
        self.served = False  # request_started was sent, or stands as sent
        self.done = False  # request_finished stands as sent

    def part_with_request(self) -> None:
        request, self.request = self.request, None
        private.part_with(request)


class Label:
    """A request's name in the log, made when it is needed."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __str__(self) -> str:
        return f"{self.scope.get('method', '?')} {self.scope.get('path', '?')}"


def path_info(scope: Scope) -> str:
    """The request's path_info, as far as it can be known before there is a request."""
    path: str = scope["path"]
    prefix = private.get_script_prefix(scope).rstrip("/")
    if prefix and (path == prefix or path.startswith(prefix + "/")):
        return path[len(prefix) :]
    return path


class Streamed:
    """A streaming response for send_response(), with its parts."""

    streaming = True

    def __init__(self, response: Any, parts: Any) -> None:
        self.items = response.items
        self.cookies = response.cookies
        self.status_code = response.status_code
        self.parts = parts

    def __aiter__(self) -> Any:
        return self.parts
