"""What a view is wrapped in: its decorators, from the outside to the function that the user wrote."""

import ast
import functools
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from django.db.transaction import Atomic

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.functions import MISSING, Role
from django_asgi_deploy.handlers.private import iscoroutinefunction

DEPTH = 8  # of decorators, and of functions that return what another one returns
# Names in a wrapper without source that show that it knows coroutines.
AWARE = {"async_to_sync", "AsyncToSync", "run", "run_until_complete", "iscoroutine", "isawaitable", "create_task"}


@dataclass(frozen=True)
class Inner:
    """A callable that another one calls with the request it got."""

    thing: Any
    roles: frozenset[Role]  # what becomes of what it returns
    is_wrapped: bool  # a decorator had it as its argument; otherwise it is called by its name


def called_by(thing: Any) -> Iterator[Inner]:
    """What ``thing`` calls with its own request."""
    if isinstance(thing, functools.partial):
        yield Inner(thing.func, frozenset({"returned"}), is_wrapped=True)
        return
    method = thing if functions.function_of(thing) else call_of(thing)
    plain = functions.function_of(method)
    if plain is None:
        return
    node = functions.node_of(plain)
    if node is None:
        yield from _without_source(plain)
        return
    bound = getattr(method, "__self__", None)
    request = functions.first_parameter(node, after=0 if bound is None else 1)
    for call in functions.calls(node, lambda each: True):
        is_wrapped, called = _called(plain, bound, call.func)
        if called is MISSING or not callable(called):
            continue
        # A coroutine function that is returned counts whatever it is called with.
        if functions.passes(call, request) or (not is_wrapped and iscoroutinefunction(called)):
            yield Inner(called, frozenset(functions.roles(plain, node, call)), is_wrapped)


def _called(function: types.FunctionType, bound: Any, expression: ast.expr) -> tuple[bool, Any]:
    if isinstance(expression, ast.Name):
        node = functions.node_of(function)
        # A lambda in a URLconf isn't a decorator, even if its names are those of a function around it.
        is_wrapped = expression.id in function.__code__.co_freevars and not isinstance(node, ast.Lambda)
        return is_wrapped, functions.value(function, expression)
    if isinstance(expression, ast.Attribute):
        if isinstance(expression.value, ast.Name) and expression.value.id == "self" and bound is not None:
            own = vars(bound).get(expression.attr, MISSING) if hasattr(bound, "__dict__") else MISSING
            return own is not MISSING, own if own is not MISSING else functions.member(type(bound), expression.attr)
        return False, functions.value(function, expression)
    if isinstance(expression, ast.Call) and _is_as_view(expression.func):
        cls = functions.value(function, expression.func.value)
        return False, ViewOf(cls) if inspect.isclass(cls) and hasattr(cls, "view_is_async") else MISSING
    return False, MISSING


def _is_as_view(expression: ast.expr) -> TypeGuard[ast.Attribute]:
    return isinstance(expression, ast.Attribute) and expression.attr == "as_view"


@dataclass(frozen=True)
class ViewOf:
    """What ``cls.as_view()`` makes, without making it."""

    cls: type

    def __call__(self) -> None:
        raise NotImplementedError


def _without_source(function: types.FunctionType) -> Iterator[Inner]:
    wrapped = vars(function).get("__wrapped__")
    if wrapped is not None and not AWARE & {*function.__code__.co_names, *function.__code__.co_freevars}:
        yield Inner(wrapped, frozenset({"returned"}), is_wrapped=True)


def call_of(thing: Any) -> Any:
    """The bound __call__() of an object that isn't a function or a class; None if it has none in Python."""
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return None
    method = inspect.getattr_static(type(thing), "__call__", None)
    return types.MethodType(method, thing) if isinstance(method, types.FunctionType) else None


def is_class_view(thing: Any) -> bool:
    """Whether it is what as_view() made, with no decorator around it: a decorator copies its attributes."""
    return hasattr(thing, "view_class") and not hasattr(thing, "__wrapped__")


