"""The server underneath: its libraries, limits and proxies. (501 to 504, 511 to 513)"""

import ast
import asyncio
import os
import re
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from django.apps import apps
from django.conf import settings as django_settings

from django_asgi_deploy.checks import deployment_files, functions, uvicorn_calls
from django_asgi_deploy.checks.channels import chain, websocket_application
from django_asgi_deploy.checks.definitions import own_nodes
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.sources import text_of
from django_asgi_deploy.handlers.views import is_async

EVERYBODY = {"*", "0.0.0.0/0", "::/0"}
EVENT_STREAM = "text/event-stream"
UNBUFFERED = "X-Accel-Buffering"
LIMITS = re.compile(r"--limit-concurrency\b|UVICORN_LIMIT_CONCURRENCY|\bgranian\b.*--backpressure\b")
THREAD_LOCAL = re.compile(r"\bthreading\.local\(|\bfrom threading import (?:.*\b)?local\b(?: as (\w+))?")
REQUIREMENT = re.compile(r"^([\w.-]+)(\[[^\]]*\])?\s*\(?([<>=!~\d.,\s]*)\)?(;.*)?$")


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving(
        (websocket_library, fast_parts, trusted_proxies, unlimited_threads, versions, event_streams, thread_locals),
        inspected,
    )


def websocket_library(inspected: Inspected) -> Iterator[Finding]:
    if find_spec("websockets") or find_spec("wsproto"):
        return
    if inspected.settings.websocket or websocket_application(inspected.application) is not None:
        yield found(
            501,
            "The application takes WebSockets, but the server has no library for them: every handshake is refused with "
            '"Unsupported upgrade request".',
            "pip install websockets",
            object=inspected.settings.websocket or (inspected.found.name if inspected.found else None),
        )


def fast_parts(inspected: Inspected) -> Iterator[Finding]:
    if sys.implementation.name != "cpython" or sys.platform == "win32":
        return
    missing = [name for name in ("uvloop", "httptools") if find_spec(name) is None]
    if missing:
        yield found(
            502,
            f"{' and '.join(missing)} isn't installed: the server falls back to slower parts, without a word.",
            "pip install 'uvicorn[standard]'",
            object=", ".join(missing),
        )


def trusted_proxies(inspected: Inspected) -> Iterator[Finding]:
    if not EVERYBODY.isdisjoint(inspected.settings.trusted_proxies) and inspected.is_reached_from_elsewhere:
        yield found(
            503,
            f"Everybody is trusted as a proxy, and the server listens on {', '.join(inspected.settings.bind)}: any "
            "visitor can choose the address and the scheme that the site sees, past rate limits and bans.",
            "Name the proxy's address instead of *, or listen on an address that only the proxy reaches.",
            object="TRUSTED_PROXIES",
            place=inspected.place_of_setting("ASGI_DEPLOY", "TRUSTED_PROXIES"),
        )


def unlimited_threads(inspected: Inspected) -> Iterator[Finding]:
    if inspected.handler == "pooled" or inspected.application is None or _has_limit(inspected):
        return
    synchronous = [route for route in inspected.routes if not is_async(route.callback)]
    middleware = [entry for entry in inspected.replay.entries if entry.is_used and entry.mode == "sync only"]
    if not synchronous and not (middleware and inspected.routes):
        return
    views = f"{len(synchronous)} synchronous view{'s' * (len(synchronous) > 1)}"
    if not synchronous:
        views = f"synchronous middleware ({middleware[0].name})"
    yield found(
        504,
        "Each request that is being answered has a thread of its own, without limit: 200 visitors at once of the "
        f"{views} are 200 threads.",
        'Serve with the pooled handler (HANDLER = "pooled"), or ASGI_DEPLOY["UVICORN"] = {"limit_concurrency": 64}.',
        object="UVICORN",
        place=inspected.place_of_setting("ASGI_DEPLOY"),
    )


def _has_limit(inspected: Inspected) -> bool:
    """Whether something bounds the requests: an option, a file of the deployment, what is around the application."""
    if inspected.request_limit is not None or os.environ.get("UVICORN_LIMIT_CONCURRENCY"):
        return True
    if any(LIMITS.search(line.text) for line in deployment_files.lines(inspected.root)):
        return True
    if any("limit_concurrency" in call.given or call.is_open for call in uvicorn_calls.calls(inspected.root)):
        return True
    return any(_is_limiter(value) for layer in chain(inspected.application) for value in _values_of(layer))


def _values_of(layer: Any) -> Iterator[Any]:
    """What a part of the application has in hand: attributes, or the variables of a function."""
    function = functions.unwrap(layer)
    if not isinstance(function, FunctionType):
        yield from getattr(layer, "__dict__", {}).values()
        return
    yield from functions.cells(function).values()
    yield from (function.__globals__.get(name) for name in function.__code__.co_names)


def _is_limiter(value: Any) -> bool:
    return isinstance(value, asyncio.Semaphore) or type(value).__name__ == "CapacityLimiter"  # anyio's


# ------------------------------------------------------------------ versions


