"""Channels: what is wrong with routing, as far as the objects themselves tell. (601 to 603)

Nothing of Channels is imported: where the project uses it, it is there.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings

from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, place_in
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected, is_loopback
from django_asgi_deploy.checks.settings_source import place_of_setting
from django_asgi_deploy.checks.sources import text_of
from django_asgi_deploy.importer import module_of

DEEPEST = 20
INNER = ("application", "inner", "app")  # how middleware calls what it wraps
ROUTING = "channels.routing"
TYPE = "websocket"  # of the scope


def check(inspected: Inspected) -> Iterator[Finding]:
    if ROUTING in sys.modules:
        yield from surviving((router_without_http, classes_as_routes, unchecked_origins), inspected)


def websocket_application(app: Any) -> Any:
    """What takes WebSockets in an application of Channels; None if that isn't known."""
    router = _find(app, "ProtocolTypeRouter")
    return router.application_mapping.get(TYPE) if router else None


def place_of_routing(inspected: Inspected) -> Place | None:
    """Where the application says what takes WebSockets, if Channels routes them there."""
    router = _find(inspected.application, "ProtocolTypeRouter")
    return _place(inspected, TYPE) if router and TYPE in router.application_mapping else None


def layers_elsewhere() -> list[str]:
    """``"default (redis.example.com)"`` for each channel layer that isn't known to be on this machine."""
    found = []
    for alias, config in (getattr(django_settings, "CHANNEL_LAYERS", None) or {}).items():
        hosts = [*_hosts(config.get("CONFIG", {}))]
        others = [host for host in hosts if not is_loopback(host) and not host.startswith("/")]
        if others:
            found.append(f"{alias} ({', '.join(others)})")
    return found


def _hosts(config: Any) -> Iterator[str]:
    """What of a layer's configuration names a host: URLs, pairs of host and port, ``address``, ``host``."""
    if isinstance(config, str) and "://" in config:
        yield urlsplit(config).hostname or "/"
    elif isinstance(config, Mapping):
        for key, value in config.items():
            yield from [value] if key == "host" and isinstance(value, str) and "://" not in value else _hosts(value)
    elif isinstance(config, Sequence) and not isinstance(config, str | bytes):
        if len(config) == 2 and isinstance(config[0], str) and isinstance(config[1], int):
            yield config[0]
        else:
            for each in config:
                yield from _hosts(each)


def router_without_http(inspected: Inspected) -> Iterator[Finding]:
    router = _find(inspected.application, "ProtocolTypeRouter")
    if router is None or "http" in router.application_mapping:
        return
    yield found(
        601,
        'ProtocolTypeRouter has no "http": every page raises ValueError, and the visitor sees 500. (Channels 3 and '
        "newer "
        "don't add Django by themselves.)",
        'ProtocolTypeRouter({"http": get_asgi_application(), ...})',
        object=_name(inspected),
        place=_place(inspected, "ProtocolTypeRouter"),
    )


def classes_as_routes(inspected: Inspected) -> Iterator[Finding]:
    for router in _url_routers(inspected):
        for route in router.routes:
            if inspect.isclass(route.callback):
                consumer = f"{route.callback.__module__}.{route.callback.__qualname__}"
                yield found(
                    602,
                    f"The route {str(route.pattern)!r} leads to the class {consumer}, not to an application: every "
                    "connection to it fails.",
                    f"{route.callback.__name__}.as_asgi()",
                    object=consumer,
                    place=place_in(route.callback),
                )


def unchecked_origins(inspected: Inspected) -> Iterator[Finding]:
    """Cross-site hijacking: the browser sends the visitor's cookies along from whatever page opens the connection."""
    outermost = websocket_application(inspected.application)
    layers = [*chain(outermost)]
    if not layers or not _is_a(layers[-1], "URLRouter") or any(_is_a(each, "OriginValidator") for each in layers):
        return  # what isn't known to end in a router may check by itself
    yield found(
        603,
        "Nothing checks which site's page opens a WebSocket: any page that a logged-in visitor looks at can connect in "
        "the visitor's name.",
        'from channels.security.websocket import AllowedHostsOriginValidator; put it around the "websocket" '
        'application; or name that application in ASGI_DEPLOY["WEBSOCKET"], which checks it.',
        object=_name(inspected),
        place=_place(inspected, TYPE),
    )


# ------------------------------------------------------------------ walking


def url_router(app: Any) -> Any:
    """The outermost router of URLs in an application of Channels; None without one."""
    return _find(app, "URLRouter")


def _url_routers(inspected: Inspected) -> Iterator[Any]:
    for start in (websocket_application(inspected.application), inspected.application):
        router = url_router(start)
        if router is not None:
            yield from _with_nested(router)
            return


def _with_nested(router: Any, depth: int = 0) -> Iterator[Any]:
    yield router
    for route in router.routes:
        if depth < DEEPEST and _is_a(route.callback, "URLRouter"):
            yield from _with_nested(route.callback, depth + 1)


def _find(app: Any, name: str) -> Any:
    return next((each for each in chain(app) if _is_a(each, name)), None)


def chain(app: Any) -> Iterator[Any]:
    """An application, the one in it, and so on."""
    for _ in range(DEEPEST):
        if app is None:
            return
        yield app
        attributes = getattr(app, "__dict__", {})
        app = next((attributes[name] for name in INNER if callable(attributes.get(name))), None)


def _is_a(thing: Any, name: str) -> bool:
    return any(cls.__name__ == name and cls.__module__.startswith("channels.") for cls in type(thing).__mro__)


def _name(inspected: Inspected) -> str | None:
    return inspected.found.name if inspected.found else None


def _place(inspected: Inspected, text: str) -> Place | None:
    """Where the text stands in what the application is assigned, else in its module."""
    if inspected.found is None:
        return None
    module = module_of(inspected.found.name)
    begun = place_of_setting(module, inspected.found.name.removeprefix(module)[1:].partition(".")[0])
    places = inspected.places_of_text(module, text)
    if begun is None:
        return next(iter(places), None)
    following = [each for each in places if each.line >= begun.line]
    between = range(begun.line + 1, following[0].line + 1) if following else range(0)
    lines = text_of(sys.modules[module]).splitlines()
    if following and all(not line or line[0] in " \t)]}" for line in (lines[number - 1] for number in between)):
        return following[0]
    return next(iter(places), begun)
