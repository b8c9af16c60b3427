"""Coroutines, tasks, loops, signals, locks and thread-locals: what asyncio does differently from threads."""

import ast
import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeGuard

from django_asgi_deploy.checks import known, resolve
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.definitions import own_nodes
from django_asgi_deploy.checks.events import (
    AttributeUsed,
    Call,
    Discarded,
    Entered,
    Misused,
    SignalSent,
    Tried,
)
from django_asgi_deploy.checks.known_django import TASKS
from django_asgi_deploy.checks.resolve import Names
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Bound, Coroutine, Known, Made, Request, Value, Wrapped

LOCKS = (
    "_thread.lock",
    "_thread.RLock",
    "threading.RLock",
    "threading._RLock",
    "threading.Condition",
    "threading.Semaphore",
)


def misused(event: Misused, scope: Scope) -> Problem:
    text = event.coroutine.text
    what = {"if": "it is always true", "==": "it is never equal to anything"}.get(
        event.how, f"it is a coroutine, not what it would give ({text_of(event.node)})"
    )
    return scope.problem(
        event.coroutine.node, 405, text, f"it isn't awaited, so it doesn't run: {what}", f"Type await {text}."
    )


def discarded(event: Discarded, scope: Scope) -> Problem | None:
    value = event.value
    if isinstance(value, Coroutine) and not value.used:
        then = "it isn't awaited, so it doesn't run: nothing happens, and Python warns in the log at most"
        return scope.problem(event.node, 405, value.text, then, f"Type await {value.text}.")
    if isinstance(value, Made) and resolve.is_a(value.type, *known.TASK) and value.node is _first_call(event.node):
        return _task(event, scope, value)
    return None


def _first_call(node: ast.AST) -> ast.AST:
    """``create_task(...)`` in ``create_task(...).add_done_callback(...)``."""
    while isinstance(node, ast.Call) and _is_call(node, "add_done_callback") and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return node


def _task(event: Discarded, scope: Scope, task: Made) -> Problem:
    coroutine = task.arguments[0] if task.arguments else None
    hint = (
        "Keep it in a set until it is done: tasks.add(task); task.add_done_callback(tasks.discard). Work that must not "
        "be lost belongs into a task queue."
    )
    if isinstance(coroutine, Coroutine) and coroutine.uses_orm:
        then = (
            f"nobody keeps the task, so it may vanish before it is done; and {coroutine.text} queries: after the end "
            "of the request its connection stays open"
        )
        return scope.problem(event.node, 413, text_of(event.node), then, hint, "error")
    then = "nobody keeps the task: the event loop holds it weakly, so it may vanish before it is done, with its errors"
    return scope.problem(event.node, 413, text_of(event.node), then, hint)


_runs_a_loop = Names(["asyncio.run", "uvloop.run", "anyio.run", "asyncio.runners.run"])


def loop_in_loop(event: Call, scope: Scope) -> Problem | None:
    text = text_of(event.node)
    if isinstance(event.callee, Wrapped) and event.callee.how == "async_to_sync":
        then = "async_to_sync() refuses to run where an event loop runs already: RuntimeError, the client gets a 500"
        return scope.problem(event.node, 412, text, then, "Await the coroutine itself, without async_to_sync().")
    if not _runs_loop(event):
        return None
    then = "an event loop can't run inside another one: RuntimeError, the client gets a 500"
    return scope.problem(event.node, 412, text, then, "Await the coroutine itself.")


def _runs_loop(event: Call) -> bool:
    if isinstance(event.callee, Known):
        return _runs_a_loop.name_of(event.callee.object) is not None
    if not isinstance(event.callee, Bound):
        return False
    cls, name = known.type_of(event.callee.owner), event.callee.name
    if name == "run":
        return resolve.is_a(cls, "asyncio.runners.Runner")
    return name in ("run_until_complete", "run_forever") and resolve.is_a(cls, known.LOOP)


def thread_local(event: AttributeUsed, scope: Scope) -> Problem | None:
    if not isinstance(event.object, threading.local):
        return None
    then = (
        "all requests of the event loop share one thread, and so this value: one user may see another's; what "
        "synchronous code sets in its threads isn't seen here"
    )
    hint = "Use a contextvars.ContextVar, or asgiref.local.Local."
    problem = scope.problem(event.node, 410, text_of(event.node), then, hint)
    return replace(problem, cause=id(event.object))


CANCELLED = (asyncio.CancelledError, BaseException)


