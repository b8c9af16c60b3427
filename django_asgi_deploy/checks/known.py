"""What Python's, asgiref's and Django's functions and methods give, and where they run what is given to them."""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from asgiref.sync import SyncToAsync

from django_asgi_deploy.checks import events, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.resolve import Names
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import (
    Bound,
    Coroutine,
    Known,
    Made,
    Mapping,
    Parent,
    Query,
    Record,
    Request,
    Several,
    Symbol,
    Value,
    Wrapped,
)

Handler: TypeAlias = Callable[[Reading, Scope, ast.Call, Arguments], Value]
MethodHandler: TypeAlias = Callable[[Reading, Scope, ast.Call, Value, Arguments], Value]

LOOP = "asyncio.events.AbstractEventLoop"
TASK = "_asyncio.Task", "asyncio.tasks.Task", "_asyncio.Future"


def type_of(owner: Value) -> type | None:
    """The class of an instance; None for what isn't known, and for classes and modules themselves."""
    if isinstance(owner, Made | Parent):
        return owner.type
    if isinstance(owner, Known) and not isinstance(owner.object, type):
        return type(owner.object)
    return None


class Handlers:
    """Functions by their full names, and methods by the full names of their classes, with what calling them gives."""

    def __init__(self) -> None:
        self._functions: dict[str, Handler] = {}
        self._methods: list[tuple[tuple[str, ...], frozenset[str], MethodHandler]] = []
        self._names: Names | None = None

    def function(self, *names: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self._functions.update(dict.fromkeys(names, handler))
            return handler

        return register

    def method(self, classes: Iterable[str], *names: str) -> Callable[[MethodHandler], MethodHandler]:
        def register(handler: MethodHandler) -> MethodHandler:
            self._methods.append((tuple(classes), frozenset(names), handler))
            return handler

        return register

    def of(self, thing: Any) -> Handler | None:
        self._names = self._names or Names(self._functions)
        name = self._names.name_of(thing)
        return self._functions[name] if name else None

    def of_method(self, owner: Value, name: str) -> MethodHandler | None:
        cls = type_of(owner)
        if cls is None:
            return None
        return next(
            (each for classes, names, each in self._methods if name in names and resolve.is_a(cls, *classes)), None
        )


HANDLERS = Handlers()
function, method = HANDLERS.function, HANDLERS.method


# ------------------------------------------------------------------ what others have in hand


def handed_over(arguments: Arguments) -> None:
    """Nobody knows what was done with these: whoever had a record in hand may have loaded its relations."""
    for value in _with_elements(arguments):
        if isinstance(value, Record):
            value.opaque()


def in_others_thread(arguments: Arguments) -> None:
    """There, even the user and the session of a request may have been loaded."""
    handed_over(arguments)
    for value in _with_elements(arguments):
        if isinstance(value, Request):
            value.has_session = value.has_user = True


def _with_elements(arguments: Arguments) -> Iterator[Value]:
    for value in arguments.all():
        yield value
        if isinstance(value, Several):
            yield from (value.element, *(value.items or ()))
        elif isinstance(value, Mapping):
            yield from value.items.values()


# ------------------------------------------------------------------ Python


@function(*(f"builtins.{name}" for name in ("list", "tuple", "set", "frozenset", "sorted", "reversed")))
def _collect(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    if not arguments.positional:
        return Several(items=())
    value = arguments.positional[0]
    element = reader.iterate(scope, node, value, text_of(node))
    with_key(reader, scope, node, arguments, element)
    return value if isinstance(value, Several) else Several(element)


@function(*(f"builtins.{name}" for name in ("any", "all", "sum", "min", "max", "next")))
def _consume(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    for value in arguments.positional[:1]:
        element = reader.iterate(scope, node, value, text_of(node))
        with_key(reader, scope, node, arguments, element)
        return element
    return None


def with_key(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments, element: Value) -> None:
    """``key=`` is called with every element."""
    if (key := arguments.named.get("key")) is not None:
        reader.call(scope, node, key, Arguments([element]))


@function("builtins.dict")
def _dict(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    value = arguments.get(0, "iterable")
    mapping = Mapping({**(value.items if isinstance(value, Mapping) else {}), **arguments.named})
    if value is not None and not isinstance(value, Mapping):
        reader.iterate(scope, node, value, text_of(node))
    return mapping


@function("builtins.iter")
def _iter(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return arguments.get(0, "object")


@function("builtins.enumerate")
def _enumerate(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    element = reader.iterate(scope, node, arguments.get(0, "iterable"), text_of(node))
    return Several(Several(items=(None, element)))


@function("builtins.zip")
def _zip(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return Several(
        Several(items=tuple(reader.iterate(scope, node, each, text_of(node)) for each in arguments.positional))
    )


@function("builtins.map", "builtins.filter")
def _map(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    elements = [reader.iterate(scope, node, each, text_of(node)) for each in arguments.positional[1:]]
    result = reader.call(scope, node, arguments.get(0, "function"), Arguments(elements)) if elements else None
    is_filter = isinstance(node.func, ast.Name) and node.func.id == "filter"
    return Several(elements[0] if is_filter and elements else result)


@function(*(f"builtins.{name}" for name in ("len", "bool", "str", "repr", "print")))
def _look(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    for value in arguments.positional:
        reader.use(scope, node, value, text_of(node))
    return None


@function("json.dumps", "json.dump")
def _dump(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    for value in arguments.positional[:1]:
        reader.use(scope, node, value, "response")
    return None


@function("builtins.getattr")
def _getattr(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    name = arguments.get(1, "name")
    if isinstance(name, Known) and isinstance(name.object, str):
        return reader.attribute(scope, node, arguments.get(0, "object"), name.object)
    return None


@function("builtins.type")
def _type(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    value = arguments.get(0, "object")
    if isinstance(value, Record):
        return Known(value.model)
    return Known(value.type) if isinstance(value, Made) else None


@function("builtins.hasattr")
def _hasattr(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    """Of a model's instance, a relation is fetched for that."""
    if isinstance(arguments.get(0, "obj"), Record):
        _getattr(reader, scope, node, arguments)
    return None


@function("builtins.isinstance", "builtins.id", "builtins.callable", "builtins.issubclass")
def _look_only(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return None


@function("functools.partial")
def _partial(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return Wrapped(arguments.get(0, "func"), "partial", arguments=arguments.positional[1:])


@function("functools.wraps", "functools.update_wrapper")
def _wraps(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return Symbol("functools.wraps()")


@function("contextlib.closing", "contextlib.aclosing", "contextlib.nullcontext")
def _closing(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    """What the ``with`` gives is what was passed."""
    from contextlib import closing

    return Made(closing, arguments=(arguments.get(0, "thing") or arguments.get(0, "enter_result"),))


@method(["contextlib.ExitStack", "contextlib.AsyncExitStack"], "enter_context")
def _enter_context(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    return reader.enter_context(scope, node, arguments.get(0, "cm"), is_async=False)


@method(["contextlib.AsyncExitStack"], "enter_async_context")
def _enter_async(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    result = reader.enter_context(scope, node, arguments.get(0, "cm"), is_async=True)
    return Coroutine(result, node, text_of(node))


# ------------------------------------------------------------------ asyncio


@function("asyncio.get_event_loop", "asyncio.get_running_loop", "asyncio.new_event_loop")
def _loop(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from asyncio import AbstractEventLoop

    return Made(AbstractEventLoop)


@function("asyncio.gather")
def _gather(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    results = [each.result if isinstance(each, Coroutine) else None for each in arguments.positional]
    of_starred = [each.result if isinstance(each, Coroutine) else None for each in arguments.starred]
    result = Several(items=tuple(results))
    if arguments.is_partial:
        result = Several(of_starred[0] if len(of_starred) == 1 and not results else None)
    return Coroutine(result, node, text_of(node))


@function("asyncio.wait_for", "asyncio.shield")
def _wait_for(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    value = arguments.get(0, "fut") or arguments.get(0, "arg")
    return Coroutine(value.result if isinstance(value, Coroutine) else None, node, text_of(node))


@function("asyncio.create_task", "asyncio.ensure_future")
def _create_task(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from asyncio import Task

    return Made(Task, arguments=(arguments.get(0, "coro") or arguments.get(0, "coro_or_future"),), node=node)


@method([LOOP], "create_task")
def _loop_create_task(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    return _create_task(reader, scope, node, arguments)


@method(["asyncio.taskgroups.TaskGroup"], "create_task")
def _group_create_task(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    return None


@method(TASK, "add_done_callback")
def _add_done_callback(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    return owner


@method([LOOP], "call_soon", "call_later", "call_at")
def _call_soon(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    position = 0 if isinstance(node.func, ast.Attribute) and node.func.attr == "call_soon" else 1
    reader.call(scope, node, arguments.get(position, "callback"), Arguments(arguments.positional[position + 1 :]))
    return None


# ------------------------------------------------------------------ threads


def in_thread(
    reader: Reading, scope: Scope, node: ast.Call, callee: Value, arguments: Arguments, *, foreign: str
) -> tuple[Value, Scope]:
    """What ``callee`` gives in a thread; nothing it does there is a problem of the loop's.

    ``foreign`` names whose thread it is, unless it is Django's own: one that nobody closes connections in.
    """
    thread = scope.elsewhere()
    result = reader.call(thread, node, callee, arguments)
    owners = [callee.owner] if isinstance(callee, Bound) else []
    if not reader.is_read(callee):
        in_others_thread(Arguments([*arguments.all(), *owners]))
    for value in [*arguments.all(), *owners]:
        if isinstance(value, Query) and thread.outcome.queries and not isinstance(result, Query):
            value.evaluated = True
    if foreign and thread.outcome.queries and not thread.outcome.tidies and not scope.is_elsewhere:
        reader.emit(scope, events.InForeignThread(node, foreign, thread.outcome.queries[0]))
    if foreign:
        scope.outcome.queries.extend(thread.outcome.queries)
    return result, thread


@function("asyncio.to_thread")
def _to_thread(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    inside = Arguments(arguments.positional[1:], arguments.named, arguments.is_partial)
    result, _ = in_thread(reader, scope, node, arguments.get(0, "func"), inside, foreign="asyncio.to_thread()")
    return Coroutine(result, node, text_of(node))


@method([LOOP], "run_in_executor")
def _run_in_executor(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    inside = Arguments(arguments.positional[2:])
    result, _ = in_thread(reader, scope, node, arguments.get(1, "func"), inside, foreign="run_in_executor()")
    return Coroutine(result, node, text_of(node))


@method(["concurrent.futures._base.Executor"], "submit", "map")
def _submit(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    from concurrent.futures import Future

    inside = Arguments(arguments.positional[1:], arguments.named)
    in_thread(reader, scope, node, arguments.get(0, "fn"), inside, foreign="a ThreadPoolExecutor")
    return Made(Future)


@function("asgiref.sync.sync_to_async", "asgiref.sync.SyncToAsync", "channels.db.database_sync_to_async")
def _sync_to_async(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    sensitive = arguments.named.get("thread_sensitive") or arguments.get(1, "thread_sensitive")
    is_sensitive = not (isinstance(sensitive, Known) and sensitive.object is False)
    if "channels" in text_of(node.func) or "database" in text_of(node.func):
        is_sensitive = True  # it closes the connections itself
    inner = arguments.get(0, "func")
    has_function = bool(arguments.positional) or "func" in arguments.named
    return Wrapped(inner, "sync_to_async" if has_function else "decorator", is_sensitive)


@function("asgiref.sync.async_to_sync", "asgiref.sync.AsyncToSync")
def _async_to_sync(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    return Wrapped(arguments.get(0, "awaitable"), "async_to_sync")


def wrapped(thing: SyncToAsync[Any, Any], owner: Value = None) -> Wrapped:
    """A live object that sync_to_async() made, perhaps as the decorator of a method."""
    is_sensitive = bool(thing._thread_sensitive) or resolve.is_a(type(thing), "channels.db.DatabaseSyncToAsync")
    inner: Value = Known(thing.func)
    if owner is not None and not (isinstance(owner, Known) and isinstance(owner.object, type)):
        inner = Bound(owner, getattr(thing.func, "__name__", ""), thing.func)
    return Wrapped(inner, "sync_to_async", is_sensitive)


# What functions give that make a client.
_CLIENTS = {
    "requests.session": "requests.sessions.Session",
    "urllib.request.build_opener": "urllib.request.OpenerDirector",
    "boto3.client": "botocore.client.BaseClient",
    "redis.from_url": "redis.client.Redis",
}


@function(*_CLIENTS)
def _client(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    name = text_of(node.func).rpartition(".")[2]
    full = next((made for function, made in _CLIENTS.items() if function.rpartition(".")[2] == name), "")
    module, _, cls = full.rpartition(".")
    found = resolve.module_attribute(sys.modules[module], cls) if module in sys.modules else None
    return Made(found) if isinstance(found, type) else None


@function("threading.Lock", "threading.RLock")
def _lock(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from threading import Lock

    return Made(type(Lock()))
