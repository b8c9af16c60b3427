"""Reads a function statement by statement, as if it ran on the event loop, without running it.

What each name stands for is kept beside it (``values``); what happens is told to the rules (``events``). Synchronous
functions of the project are read where they are called, up to six deep; what is found in them belongs to the line of
the coroutine function that calls them.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from django.db.transaction import Atomic

from django_asgi_deploy.checks import events, known, others, records, resolve
from django_asgi_deploy.checks.definitions import Function, Sources
from django_asgi_deploy.checks.events import Arguments, Event
from django_asgi_deploy.checks.live import merged
from django_asgi_deploy.checks.parameters import Parameters
from django_asgi_deploy.checks.scope import Outcome, Problem, Scope, text_of
from django_asgi_deploy.checks.values import (
    Bound,
    Coroutine,
    Generator,
    Inner,
    Known,
    Made,
    Parent,
    Query,
    Record,
    Value,
)

Rule: TypeAlias = Callable[[Any, Scope], Problem | None]
DEPTH = 6  # synchronous functions below a coroutine function
NESTING = 20  # all functions that are being read at once
BUDGET = 400  # functions read for one coroutine function, at most
OTHERS_BUDGET = 40  # of those, functions of installed packages below one call


class Reader(Parameters):
    """Reads functions, and collects the problems of every coroutine function."""

    def __init__(
        self,
        sources: Sources,
        is_projects: Callable[[str], bool],
        rules: Mapping[type, Sequence[Rule]],
        views: Mapping[CodeType, bool] | None = None,
    ) -> None:
        self.sources = sources
        self._is_projects = is_projects
        self.rules = rules
        self.views = views or {}
        self.problems: dict[tuple[object, ...], Problem] = {}
        self.awaited: set[ast.AST] = set()
        self._active: list[Any] = []
        self._depth = 0
        self._budget = BUDGET
        self._others = OTHERS_BUDGET
        self._memo: dict[tuple[Any, ...], Outcome] = {}
        self._init: dict[type, dict[str, Value]] = {}

    def is_projects(self, file: str) -> bool:
        return self._is_projects(file)

    # -------------------------------------------------------------- functions

    def read_entry(self, function: Function, owner: Value, arguments: Arguments) -> None:
        """A coroutine function that something unknown calls, or a synchronous one with such a function inside."""
        self._budget, self._depth, self._active = BUDGET, 0, []
        self.read(function, None, arguments, owner)

    def enter(
        self, scope: Scope, node: ast.AST, function: Function, outer: Scope | None, arguments: Arguments, owner: Value
    ) -> Value:
        if function.is_generator:
            return Generator(function, (outer, arguments, owner), function.is_async)
        if function.is_async:
            depth, self._depth = self._depth, 0
            outcome = self.read(function, outer, arguments, owner)
            self._depth = depth
            if isinstance(owner, Made):
                owner.is_touched = True
            text = text_of(node)
            return Coroutine(outcome.value, node, text, function=function.live, uses_orm=bool(outcome.queries))
        if self._depth >= DEPTH:
            known.handed_over(arguments)
            return None
        self._depth += 1
        outcome = self.read(function, outer, arguments, owner)
        self._depth -= 1
        _take_over(scope, node, function, outcome)
        return outcome.value

    def enter_inner(self, scope: Scope, node: ast.AST, inner: Inner, arguments: Arguments) -> Value:
        outer: Scope = inner.scope
        name = getattr(inner.node, "name", "<lambda>")
        base = outer.function
        qualname = f"{base.qualname}.<locals>.{name}"
        function = Function(inner.node, base.file, qualname, base.globals, base.closure, None, is_others=base.is_others)
        return self.enter(scope, node, function, outer, arguments, None)

    def enter_live(
        self, scope: Scope, node: ast.AST, function: FunctionType, arguments: Arguments, owner: Value = None
    ) -> Value:
        if isinstance(owner, Parent):
            owner = owner.owner
        if not self.is_projects(function.__code__.co_filename) and not others.is_generic_view(function):
            return self._enter_foreign(scope, node, function, arguments, owner)
        source = self.sources.of(function)
        if source is None:
            known.handed_over(arguments)
            return None
        value = self.enter(scope, node, source, None, arguments, owner)
        if value is None and not source.is_async:
            return self.returned_by(function)
        if isinstance(value, Coroutine) and value.result is None:
            value.result = self.returned_by(function)
        return value

    def _enter_foreign(
        self, scope: Scope, node: ast.AST, function: FunctionType, arguments: Arguments, owner: Value
    ) -> Value:
        """Others' asynchronous functions are black boxes; their wrappers around the project's own functions aren't."""
        if resolve.is_coroutine_function(function):
            known.in_others_thread(arguments)
            return Coroutine(None, node, text_of(node))
        inner = resolve.plain_function(resolve.namespace(function).get("__wrapped__"))
        if inner is None or node in self.awaited or not self.is_projects(inner.__code__.co_filename):
            value = self._look_into(scope, node, function, arguments, owner)
            (known.in_others_thread if scope.is_elsewhere else known.handed_over)(arguments)
            return self.returned_by(function) if value is None else value
        if resolve.is_coroutine_function(inner):
            return None
        if isinstance(atomic := resolve.closure_of(function).get("self"), Atomic):
            self.emit(scope, events.Entered(node, node, Known(atomic)))
        if resolve.is_generator_function(inner):  # contextlib.contextmanager
            source = self.sources.of(inner)
            return self.enter(scope, node, source, None, arguments, owner) if source else None
        return self.enter_live(scope, node, inner, arguments, owner)

    def _look_into(
        self, scope: Scope, node: ast.AST, function: FunctionType, arguments: Arguments, owner: Value
    ) -> Value:
        """A package's synchronous function is read for what it is sure to do, and for what it gives."""
        if not scope.function.is_others:
            self._others = OTHERS_BUDGET
        if scope.is_elsewhere or node in self.awaited or self._others <= 0 or not others.may_be_read(function):
            return None
        source = self.sources.of(function)
        if source is None:
            return None
        self._others -= 1
        value = self.enter(scope, node, replace(source, is_others=True), None, arguments, owner)
        if isinstance(value, Coroutine):
            value.used = True
        return value

    def is_read(self, callee: Value) -> bool:
        """Whether a call of it is followed, so that what it does to its arguments is known."""
        if isinstance(callee, Inner):
            return True
        if (
            isinstance(callee, Bound)
            and isinstance(callee.owner, Record)
            and records.is_own_method(callee.owner, callee.name)
        ):
            return True
        thing = callee.object if isinstance(callee, Known) else callee.function if isinstance(callee, Bound) else None
        function = resolve.plain_function(thing)
        return function is not None and self.is_projects(function.__code__.co_filename)

    def exhaust(self, scope: Scope, node: ast.AST, generator: Generator) -> Value:
        """A generator's body runs where it is iterated."""
        if generator.function is None:
            if generator.arguments is None:
                return generator.element
            around, expression = generator.arguments
            inside = around.elsewhere() if scope.is_elsewhere else around
            return self.comprehension(inside, expression.generators, [expression.elt])
        outer, arguments, owner = generator.arguments
        if not generator.is_async:
            if self._depth >= DEPTH:
                return None
            self._depth += 1
        outcome = self.read(generator.function, outer, arguments, owner)
        if not generator.is_async:
            self._depth -= 1
            _take_over(scope, node, generator.function, outcome)
        return outcome.element

    def read(self, function: Function, outer: Scope | None, arguments: Arguments, owner: Value) -> Outcome:
        key = _key(function, outer, arguments, owner)
        if key in self._memo:
            return _fresh(self._memo[key])
        if function.node in self._active or len(self._active) >= NESTING or self._budget <= 0:
            known.handed_over(arguments)
            return Outcome()
        self._budget -= 1
        self._active.append(function.node)
        try:
            scope = Scope(function, outer)
            self.bind(scope, arguments, owner)
            self._body(scope)
            outcome = self._finish(scope)
        finally:
            self._active.pop()
        if key is not None:
            self._memo[key] = outcome
            return _fresh(outcome)
        return outcome

    def _body(self, scope: Scope) -> None:
        node = scope.function.node
        if isinstance(node, ast.Lambda):
            scope.returned.append(self.value(scope, node.body))
        else:
            self.block(scope, node.body)

    def _finish(self, scope: Scope) -> Outcome:
        for query in scope.lazy:
            if query.made_in_thread is not None:
                self.emit(scope, events.LazyFromThread(query.made_in_thread, query.text))
        for inner in () if scope.function.is_others else scope.inners:
            if isinstance(inner.node, ast.AsyncFunctionDef) and inner.node not in self._active:
                depth, self._depth = self._depth, 0
                made = self.enter_inner(scope, inner.node, inner, Arguments(is_partial=True))
                if isinstance(made, Generator):
                    self.exhaust(scope, inner.node, made)
                self._depth = depth
        outcome = scope.outcome
        outcome.value = merged(scope.returned) if scope.returned else None
        if scope.is_loop:
            for problem in outcome.problems:
                self.report(problem)
            outcome.problems = []
        return outcome

    def report(self, problem: Problem) -> None:
        self.problems.setdefault((problem.number, *problem.place[:2]), problem)

    def emit(self, scope: Scope, event: Event) -> None:
        if scope.is_elsewhere:
            return
        for rule in self.rules.get(type(event), ()):
            if (problem := rule(event, scope)) is not None:
                scope.add(problem)
                return


