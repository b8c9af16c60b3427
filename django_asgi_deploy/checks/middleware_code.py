"""What middleware does with thread-locals (210) and with streams (211), by its source."""

import ast
import threading
from collections.abc import Iterator
from typing import Any, TypeGuard

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.middleware import Entry, is_link
from django_asgi_deploy.exceptions import is_users

HOOKS = ("process_request", "process_view", "process_response", "process_template_response", "__call__", "__acall__")
DEPTH = 3  # of functions that a hook calls
SYNC_ITERATORS = (map, filter, iter, zip, enumerate)
# Words in a hook that show that it knows that there are streams.
GUARDS = {"streaming", "is_async", "streaming_content"}
ASYNC_GUARDS = {"is_async", "__aiter__", "isasyncgen", "AsyncIterable", "AsyncIterator"}
COLLECTORS = (list, tuple, sum, sorted, next, iter, map, filter, zip, enumerate)


def check(inspected: Inspected) -> Iterator[Finding]:
    for entry in inspected.replay.used:
        if entry.made is not None:
            yield from surviving([lambda each: _thread_local(each, inspected), _streams], entry)


def code_of(entry: Entry) -> Iterator[tuple[Any, tuple[tuple[Any, ast.AST], ...]]]:
    """
    The functions of a middleware: its hooks, and those that they call by name, a few deep.

    Each with the calls that lead to it: (the function that calls, the node of the call).
    """
    made = entry.made
    function = functions.function_of(made)
    hooks = [function] if function else [functions.function_of(functions.member(type(made), name)) for name in HOOKS]
    todo: list[tuple[Any, tuple[tuple[Any, ast.AST], ...]]] = [(hook, ()) for hook in hooks if hook is not None]
    seen: set[Any] = set()
    while todo:
        each, via = todo.pop(0)
        if each in seen or _package(each) == "django" or is_link(each):
            continue
        seen.add(each)
        yield each, via
        if len(via) < DEPTH:
            todo += [(called, (*via, (each, call))) for call, called in _called(each, made)]


def _called(function: Any, made: Any) -> Iterator[tuple[ast.Call, Any]]:
    node = functions.node_of(function)
    for call in functions.calls(node, lambda each: True) if node else ():
        named = call.func
        if isinstance(named, ast.Attribute) and isinstance(named.value, ast.Name) and named.value.id == "self":
            called = functions.function_of(functions.member(type(made), named.attr))
        else:
            called = functions.function_of(functions.value(function, named))
        if called is not None and _package(called) == _package(function):
            yield call, called


def _package(function: Any) -> str:
    return str(function.__globals__.get("__name__", "")).partition(".")[0]


def _line(function: Any, node: ast.AST) -> Place | None:
    file = function.__code__.co_filename
    if not is_users(file):
        return None
    return Place(relative(file), node.lineno, function.__code__.co_qualname, node.col_offset)  # type: ignore[attr-defined]


# ------------------------------------------------------------------ thread-locals


def _thread_local(entry: Entry, inspected: Inspected) -> Iterator[Finding]:
    for function, via in code_of(entry):
        node = functions.node_of(function)
        for each in functions.own_nodes(node) if node else ():
            local = _written_local(function, each, entry.made)
            if local is None:
                continue
            steps = (*via, (function, each))
            yield found(
                210,
                f"{entry.path} keeps something by thread, in {local}: an asynchronous view runs in another "
                "thread and doesn't see it, and what is written on the event loop is seen by other visitors' requests.",
                "A contextvars.ContextVar (or asgiref.local.Local) in its place: both follow the request.",
                level=None if inspected.has_async_routes else "info",
                object=entry.path,
                place=_line(*steps[0]),
                chain=tuple(str(place) for step in steps[1:] if (place := _line(*step))),
            )
            return


def _written_local(function: Any, node: ast.AST, made: Any) -> str | None:
    """The name of the thread-local, or of the dict by thread, that the statement writes to."""

    def is_local(expression: ast.expr) -> bool:
        return isinstance(_value(function, expression, made), threading.local)

    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    elif _is_setattr(node) and is_local(node.args[0]):
        return ast.unparse(node.args[0])
    for target in targets:
        if isinstance(target, ast.Attribute) and is_local(target.value):
            return ast.unparse(target.value)
        if isinstance(target, ast.Subscript) and _is_this_thread(function, target.slice):
            return ast.unparse(target.value)
    return None


def _value(function: Any, expression: ast.expr, made: Any) -> Any:
    """As functions.value(), and self.name of the middleware itself."""
    if (
        isinstance(expression, ast.Attribute)
        and isinstance(expression.value, ast.Name)
        and expression.value.id == "self"
    ):
        return getattr(made, "__dict__", {}).get(expression.attr, functions.member(type(made), expression.attr))
    return functions.value(function, expression)


