"""The WebSockets that a project can be known to take: by Channels' routers, by Starlette's, in plain ASGI.

Nothing of Channels or Starlette is imported: where the project uses them, they are there.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from types import CodeType, FunctionType
from typing import Any

from django_asgi_deploy.checks import arguments, channels, functions, harmless
from django_asgi_deploy.checks.frames import Place, place_in
from django_asgi_deploy.checks.hops import qualified
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.exceptions import is_users
from django_asgi_deploy.importer import import_from_string

# To the client that has just connected, and to the others in its room.
SENDS = frozenset(["send", "send_json", "send_text", "send_bytes", "group_send"])
PATH = re.compile(r"/[\w./~-]+")
DEEPEST = 4


@dataclass(frozen=True)
class WebSocket:
    """A path that an application takes WebSockets at, and what takes them there."""

    path: str
    taker: Any  # a consumer's class, an endpoint, or the application itself
    is_guessed: bool = False  # its path has arguments that nobody asked for
    is_named: bool = False  # by somebody who wants it tried
    takes_all_origins: bool = False  # because the settings say so
    checked_at: Place | None = None  # where an origin check belongs, or would

    @property
    def name(self) -> str:
        return qualified(self.taker)

    @property
    def place(self) -> Place | None:
        """Where it takes them; of a consumer, its method for that, if it has one of its own."""
        methods = ("connect", "websocket_connect", "on_connect", "__call__")
        own = (getattr(self.taker, name, None) for name in methods if inspect.isclass(self.taker))
        return next((place for each in own if each and (place := place_in(each))), place_in(self.taker))


@dataclass
class Known:
    """The WebSockets to try, and what is left out."""

    sockets: list[WebSocket]
    left_out: list[str]  # routes, as they are written


def known(inspected: Inspected) -> Known:
    """Of the application, of WEBSOCKET and of MOUNTS, as far as they can be known."""
    left_out: list[str] = []
    sockets: dict[str, WebSocket] = {}
    for socket in _all(inspected, left_out):
        sockets.setdefault(socket.path, socket)
    return Known([*sockets.values()], left_out)


def chosen(paths: Sequence[str], inspected: Inspected) -> list[WebSocket]:
    """Of paths that somebody has named: what is known to take them, else the application itself."""
    by_path = {socket.path: socket for socket in known(inspected).sockets}
    taker = _function_of(inspected.application)
    return [
        replace(by_path.get(path) or WebSocket(path, taker), is_guessed=False, is_named=True)
        for path in dict.fromkeys(paths)
    ]


def _all(inspected: Inspected, left_out: list[str]) -> Iterator[WebSocket]:
    if inspected.ours is not None:
        settings = inspected.ours.asgi_deploy_settings
        for prefix, path in settings.mounts.items():
            app = import_from_string(path, settings.where("MOUNTS"))
            yield from _of(app, prefix.rstrip("/"), left_out, is_certain=False)
        if settings.websocket:
            app = import_from_string(settings.websocket, settings.where("WEBSOCKET"))
            for socket in _of(app, "", left_out, is_certain=True):
                yield replace(socket, takes_all_origins="*" in settings.websocket_allowed_origins)
    if inspected.application is not inspected.ours:
        for socket in _of(inspected.application, "", left_out, is_certain=False):
            yield replace(socket, checked_at=channels.place_of_routing(inspected))


# ------------------------------------------------------------------ walking


def _of(app: Any, prefix: str, left_out: list[str], is_certain: bool) -> Iterator[WebSocket]:
    taker = channels.websocket_application(app)
    starlette = next((each for each in channels.chain(taker or app) if isinstance(_routes(each), list)), None)
    if router := channels.url_router(taker or app):
        yield from _of_channels(router, prefix, left_out)
    elif starlette is not None:
        yield from _of_starlette(_routes(starlette), prefix, left_out)
    else:
        yield from _of_plain(taker or app, prefix, left_out, is_certain=is_certain or taker is not None)


def _of_channels(
    router: Any, prefix: str, left_out: list[str], outer: tuple[Any, ...] = (), depth: int = 0
) -> Iterator[WebSocket]:
    for route in router.routes:
        parts = (*outer, route)
        inner = channels.url_router(route.callback)
        if inner is not None and depth < DEEPEST:
            yield from _of_channels(inner, prefix, left_out, parts, depth + 1)
            continue
        taker = getattr(route.callback, "consumer_class", route.callback)
        written = "/" + "".join(str(part.pattern) for part in parts)
        path = _filled(parts, written, taker)
        if path is None:
            left_out.append(f"{prefix}{written}")
        elif not inspect.isclass(route.callback):  # it can't work: 602 says so
            yield WebSocket(prefix + path, taker, is_guessed=_takes_arguments(parts))


def _takes_arguments(parts: tuple[Any, ...]) -> bool:
    return any(part.pattern.regex.groups for part in parts)


def _filled(parts: tuple[Any, ...], written: str, taker: Any) -> str | None:
    """A path that the routes take, where that is harmless."""
    if _takes_arguments(parts) and not harmless.only_shows(written, taker, allowed=SENDS):
        return None
    return arguments.filled(parts, taker, lambda path: _leads_through(parts, path[1:]))


def _leads_through(parts: tuple[Any, ...], path: str) -> bool:
    for part in parts:
        match = part.pattern.match(path)
        if match is None:
            return False
        path = match[0]
    return True


def _routes(app: Any) -> Any:
    return getattr(app, "routes", None)


def _of_starlette(routes: list[Any], prefix: str, left_out: list[str], depth: int = 0) -> Iterator[WebSocket]:
    for route in routes:
        path = getattr(route, "path", None)
        inner = getattr(route, "routes", None)
        if not isinstance(path, str):
            continue
        if any(cls.__name__ == "WebSocketRoute" for cls in type(route).__mro__):
            filled = _filled_in_starlette(route)
            if filled is None:
                left_out.append(prefix + path)
            else:
                yield WebSocket(prefix + filled, _unwrapped(route.endpoint), is_guessed="{" in path)
        elif isinstance(inner, list) and "{" not in path and depth < DEEPEST:
            yield from _of_starlette(inner, prefix + path, left_out, depth + 1)


def _filled_in_starlette(route: Any) -> str | None:
    names = [*getattr(route, "param_convertors", ())]
    if names and not harmless.only_shows(route.path, _unwrapped(route.endpoint), allowed=SENDS):
        return None
    for values in islice(product(arguments.TEXTS, repeat=len(names)), arguments.MOST_TRIES):
        path = str(route.path_format).format(**dict(zip(names, values, strict=True)))
        if route.path_regex.match(path):
            return path
    return None


# ------------------------------------------------------------------ plain ASGI


def _of_plain(app: Any, prefix: str, left_out: list[str], *, is_certain: bool) -> Iterator[WebSocket]:
    """At the paths that the project's own code names, if it speaks of WebSockets; at ``/`` if it names none."""
    parts = [*channels.chain(app)]
    if consumer := next((part.consumer_class for part in parts if hasattr(part, "consumer_class")), None):
        yield WebSocket(f"{prefix}/", consumer)
        return
    takers = {taker: [*_texts_of(taker, DEEPEST)] for part in parts if place_in(taker := _function_of(part))}
    speaking = [taker for taker, texts in takers.items() if any(map(_is_about_websockets, texts))]
    if speaking or (is_certain and takers):
        taker = (speaking or [*takers])[0]
        paths = [text for text in dict.fromkeys(takers[taker]) if PATH.fullmatch(text)]
        yield from (WebSocket(f"{prefix}{path}", taker) for path in paths or ("/",))
    elif is_certain:
        left_out.append(f"{prefix}/")  # an installed package's: it has paths of its own


def _is_about_websockets(text: str) -> bool:
    return text == channels.TYPE or text.startswith(f"{channels.TYPE}.")


def _function_of(app: Any) -> Any:
    app = _unwrapped(app)
    if isinstance(app, FunctionType):
        return app
    return functions.function_of(vars(type(app)).get("__call__")) or type(app)


def _unwrapped(app: Any) -> Any:
    while isinstance(app, partial):
        app = app.func
    return functions.unwrap(app)


def _texts_of(function: Any, depth: int) -> Iterator[str]:
    """The texts in its code, and in that of the project's functions that it names."""
    if not isinstance(function, FunctionType) or not depth or not is_users(function.__code__.co_filename):
        return
    yield from _texts_in(function.__code__)
    for name in function.__code__.co_names:
        yield from _texts_of(function.__globals__.get(name), depth - 1)


def _texts_in(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts_in(constant)
        for each in constant if isinstance(constant, tuple | frozenset) else (constant,):
            if isinstance(each, str):
                yield each
