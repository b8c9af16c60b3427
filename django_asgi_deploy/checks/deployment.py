"""How the site is started: files of the deployment, and what stands in them. (505, 507 to 510)"""

import ast
import os
import re
from collections.abc import Collection, Iterable, Iterator
from types import ModuleType

from django_asgi_deploy.checks import deployment_files, uvicorn_calls
from django_asgi_deploy.checks.deployment_files import Line
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.sources import first_place, text_of
from django_asgi_deploy.handlers.views import is_async

OLD_WORKER = re.compile(r"\buvicorn\.workers(\.\w+|(?= import\b))")
UVICORN = re.compile(r"""(^|[\s"'/\[=])uvicorn["',\s]+(?!worker)""")
# A WSGI server, and further on the module that it is given.
WSGI = re.compile(
    r"""\b(gunicorn|uwsgi|waitress-serve|mod_wsgi-express|granian)\b.*?[\s"'=]([\w.]*wsgi(:\w+)?)(?=["'\s,\]]|$)"""
    r"|^\s*(module|wsgi-file)\s*=\s*\S*wsgi|WSGIScriptAlias",
)
RELOAD = re.compile(
    r"""\b(uvicorn|gunicorn|hypercorn|daphne|granian|runasgi)\b.*--reload(?![\w-])|^\s*reload\s*=\s*True"""
)
RUNSERVER = re.compile(r"\bmanage\.py[\"',\s]+runserver\b|\bdjango-admin[\"',\s]+runserver\b")
ASYNCIO_DEBUG = re.compile(r"PYTHONASYNCIODEBUG[\"']?\s*[=:]\s*[\"']?(1|true)", re.IGNORECASE)
UNIX_SOCKET = re.compile(r"--uds\b|\bunix:/?|--fd\b")
REMOTE_ADDR = "REMOTE_ADDR"
# What stays open until somebody closes it: WebSockets, streams of events, and streams in whose module something loops
# for ever or waits for messages. A file that is sent in parts comes to its end.
WEBSOCKETS = re.compile(
    r"\b(?:Async)?(?:Json)?WebsocketConsumer\b|\bwebsocket_connect\b|[\"']websocket\.accept[\"']|\bGraphQLWSConsumer\b|"
    r"\bWebSocketRoute\(|@\w+\.websocket\("
)
STREAMS = re.compile(r"\b(?:StreamingHttpResponse|EventSourceResponse|AsyncHttpConsumer)\b")
ENDLESS = re.compile(r"text/event-stream|\bwhile (?:True|1)\b|\bitertools\.count\(|\.listen\(\)|\.subscribe\(")
SENDS_EVENTS = re.compile(r"\bdjango_eventstream\b|\bEventSourceResponse\(|\bGraphQLProtocolTypeRouter\(")
GRACEFUL = re.compile(r"--timeout-graceful-shutdown|UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN")
# A line that only speaks of it, one for development, and one with options that stand elsewhere.
NOT_FOR_US = re.compile(
    r"^\s*(?:RUN\s|echo\b|printf\b)|--reload(?![\w-])|\$@|\$\*|\$\{?\w*(?:ARGS|OPTS|OPTIONS|FLAGS)\b", re.IGNORECASE
)


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((old_worker, endless_shutdown, wsgi, development_flags, remote_addr), inspected)


def old_worker(inspected: Inspected) -> Iterator[Finding]:
    for line, match in _matches(inspected, OLD_WORKER):
        yield found(
            507,
            f"{match[0]} is deprecated and goes away in a later uvicorn: then the site doesn't start after an update.",
            "manage.py runasgi; or pip install uvicorn-worker, and: uvicorn_worker.UvicornWorker",
            object=match[0],
            place=line.place(match),
        )


def endless_shutdown(inspected: Inspected) -> Iterator[Finding]:
    """uvicorn's own command waits for open responses without limit, unless it is told one."""
    stream = _first_open_ended(inspected.modules)
    if stream is None or os.environ.get("UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN"):
        return
    limited = {line.file for line, _ in _matches(inspected, GRACEFUL)}
    places = [
        (line.place(match), "--timeout-graceful-shutdown 30")
        for line, match in _matches(inspected, UVICORN)
        if line.file not in limited and _starts_an_application(line.text) and not NOT_FOR_US.search(line.text)
    ]
    places += [
        (call.place, "timeout_graceful_shutdown=30")
        for call in uvicorn_calls.calls(inspected.root)
        if not call.is_open and "timeout_graceful_shutdown" not in call.given
    ]
    for place, option in places:
        yield found(
            505,
            "uvicorn is started without a limit for its end, and this project has responses without end "
            f"({stream.file}:{stream.line}): a deployment hangs until the last visitor closes the page.",
            f"manage.py runasgi, which has one; or, for uvicorn, {option}",
            object="uvicorn",
            place=place,
        )


