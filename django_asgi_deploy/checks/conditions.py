"""What is sure to happen in a function, and what only may: by its conditions.

In the project's own functions it is enough that something may happen. In an installed package's, only what happens
whatever way is taken counts: see ``others``.
"""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

from django_asgi_deploy.checks.definitions import FunctionNode
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Known


@contextmanager
def maybe(scope: Scope, *, is_sure: bool = False) -> Iterator[None]:
    """What is read meanwhile isn't sure to run, if it is an installed package's."""
    more = int(scope.function.is_others and not is_sure)
    scope.branches += more
    yield
    scope.branches -= more


class Sure:
    """The ways of a branch in an installed package's function: what each of them comes to is sure."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._found: list[list[Problem]] = []

    @contextmanager
    def one_way(self, *, ends_well: bool) -> Iterator[None]:
        scope = self._scope
        if not scope.function.is_others:
            yield
            return
        before, scope.branches = scope.branches, 0
        problems, scope.outcome.problems = scope.outcome.problems, []
        yield
        found, scope.outcome.problems = scope.outcome.problems, problems
        scope.branches = before
        if ends_well:
            self._found.append(found)

    def settle(self) -> None:
        scope, told = self._scope, None
        if self._found and all(any(not each.ifs for each in found) for found in self._found):
            told = next(each for each in self._found[0] if not each.ifs)
        for problem in (each for found in self._found for each in found):
            scope.add(problem if problem is told and not scope.branches else replace(problem, ifs=problem.ifs or 1))


def truth_of(scope: Scope, node: ast.expr) -> bool | None:
    """Whether a condition holds at every call that passes these arguments; None if that isn't known."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inside = truth_of(scope, node.operand)
        return None if inside is None else not inside
    if isinstance(node, ast.BoolOp):
        parts = [truth_of(scope, each) for each in node.values]
        decisive = isinstance(node.op, ast.Or)
        return decisive if decisive in parts else None if None in parts else not decisive
    if isinstance(node, ast.Compare):
        return _compared(scope, node)
    if isinstance(node, ast.Name | ast.Attribute) and (getattr(node, "id", "") or getattr(node, "attr", "")) == (
        "TYPE_CHECKING"
    ):
        return False
    value = _constant(scope, node)
    return None if value is None else bool(value.object)


def _compared(scope: Scope, node: ast.Compare) -> bool | None:
    """``is None``, ``is not None``"""
    (operator, *others), right = node.ops, node.comparators[0]
    if others or not isinstance(operator, ast.Is | ast.IsNot):
        return None
    value = _constant(scope, node.left)
    if value is None or not isinstance(right, ast.Constant) or right.value is not None:
        return None
    return (value.object is None) == isinstance(operator, ast.Is)


def _constant(scope: Scope, node: ast.expr) -> Known | None:
    """What a variable holds that is given a value only once: by the caller, by its default, or by one assignment."""
    if not isinstance(node, ast.Name) or node.id not in scope.local or node.id in _changing(scope.function.node):
        return None
    value = scope.env.get(node.id)
    is_plain = isinstance(value, Known) and isinstance(value.object, bool | int | str | None)
    return value if is_plain and isinstance(value, Known) else None


@lru_cache(maxsize=4096)
def _changing(function: FunctionNode) -> frozenset[str]:
    """The variables that are given more than one value."""
    arguments = function.args
    given = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    given += [
        node.id for node in ast.walk(function) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    ]
    return frozenset(name for name in given if given.count(name) > 1)


def only_raises(statements: Sequence[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[-1], ast.Raise)


def goes_round(node: ast.For | ast.AsyncFor | ast.While) -> bool:
    """Whether a loop's body runs at least once, as far as can be seen."""
    if isinstance(node, ast.While):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node.iter, ast.Call) and text_of(node.iter.func).rpartition(".")[2] in ("range", "count")


def is_broken_off(statements: Sequence[ast.stmt]) -> bool:
    """Whether a ``break`` in the body of a loop belongs to that loop."""
    for statement in statements:
        if isinstance(statement, ast.Break):
            return True
        if isinstance(statement, ast.For | ast.AsyncFor | ast.While):
            blocks = [statement.orelse]
        else:
            parts = [statement, *getattr(statement, "handlers", ()), *getattr(statement, "cases", ())]
            names = () if isinstance(statement, _DEFINITIONS) else ("body", "orelse", "finalbody")
            blocks = [getattr(part, name, []) for part in parts for name in names]
        if any(map(is_broken_off, blocks)):
            return True
    return False


_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def takes_all(case: ast.match_case) -> bool:
    """``case _:``"""
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def forget() -> None:
    """Let go of the trees that were looked at."""
    _changing.cache_clear()
