"""The family of checks that reads the project's source: what holds the event loop, or fails on it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import CodeType, FunctionType
from typing import Any

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
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import failure
from django_asgi_deploy.checks.infer import Reader
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.scope import Problem, Scope


def check(inspected: Inspected) -> Iterator[Finding]:
    """Every coroutine function of the modules that the project has imported; nothing is imported or run for it."""
    sources = Sources()
    files = {vars(module)["__file__"] for module in inspected.modules}
    reader = Reader(sources, files.__contains__, _rules(inspected.handler), _views(inspected))
    for function in loop_code.coroutine_functions(inspected.modules, sources):
        try:
            reader.read_entry(function)
            if loop_code.cached(function):
                _cached(reader, function)
        except RecursionError:  # nested deeper than Python's own stack: nothing is known of it
            continue
        except Exception as error:
            yield replace(failure(f"source, reading {function.file}, {function.qualname},", error))
    yield from (_finding(problem, others) for problem, others in _by_cause(reader.problems.values()))


def _by_cause(problems: Iterable[Problem]) -> Iterator[tuple[Problem, list[Problem]]]:
    """Lines that come to the same line of a synchronous function share one finding if a class's methods hold them.

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
            key = (problem.number, problem.place.file, owner, problem.chain[-1])
        groups.setdefault(key, []).append(problem)
    return ((first, others) for first, *others in groups.values())


def _views(inspected: Inspected) -> set[CodeType]:
    """The code of every function that a URL leads to, also below its decorators."""
    found: set[CodeType] = set()
    for route in inspected.routes:
        found.update(_layers(route.callback, depth=8))
    return found


def _layers(thing: Any, depth: int) -> Iterator[CodeType]:
    """Of a function, of those that it wraps and says so, and of those that its variables hold."""
    for layer in resolve.wrapped_by(thing):
        if isinstance(layer, FunctionType):
            yield layer.__code__
            if depth:
                inside = [each for each in resolve.closure_of(layer).values() if isinstance(each, FunctionType)]
                for each in inside:
                    yield from _layers(each, depth - 1)


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
        hint = f"Call it in a thread: await sync_to_async({called})(...). Or make it asynchronous; there: {hint}"
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