def _first_open_ended(modules: Iterable[ModuleType]) -> Place | None:
    for module in modules:
        place = first_place([module], WEBSOCKETS) or first_place([module], SENDS_EVENTS)
        if place is None and ENDLESS.search(text_of(module)):
            place = first_place([module], STREAMS)
        if place:
            return place
    return None


def _starts_an_application(text: str) -> bool:
    return re.search(r"\b[\w.]+:\w+", text) is not None


def wsgi(inspected: Inspected) -> Iterator[Finding]:
    views = [route for route in inspected.routes if is_async(route.callback)]
    if not views:
        return
    places = [(line, match) for line, match in _matches(inspected, WSGI)]
    for line, match in places[:1]:
        many = f"{len(views)} asynchronous view{'s' * (len(views) > 1)}"
        yield found(
            508,
            f"This starts the site over WSGI, and it has {many} ({views[0].path}): each request to them gets an event "
            "loop of its own, holds a worker until it ends, and streams come all at once.",
            "manage.py runasgi --bind 0.0.0.0:8000",
            object=match[0].strip(),
            place=line.place(match),
            chain=tuple(f"{other.place()}: so does this" for other, _ in places[1:]),
        )


def development_flags(inspected: Inspected) -> Iterator[Finding]:
    for pattern, what, hint in (
        (RELOAD, "restarts the site when a file changes, and watches all files", "Take the reload out."),
        (RUNSERVER, "is Django's development server, which isn't made for visitors", "manage.py runasgi"),
        (ASYNCIO_DEBUG, "slows every await down and logs each slow one", "Take PYTHONASYNCIODEBUG out."),
    ):
        for line, match in _matches(inspected, pattern):
            yield found(
                509,
                f"{match[0].strip()!r} {what}: it is for development only.",
                hint,
                object=match[0].strip(),
                place=line.place(match),
            )
    if os.environ.get("PYTHONASYNCIODEBUG") and not inspected.is_development:
        yield found(
            509,
            "PYTHONASYNCIODEBUG is set: it slows every await down and logs each slow one. It is for development only.",
            "unset PYTHONASYNCIODEBUG",
            object="PYTHONASYNCIODEBUG",
        )


def remote_addr(inspected: Inspected) -> Iterator[Finding]:
    """Not with runasgi, which gives such a client an empty address."""
    line = next((line for line, _ in _matches(inspected, UNIX_SOCKET) if _starts_a_server(line)), None)
    if line is None:
        return
    places = [place for module in inspected.modules for place in _read_addresses(module)]
    if places:
        yield found(
            510,
            f'Behind a unix socket ({line.place()}) a request has no address: META["REMOTE_ADDR"] raises KeyError, and '
            "the page fails, unless a trusted proxy tells it.",
            'request.META.get("REMOTE_ADDR", ""); or manage.py runasgi, under which it is there, and empty.',
            object=REMOTE_ADDR,
            place=places[0],
            chain=tuple(f"{place}: here, too" for place in places[1:]),
        )


def _read_addresses(module: ModuleType) -> Iterator[Place]:
    """Where ``request.META["REMOTE_ADDR"]`` is read, also through a name for META, and nobody expects a KeyError."""
    text = text_of(module)
    if REMOTE_ADDR not in text or "META" not in text:
        return
    tree = ast.parse(text)
    names = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_meta(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in _unexpecting(tree):
        match node:
            case ast.Subscript(value=meta, slice=ast.Constant(value="REMOTE_ADDR"), ctx=ast.Load()):
                if _is_meta(meta, names):
                    yield Place(relative(str(module.__file__)), node.lineno, column=node.col_offset)


def _is_meta(node: ast.expr, names: Collection[str]) -> bool:
    match node:
        case ast.Attribute(attr="META"):
            return True
        case ast.Name(id=name):
            return name in names
    return False


def _unexpecting(node: ast.AST) -> Iterator[ast.AST]:
    """All there is, without what is tried with a KeyError in mind, or done if the key is there."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Try) and any(_expects_key_error(handler) for handler in child.handlers):
            rest: list[ast.AST] = [*child.handlers, *child.orelse, *child.finalbody]
        elif isinstance(child, ast.If | ast.IfExp) and f"{REMOTE_ADDR}' in " in ast.unparse(child.test):
            rest = [*child.orelse] if isinstance(child, ast.If) else [child.orelse]
        else:
            yield child
            rest = [child]
        for each in rest:
            yield from _unexpecting(each)


def _expects_key_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(name in ast.unparse(handler.type) for name in ("KeyError", "LookupError", "Exception"))


def _starts_a_server(line: Line) -> bool:
    return re.search(r"\b(uvicorn|gunicorn|hypercorn|daphne|granian)\b|^\s*bind\s*=", line.text) is not None


def _matches(inspected: Inspected, pattern: re.Pattern[str]) -> Iterator[tuple[Line, re.Match[str]]]:
    for line in deployment_files.lines(inspected.root):
        match = pattern.search(line.text)
        if match:
            yield line, match
