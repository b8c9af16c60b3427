"""Several applications behind one: the path's prefix says which.

By the ASGI specification ``scope["path"]`` is the whole path, with the ``root_path`` that the application is mounted
at in front. So a mounted application gets a longer ``root_path`` and the same ``path`` and ``raw_path``.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from django_asgi_deploy.layers.forward import Forwarded, live_together
from django_asgi_deploy.layers.route import note_route
from django_asgi_deploy.prefixes import parse_prefix
from django_asgi_deploy.types import ASGIApp, Receive, Scope, Send


class Place:
    """An application, where it is, and what of the lifespan's state only it may see."""

    def __init__(self, prefix: str, app: ASGIApp) -> None:
        self.prefix = prefix
        self.app = app
        self.own_state: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return f"The application at {self.prefix or '/'}"


class Mount:
    """Passes each request on to the application with the longest prefix that its path has.

    ``apps`` maps prefixes such as ``"/api"`` to applications. Everything else goes to ``fallback``, or to the
    application at ``"/"``, or is answered with 404. All of them are started and stopped with the lifespan.
    Raises ValueError if a prefix is none, or is given twice.
    """

    def __init__(self, apps: Mapping[str, ASGIApp], fallback: ASGIApp | None = None) -> None:
        places = {"": Place("", fallback)} if fallback else {}
        for text, app in apps.items():
            prefix = parse_prefix(text)
            if prefix in places:
                raise ValueError(f"{text!r}: there are two applications at {prefix or '/'}")
            places[prefix] = Place(prefix, app)
        self.fallback = places.pop("") if "" in places else Place("", not_found)
        self.mounted = sorted(places.values(), key=lambda place: len(place.prefix), reverse=True)
        # In the order given, the fallback first: what is mounted may need Django, hardly the other way round.
        self.in_order = [self.fallback, *places.values()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind in ("http", "websocket"):
            place, scope = self._route(scope)
            await place.app(scope, receive, send)
        elif kind == "lifespan":
            apps = [(place.name, place.app) for place in self.in_order]
            await live_together(apps, scope, receive, send, partial(self._share, scope))
        else:
            await self.fallback.app(scope, receive, send)

    def _route(self, scope: Scope) -> tuple[Place, Scope]:
        root = (scope.get("root_path") or "").rstrip("/")
        path = scope["path"]
        is_inside_root = path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")
        rest = path[len(root) :] if is_inside_root else path
        for place in self.mounted:
            size = len(place.prefix)
            if rest.startswith(place.prefix) and rest[size : size + 1] in ("", "/"):
                note_route(scope, f"{place.prefix[1:]}/*")
                scope = {**scope, "root_path": root + place.prefix}
                if not is_inside_root:  # a server that knows its root_path and leaves it out of the path
                    scope["path"] = root + path
                    if scope.get("raw_path") is not None:
                        scope["raw_path"] = quote(root).encode() + scope["raw_path"]
                break
        else:
            place = self.fallback
        if place.own_state:
            scope = {**scope, "state": scope.get("state", {}) | place.own_state}
        return place, scope

    def _share(self, scope: Scope, started: list[Forwarded]) -> None:
        """Where two use the same key in the state, each still finds its own value at its requests."""
        state = scope.get("state", {})
        for place, each in zip(self.in_order, started, strict=True):
            place.own_state = {key: value for key, value in each.state.items() if state.get(key) is not value}


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """404, or a denied handshake; has no lifespan."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"Not Found"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