def swallowed_cancellation(event: Tried, scope: Scope) -> Problem | None:
    body = [each for statement in event.node.body for each in _within(statement)]
    if not any(map(_waits_for_more, body)) or not _answers_a_client(scope):
        return None
    for each in own_nodes(scope.function.node):
        if isinstance(each, ast.Raise):
            return None
        if _is_call(each, "cancel"):
            return None
    for handler, exceptions in event.caught:
        if handler.type is None or any(isinstance(each, Known) and each.object in CANCELLED for each in exceptions):
            what = f"except {ast.unparse(handler.type)}" if handler.type else "a bare except"
            then = "it catches the cancellation too: when the client has left, this goes on as if nothing had happened"
            return scope.problem(handler, 414, what, then, "Catch Exception; or raise again at the end of the handler.")
    return None


def _answers_a_client(scope: Scope) -> bool:
    """A view, not something inside one, nor a task of its own."""
    is_request = any(isinstance(each, Request) for each in scope.env.values())
    is_view = resolve.is_a(scope.function.owner, "django.views.generic.base.View")
    return scope.is_loop and scope.outer is None and (is_request or is_view)


def _waits_for_more(node: ast.AST) -> bool:
    """Not for a task that somebody else made, and may have cancelled."""
    if isinstance(node, ast.Await):
        return not isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript)
    return isinstance(node, ast.AsyncFor | ast.AsyncWith)


def _within(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _within(child)


def signal_sent(event: SignalSent, scope: Scope) -> Problem | None:
    text = event.text
    name = text.removesuffix("()").rpartition(".")
    hint = f"Type await {name[0]}.a{name[2]}(...)."
    level: Level = "warning"
    if any(event.receivers):
        then = "an asynchronous receiver is connected: RuntimeError, because a loop runs already; the client gets a 500"
        level = "error"
    elif event.query:
        then = f"a receiver queries ({event.query}): SynchronousOnlyOperation, the client gets a 500"
        level = "error"
    elif event.receivers:
        then = "its receivers run on the event loop, and nobody else is served meanwhile"
    elif not scope.is_loop:
        return None
    else:
        then = "whoever connects a receiver holds the event loop with it"
        level = "info"
    return scope.problem(event.node, 418, text, then, hint, level)


def lock_around_await(event: Entered, scope: Scope) -> Problem | None:
    if not isinstance(event.node, ast.With) or not _is_lock(event.value):
        return None
    inside = [each for statement in event.node.body for each in _within(statement)]
    return (
        _locked(event.item, scope)
        if any(isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith) for each in inside)
        else None
    )


def acquired_lock(event: Call, scope: Scope) -> Problem | None:
    if not isinstance(event.callee, Bound) or event.callee.name != "acquire" or not _is_lock(event.callee.owner):
        return None
    blocking = event.arguments.get(0, "blocking")
    if (isinstance(blocking, Known) and not blocking.object) or "timeout" in event.arguments.named:
        return None
    begin, nodes = event.node.lineno, [*own_nodes(scope.function.node)]
    end = min((each.lineno for each in nodes if _is_call(each, "release") and each.lineno > begin), default=None)
    awaits = [each.lineno for each in nodes if isinstance(each, ast.Await)]
    if not any(line > begin and (end is None or line < end) for line in awaits):
        return None
    return _locked(event.node, scope)


def _is_call(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name


def _is_lock(value: Value) -> bool:
    cls = known.type_of(value)
    return cls is not None and resolve.is_a(cls, *LOCKS)


def _locked(node: ast.AST, scope: Scope) -> Problem:
    then = (
        "a thread's lock is held across an await: the next request that wants it stops the whole event loop, and then "
        "nobody can give it back"
    )
    return scope.problem(node, 419, text_of(node), then, "Use async with asyncio.Lock().")


def enqueued(event: Call, scope: Scope) -> Problem | None:
    if not isinstance(event.callee, Bound) or event.callee.name != "enqueue":
        return None
    cls = known.type_of(event.callee.owner)
    if not resolve.is_a(cls, *TASKS):
        return None
    text = text_of(event.node)
    then = "the task's backend is asked on the event loop: a database or a broker holds everybody up, or refuses"
    return scope.problem(event.node, 421, text, then, f"Type await {text.removesuffix('enqueue()')}aenqueue(...).")


RULES = {
    Misused: [misused],
    Discarded: [discarded],
    Call: [loop_in_loop, acquired_lock, enqueued],
    AttributeUsed: [thread_local],
    Tried: [swallowed_cancellation],
    SignalSent: [signal_sent],
    Entered: [lock_around_await],
}
