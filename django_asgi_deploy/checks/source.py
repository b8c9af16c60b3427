"""The family of checks that reads the project's source: what holds the event loop, or fails on it."""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import CodeType, FunctionType
from typing import Any

from django.contrib.auth.decorators import login_required
from django.utils.decorators import method_decorator

from django_asgi_deploy.checks import (
    loop_code,
    resolve,
    source_auth,
    source_blocking,
    source_orm,
    source_streams,
    source_tasks,
)
from django_asgi_deploy.checks.definitions import Function, Sources
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import failure
from django_asgi_deploy.checks.infer import Reader
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.parameters import self_of
from django_asgi_deploy.checks.routes import is_rest_framework, view_classes
from django_asgi_deploy.checks.scope import Problem, Scope
from django_asgi_deploy.checks.values import Made, Request, Value

ENTRY = Arguments(is_partial=True)


def check(inspected: Inspected) -> Iterator[Finding]:
    """Every coroutine function of the modules that the project has imported; nothing is imported or run for it."""
    sources = Sources()
    files = {vars(module)["__file__"] for module in inspected.modules}
    reader = Reader(sources, files.__contains__, _rules(inspected.handler), _views(inspected))
    entries = ((each, self_of(each), ENTRY) for each in loop_code.coroutine_functions(inspected.modules, sources))
    for function, owner, arguments in (*entries, *_hooks(inspected, reader)):
        try:
            reader.read_entry(function, owner, arguments)
            if loop_code.cached(function):
                _cached(reader, function)
        except RecursionError:  # nested deeper than Python's own stack: nothing is known of it
            continue
        except Exception as error:
            yield replace(failure(f"source, reading {function.file}, {function.qualname},", error))
    yield from (_finding(problem, others) for problem, others in _by_cause(reader.problems.values()))


def _by_cause(problems: Iterable[Problem]) -> Iterator[tuple[Problem, list[Problem]]]:
    """Lines that come to the same line of a synchronous function share one finding if a class's methods hold them.

    What is only for information needs one for a class, wherever its lines come to.

    So do all that come to the same object, where that is the cause.
    """
    groups: dict[object, list[Problem]] = {}
    for problem in problems:
        owner, is_method, _ = problem.place.function.rpartition(".")
        key: object = problem
        if problem.cause is not None and len(problem.chain) > 2:
            continue  # far from the line, and perhaps in order there
        if problem.chain and problem.cause is not None:
            key = (problem.number, problem.cause)
        elif problem.chain and is_method:
            end = "" if problem.level == "info" else problem.chain[-1]
            key = (problem.number, problem.place.file, owner, end)
        groups.setdefault(key, []).append(problem)
    return ((first, others) for first, *others in groups.values())


def _views(inspected: Inspected) -> dict[CodeType, bool]:
    """The code of every function that a URL leads to, also below its decorators.

    With whether the session is loaded when it runs: by a decorator that has asked for the user.
    """
    found: dict[CodeType, bool] = {}
    for route in inspected.routes:
        for code, has_session in _layers(route.callback, False, depth=8):
            found[code] = found.get(code, True) and has_session
    for view in view_classes(inspected):
        for name in view.handlers:
            for code, has_session in _layers(resolve.class_attribute(view.cls, name), False, depth=8):
                found[code] = found.get(code, True) and has_session
    return found


def _layers(thing: Any, has_session: bool, depth: int) -> Iterator[tuple[CodeType, bool]]:
    """Of a function, of those that it wraps and says so, and of those that its variables hold."""
    for layer in resolve.wrapped_by(thing):
        if isinstance(layer, FunctionType):
            yield layer.__code__, has_session
            has_session = has_session or _asks_for_user(layer)
            if depth:
                inside = [each for each in resolve.closure_of(layer).values() if isinstance(each, FunctionType)]
                for each in inside:
                    yield from _layers(each, has_session, depth - 1)


def _asks_for_user(wrapper: FunctionType) -> bool:
    """``await request.auser()`` in a decorator, or in those that method_decorator() holds."""
    codes = [wrapper.__code__]
    if wrapper.__code__.co_filename == inspect.getfile(method_decorator):
        held = resolve.closure_of(wrapper).get("decorators")
        decorators = held if isinstance(held, list | tuple) else [held]
        codes = [code for each in decorators if isinstance(each, FunctionType) for code in _with_inner(each.__code__)]
    return any("auser" in code.co_names or code.co_filename == inspect.getfile(login_required) for code in codes)


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _with_inner(each)


def _hooks(inspected: Inspected, reader: Reader) -> Iterator[tuple[Function, Value, Arguments]]:
    """Synchronous methods of views that Django calls on the event loop, because the handlers are asynchronous."""
    for view in view_classes(inspected):
        if not view.cls.view_is_async or is_rest_framework(view.cls):
            continue
        for name in ("__init__", "setup", "dispatch", "http_method_not_allowed", "options"):
            function = resolve.plain_function(resolve.class_attribute(view.cls, name))
            is_projects = function is not None and reader.is_projects(function.__code__.co_filename)
            source = reader.sources.of(function) if function and is_projects else None
            if source is not None and not source.is_async:
                # What these two do with the user and the session is for check 305.
                is_told = name in ("setup", "dispatch")
                request = Request(has_user=is_told, has_session=is_told)
                made = Made(view.cls, {"request": request})
                arguments = Arguments([] if name == "__init__" else [request], is_partial=True)
                yield replace(source, runs_on_loop=True), made, arguments


def _rules(handler: str) -> dict[type, list[Any]]:
    rules: dict[type, list[Any]] = {}
    modules = (source_blocking, source_orm, source_auth, source_tasks)
    for table in (*(module.RULES for module in modules), source_streams.rules(handler)):
        for event, checks in table.items():
            rules.setdefault(event, []).extend(checks)
    return rules


def _cached(reader: Reader, function: Function) -> None:
    scope = Scope(function)
    then = "the cache keeps the coroutine, which can be awaited once: RuntimeError from the second request on"
    hint = "Keep the result, not the coroutine: an asynchronous cache (async_lru), or an attribute set after await."
    problem = scope.problem(function.node, 411, f"a cached {function.node.name}()", then, hint)  # type: ignore[union-attr]
    reader.report(problem)


def _finding(problem: Problem, others: list[Problem]) -> Finding:
    chain = problem.chain
    hint = problem.hint
    too = f" (as do {_lines(problem, others)})" if others else ""
    if chain:
        called = problem.what.partition(" → ")[0].removesuffix("()")
        hint = f"Call it in a thread: await sync_to_async({called})(...). "
        if problem.is_others:
            hint += "Or call what the package has for asynchronous code."
        else:
            hint += f"Or make it asynchronous; there: {problem.hint}"
    return found(
        problem.number,
        f"{problem.what}: {problem.then}{too}",
        hint,
        level=problem.level,
        object=problem.place.function,
        place=problem.place,
        chain=chain,
    )


def _lines(first: Problem, others: list[Problem]) -> str:
    """The other lines of a finding; with their files where those differ."""
    if all(each.place.file == first.place.file for each in others):
        return f"line{'s' * (len(others) > 1)} {', '.join(str(each.place.line) for each in others)}"
    return ", ".join(f"{each.place.file}:{each.place.line}" for each in others)