def versions(inspected: Inspected) -> Iterator[Finding]:
    for package in ("django", "django-asgi-deploy", "channels"):
        for name, wanted in _requirements(package):
            installed = _version(name)
            if installed and (bound := _violated(installed, wanted)):
                yield found(
                    511,
                    f"{package} wants {name} {wanted}, and {installed} is installed: nobody has tried these together.",
                    f"pip install '{name}{bound}'",
                    object=name,
                )


def _requirements(package: str) -> Iterator[tuple[str, str]]:
    try:
        required = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return
    for line in required:
        match = REQUIREMENT.match(line)
        if match and match[3].strip() and not match[4]:
            yield match[1], match[3].strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _violated(installed: str, wanted: str) -> str | None:
    """The bound that a version doesn't keep; only ``>=``, ``>``, ``<=`` and ``<`` are looked at."""
    have = _numbers(installed)
    for bound in wanted.split(","):
        match = re.fullmatch(r"(>=|<=|<|>)\s*([\d.]+)", bound.strip())
        if match is None:
            continue
        limit = _numbers(match[2])
        length = max(len(have), len(limit))
        left, right = (numbers + (0,) * (length - len(numbers)) for numbers in (have, limit))
        keeps = {">=": left >= right, "<=": left <= right, "<": left < right, ">": left > right}[match[1]]
        if not keeps:
            return bound.strip()
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[a-zA-Z+-]", version)[0]))


# ------------------------------------------------------------------ what stands in sources


def event_streams(inspected: Inspected) -> Iterator[Finding]:
    if _middleware_sets_the_header(inspected):
        return
    for module in inspected.modules:
        text = text_of(module)
        if EVENT_STREAM not in text or "StreamingHttpResponse" not in text:
            continue
        for function, line, column in _buffered(ast.parse(text), module):
            yield found(
                512,
                "nginx holds the parts of this stream back until it has a few kilobytes: events arrive late, and many "
                "at once.",
                f'response["{UNBUFFERED}"] = "no"; response["Cache-Control"] = "no-cache"',
                object=f"{module.__name__}.{function}",
                place=Place(relative(str(module.__file__)), line, function, column),
            )


def _buffered(tree: ast.Module, module: ModuleType) -> Iterator[tuple[str, int, int]]:
    """Functions that make a stream of events and don't name the header: name, line and column of the response.

    What they say includes what the constants and the module's own functions say that they use.
    """
    others = {name: _texts(each) for each in tree.body for name in _names_of(each)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [each for each in own_nodes(node) if _makes_stream(each)]
        if not calls:
            continue
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - {node.name}
        texts = _texts(node).union(*(others.get(name, ()) for name in used), _constants(node, module))
        if any(map(_is_event_stream, texts)) and UNBUFFERED.lower() not in {text.lower() for text in texts}:
            call = next((each for each in calls if any(map(_is_event_stream, _texts(each)))), calls[0])
            yield node.name, call.lineno, call.col_offset


def _texts(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _constants(node: ast.AST, module: ModuleType) -> Iterator[str]:
    """The texts that names of the module, and attributes of these, stand for."""
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name):
                value = vars(module).get(name)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                value = getattr(vars(module).get(owner), "__dict__", {}).get(name)
            case _:
                continue
        if isinstance(value, str):
            yield value


def _names_of(statement: ast.stmt) -> Iterator[str]:
    """What a statement of a module defines, without imports."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    yield from (each.id for each in targets if isinstance(each, ast.Name))


def _makes_stream(node: ast.AST) -> TypeGuard[ast.Call]:
    named = node.func if isinstance(node, ast.Call) else None
    return "StreamingHttpResponse" in (getattr(named, "id", None), getattr(named, "attr", None))


def _is_event_stream(text: str) -> bool:
    return text.startswith(EVENT_STREAM)


def _middleware_sets_the_header(inspected: Inspected) -> bool:
    names = {path.rpartition(".")[0] for path in django_settings.MIDDLEWARE}
    return any(UNBUFFERED in text_of(module) for module in inspected.modules if module.__name__ in names)


def thread_locals(inspected: Inspected) -> Iterator[Finding]:
    packages = {}
    for config in apps.get_app_configs():
        package = config.name.partition(".")[0]
        if package not in ("django", "django_asgi_deploy") and not inspected.is_projects(sys.modules.get(package)):
            module = next((each for each in _modules_of(package) if _has_thread_local(each)), None)
            if module:
                packages[package] = module.__name__
    if packages:
        told = ", ".join(f"{package} ({module})" for package, module in packages.items())
        yield found(
            513,
            f"These packages keep state by thread: {told}. In asynchronous code on the event loop all visitors share "
            "one thread, so what one of them sets another may see.",
            "Look whether a newer version uses contextvars, and don't use what they keep in asynchronous views.",
            object=", ".join(packages),
        )


def _has_thread_local(module: ModuleType) -> bool:
    """Not where another is taken, such as asgiref's, and that of threads only if there is none."""
    matches = THREAD_LOCAL.finditer(text_of(module))
    return any(match[1] is None or vars(module).get(match[1]) is threading.local for match in matches)


def _modules_of(package: str) -> list[ModuleType]:
    return [module for name, module in [*sys.modules.items()] if f"{name}.".startswith(f"{package}.")]