# ------------------------------------------------------------------ helpers


def _take_over(scope: Scope, node: ast.AST, function: Function, outcome: Outcome) -> None:
    """What was found in a synchronous function is found at the line that calls it."""
    problems = outcome.problems
    if function.is_others and not scope.function.is_others:
        problems = [replace(each, is_others=True) for each in problems if others.is_told(each)]
    else:
        scope.outcome.queries.extend(outcome.queries)
        scope.outcome.tidies = scope.outcome.tidies or outcome.tidies
    if not scope.is_elsewhere:
        for problem in problems:
            scope.add(problem.seen_from(scope, node, text_of(node)))


def _key(function: Function, outer: Scope | None, arguments: Arguments, owner: Value) -> tuple[Any, ...] | None:
    """What a second reading would come to the same for; None if that isn't sure."""
    if outer is not None or not all(each is None or isinstance(each, Known) for each in (*arguments.all(), owner)):
        return None
    marks = [(id(each.object) if isinstance(each, Known) else None) for each in arguments.positional]
    named = [(name, id(each.object) if isinstance(each, Known) else None) for name, each in arguments.named.items()]
    own = id(owner.object) if isinstance(owner, Known) else None
    return (function.node, id(function.live), function.runs_on_loop, own, arguments.is_partial, *marks, *sorted(named))


def _fresh(outcome: Outcome) -> Outcome:
    """Its value, for somebody else to change."""
    value = outcome.value
    if isinstance(value, Record):
        loaded = None if value.loaded is None else {*value.loaded}
        value = Record(value.model, loaded, value.prefetched)
    elif isinstance(value, Query | Coroutine):
        value = replace(value)
    return replace(outcome, value=value, problems=[*outcome.problems])