def _is_this_thread(function: Any, key: ast.expr) -> bool:
    """threading.get_ident() or current_thread(), or an attribute of it."""
    while isinstance(key, ast.Attribute):
        key = key.value
    return isinstance(key, ast.Call) and functions.value(function, key.func) in (
        threading.get_ident,
        threading.current_thread,
        threading.get_native_id,
    )


def _is_setattr(node: ast.AST) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr" and bool(node.args)
    )


# ------------------------------------------------------------------ streams


def _streams(entry: Entry) -> Iterator[Finding]:
    for function, _ in code_of(entry):
        node = functions.node_of(function)
        if node is None:
            continue
        knows = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        constants = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
        knows |= {each for each in constants if isinstance(each, str)}
        for each in functions.own_nodes(node):
            if not knows & ASYNC_GUARDS and _iterates_synchronously(entry.made, function, node, each):
                yield found(
                    211,
                    f"{entry.path} goes through every stream synchronously: one that is made asynchronously breaks "
                    "off, or is answered with 500 (TypeError: 'async_generator' object is not iterable).",
                    "if response.is_async: an async def generator with async for, around response.streaming_content.",
                    object=entry.path,
                    place=_line(function, each),
                )
                return
            if _reads_content(function, node, each) and not knows & GUARDS:
                yield found(
                    211,
                    f"{entry.path} reads response.content of every response: a stream has none, and is answered with "
                    "500 (AttributeError).",
                    "if not response.streaming: before it.",
                    object=entry.path,
                    place=_line(function, each),
                )
                return


def _iterates_synchronously(made: Any, function: Any, node: Any, each: ast.AST) -> bool:
    """A synchronous iterator that is put into streaming_content, or streaming_content that is gone through."""
    if isinstance(each, ast.Assign) and _is_stream(each.targets[0]):
        return _is_synchronous(made, function, node, each.value)
    if isinstance(each, ast.For):
        return _is_stream(each.iter)
    if isinstance(each, ast.comprehension):
        return not each.is_async and _is_stream(each.iter)
    if isinstance(each, ast.Call) and any(map(_is_stream, each.args)):
        called = functions.value(function, each.func)
        return called in COLLECTORS or (isinstance(each.func, ast.Attribute) and each.func.attr == "join")
    return False


def _is_stream(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Attribute) and expression.attr == "streaming_content"


def _is_synchronous(made: Any, function: Any, node: Any, value: ast.expr) -> bool:
    """Whether it makes a synchronous iterator."""
    if isinstance(value, ast.GeneratorExp | ast.ListComp):
        return not any(generator.is_async for generator in value.generators)
    if not isinstance(value, ast.Call):
        return False
    called = functions.function_of(_value(function, value.func, made)) or functions.value(function, value.func)
    if called in SYNC_ITERATORS:
        return True
    made_by = functions.node_of(called) or _defined_inside(node, value.func)
    return isinstance(made_by, ast.FunctionDef) and any(
        isinstance(each, ast.Yield | ast.YieldFrom) for each in functions.own_nodes(made_by)
    )


def _defined_inside(node: Any, expression: ast.expr) -> ast.FunctionDef | None:
    name = expression.id if isinstance(expression, ast.Name) else None
    return next((each for each in ast.walk(node) if isinstance(each, ast.FunctionDef) and each.name == name), None)


def _reads_content(function: Any, node: Any, each: ast.AST) -> bool:
    """``response.content``, where nothing around it asks what kind of response it is."""
    if not isinstance(each, ast.Attribute) or each.attr != "content" or not isinstance(each.ctx, ast.Load):
        return False
    if not isinstance(each.value, ast.Name) or each.value.id not in _responses(function, node):
        return False
    name = each.value.id
    return not any(
        isinstance(part, ast.Try)
        or (isinstance(part, ast.If | ast.IfExp) and _asks_for_kind(part.test, name))
        or (isinstance(part, ast.BoolOp) and any(_asks_for_kind(value, name) for value in part.values))
        for part in ast.walk(node)
    )


def _asks_for_kind(test: ast.expr, name: str) -> bool:
    """Whether it asks the response for anything but its status and its content."""
    plain = {
        id(each.value)
        for each in ast.walk(test)
        if isinstance(each, ast.Attribute) and each.attr in ("status_code", "content", "reason_phrase")
    }
    return any(isinstance(each, ast.Name) and each.id == name and id(each) not in plain for each in ast.walk(test))


def _responses(function: Any, node: Any) -> set[str]:
    """The variables of a hook that hold a response."""
    names = set()
    if function.__name__ in ("process_response", "process_template_response"):
        name = functions.first_parameter(node, after=2)
        names |= {name} if name else set()
    for each in functions.own_nodes(node):
        value = each.value if isinstance(each, ast.Assign) else None
        value = value.value if isinstance(value, ast.Await) else value
        if isinstance(each, ast.Assign) and isinstance(value, ast.Call):
            named = value.func
            name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
            if name == "get_response":
                names |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    return names