def is_unmarked(thing: Any) -> bool:
    """Whether it is an object whose __call__() is asynchronous, and doesn't say so."""
    method = call_of(thing)
    return method is not None and not iscoroutinefunction(thing) and iscoroutinefunction(method.__func__)


def coroutine_chain(thing: Any, depth: int = DEPTH) -> tuple[Inner, ...]:
    """
    From ``thing`` to the coroutine function whose coroutine it gives back, or takes for a response.

    Empty if it does no such thing, or if it isn't certain.
    """
    return _chain(Inner(thing, frozenset({"returned"}), is_wrapped=True), depth)


def _chain(inner: Inner, depth: int) -> tuple[Inner, ...]:
    thing = inner.thing
    if isinstance(thing, ViewOf):
        return (inner,) if thing.cls.view_is_async else ()  # type: ignore[attr-defined]
    if iscoroutinefunction(thing) or is_unmarked(thing):
        return (inner,)
    if not depth or is_class_view(thing):
        return ()
    for behind in called_by(thing):
        wanted = {"returned", "used"} if behind.is_wrapped else {"returned"}
        if behind.roles & wanted and not behind.roles & {"awaited", "tested"}:
            rest = _chain(behind, depth - 1)
            if rest:
                return (inner, *rest)
    return ()


def layers(thing: Any, depth: int = DEPTH) -> Iterator[Any]:
    """The callable and, through its decorators, what it is wrapped around; outermost first."""
    yield thing
    for inner in called_by(thing) if depth else ():
        if inner.is_wrapped:
            yield from layers(inner.thing, depth - 1)


def is_part_of(wrapper: Any, thing: Any) -> bool:
    """Whether both are defined in one decorator: then it is no view, but a helper of the wrapper."""
    one, other = functions.function_of(wrapper), functions.function_of(thing)
    if one is None or other is None or one.__code__.co_filename != other.__code__.co_filename:
        return False
    around = one.__code__.co_qualname.rpartition(".<locals>.")[0]
    return bool(around) and other.__code__.co_qualname.startswith(f"{around.partition('.<locals>')[0]}.<locals>.")


def closure_of(thing: Any) -> dict[str, Any]:
    plain = functions.function_of(thing)
    return functions.cells(plain) if plain else {}


def decorators_of(function: Any) -> list[Any] | None:
    """What method_decorator() was given, if it made this function."""
    plain = functions.function_of(function)
    if plain is None or plain.__code__.co_name != "_wrapper":
        return None
    inside = functions.cells(plain)
    if "method" not in inside or "decorators" not in inside:
        return None
    decorators = inside["decorators"]
    return [*decorators] if isinstance(decorators, list | tuple) else [decorators]


def is_atomic(thing: Any) -> bool:
    """Whether it is what transaction.atomic made of a function."""
    return any(isinstance(each, Atomic) for each in closure_of(thing).values())


def decorator_name(thing: Any) -> str:
    """The name of the decorator that made a wrapper, or of the function itself."""
    if isinstance(thing, functools.partial):
        return "functools.partial"
    plain = functions.function_of(thing)
    if plain is None:
        return f"{type(thing).__module__}.{type(thing).__qualname__}"
    if is_atomic(thing):
        return "django.db.transaction.atomic"
    return f"{plain.__globals__.get('__name__', '?')}.{plain.__code__.co_qualname.partition('.<locals>')[0]}"


def view_name(thing: Any) -> str:
    """By which a reader knows a view."""
    if isinstance(thing, functools.partial):
        return view_name(thing.func)
    if isinstance(thing, ViewOf):
        return f"{thing.cls.__module__}.{thing.cls.__qualname__}"
    thing = getattr(thing, "view_class", thing)
    if not hasattr(thing, "__qualname__"):
        thing = type(thing)
    return f"{thing.__module__}.{thing.__qualname__}"
