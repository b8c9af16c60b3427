"""One function while it is read: its names, and what was found in it so far."""

import ast
import os
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import FunctionType
from typing import Any, Protocol

from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.definitions import Function, FunctionNode, own_nodes
from django_asgi_deploy.checks.events import Arguments, Event
from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.ignores import is_ignored_at
from django_asgi_deploy.checks.values import Inner, Query, Value

# What Django refuses: the first of them ends the function, so that what follows isn't a cause of its own.
REFUSED = frozenset([402, 403, 404, 406, 416, 420])


@dataclass(frozen=True)
class Problem:
    """One line that holds the event loop, or fails on it."""

    number: int
    what: str  # the call or the expression: "time.sleep()"
    then: str  # what happens to the site's users
    hint: str
    level: Level | None
    place: Place
    chain: tuple[str, ...] = ()
    cause: int | None = None  # what several lines have in common
    ifs: int = 0  # in how many of the synchronous functions on the way it depends on a condition
    is_others: bool = False  # it is in an installed package that the project calls

    def seen_from(self, scope: "Scope", node: ast.AST, call: str) -> "Problem":
        """The same, from the line that calls the function in which it is."""
        return replace(
            self,
            what=f"{call} → {self.what}",
            place=scope.place(node),
            chain=(str(scope.place(node)), *(self.chain or (str(self.place),))),
            ifs=self.ifs + scope.is_conditional,
        )


@dataclass
class Outcome:
    """What came of reading a function."""

    value: Value = None
    problems: list[Problem] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)  # every use of the ORM, asynchronous or not
    tidies: bool = False  # it closes its thread's connections
    element: Value = None  # of what a generator yields


@dataclass
class Scope:
    """The names of a function that is being read."""

    function: Function
    outer: "Scope | None" = None
    env: dict[str, Value] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    returned: list[Value] = field(default_factory=list)
    inners: list[Inner] = field(default_factory=list)
    lazy: list[Query] = field(default_factory=list)  # from sync_to_async(), and nobody has evaluated them yet
    is_elsewhere: bool = False  # what it calls runs in a thread
    branches: int = 0  # of ``if`` and ``match``, around what is being read
    is_over: bool = False  # the code that follows isn't reached

    @property
    def local(self) -> frozenset[str]:
        """The names that are variables of this function."""
        return _local_names(self.function.node)

    @property
    def loads(self) -> frozenset[str]:
        """The names that are read anywhere in it."""
        return _loaded_names(self.function.node)

    @property
    def is_loop(self) -> bool:
        """Whether this is what runs on the event loop itself, not something that it calls."""
        return self.function.is_async or self.function.runs_on_loop

    @property
    def is_conditional(self) -> bool:
        return bool(self.branches) and not self.is_loop

    def place(self, node: ast.AST) -> Place:
        name = self.function.qualname.replace("<locals>.", "")
        file = self.function.file
        file = in_package(file) if self.function.is_others else relative(file)
        return Place(file, getattr(node, "lineno", 0), name, getattr(node, "col_offset", None))

    def elsewhere(self) -> "Scope":
        """The same names, in a thread: what is found there is no problem of the loop's."""
        return replace(self, outcome=Outcome(), is_elsewhere=True, inners=[], lazy=[])

    @property
    def globals(self) -> dict[str, Any]:
        return self.function.globals

    def problem(
        self, node: ast.AST, number: int, what: str, then: str, hint: str, level: Level | None = None
    ) -> Problem:
        return Problem(number, what, then, hint, level, self.place(node), ifs=int(self.is_conditional))

    def add(self, problem: Problem) -> None:
        """One of a number is enough for a line; none for a line that says so in a comment.

        What hangs on the conditions of two functions is left out: who calls the outer one may know that it can't be.
        """
        place = problem.place
        if problem.ifs > 1:
            return
        for each in self.outcome.problems:
            is_same = each.number == problem.number or (problem.chain and {each.number, problem.number} <= REFUSED)
            if is_same and each.place[:2] == place[:2]:
                return
        if not is_ignored_at(problem.number, place):
            self.outcome.problems.append(problem)


class Reading(Protocol):
    """What the parts of the reader may ask of the whole."""

    awaited: set[ast.AST]  # calls whose value is awaited

    def value(self, scope: Scope, node: ast.AST | None) -> Value: ...

    def call(self, scope: Scope, node: ast.Call, callee: Value, arguments: Arguments) -> Value: ...

    def attribute(self, scope: Scope, node: ast.AST, base: Value, name: str) -> Value: ...

    def member(self, scope: Scope, node: ast.AST, owner: Value, name: str, raw: Any) -> Value: ...

    def iterate(self, scope: Scope, node: ast.AST, value: Value, how: str) -> Value: ...

    def use(self, scope: Scope, node: ast.AST, value: Value, how: str) -> None: ...

    def enter_context(self, scope: Scope, node: ast.expr, manager: Value, *, is_async: bool) -> Value: ...

    def emit(self, scope: Scope, event: Event) -> None: ...

    def enter(
        self, scope: Scope, node: ast.AST, function: Function, outer: Scope | None, arguments: Arguments, owner: Value
    ) -> Value: ...

    def enter_inner(self, scope: Scope, node: ast.AST, inner: Inner, arguments: Arguments) -> Value: ...

    def is_read(self, callee: Value) -> bool: ...

    def enter_live(
        self, scope: Scope, node: ast.AST, function: FunctionType, arguments: Arguments, owner: Value = None
    ) -> Value: ...


def in_package(file: str) -> str:
    """The file of an installed package, as one imports it."""
    for name in ("site-packages", "dist-packages"):
        _, found, path = file.rpartition(f"{os.sep}{name}{os.sep}")
        if found:
            return path
    return relative(file)


def text_of(node: ast.AST, limit: int = 60) -> str:
    """An expression in short; calls without their arguments."""
    try:
        if isinstance(node, ast.Await):
            return f"await {text_of(node.value, limit)}"
        text = f"{_chain(node.func)}()" if isinstance(node, ast.Call) else _chain(node)
    except RecursionError:
        return "…"
    text = " ".join(text.split())
    return text if len(text) <= limit else f"…{text[1 - limit :]}"


def _chain(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_chain(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{_chain(node.func)}({'…' if node.args or node.keywords else ''})"
    return ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__.lower()


@lru_cache(maxsize=4096)
def _loaded_names(function: FunctionNode) -> frozenset[str]:
    return frozenset(each.id for each in ast.walk(function) if isinstance(each, ast.Name) and _is_load(each))


@lru_cache(maxsize=4096)
def _local_names(function: FunctionNode) -> frozenset[str]:
    arguments = function.args
    outside: set[str] = set()
    names = {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    names |= {each.arg for each in (arguments.vararg, arguments.kwarg) if each}
    for node in own_nodes(function):
        if isinstance(node, ast.Global | ast.Nonlocal):
            outside.update(node.names)
        elif isinstance(node, ast.Name) and not _is_load(node):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
    return frozenset(names - outside)


def _is_load(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def forget() -> None:
    """Let go of the trees that were looked at."""
    _loaded_names.cache_clear()
    _local_names.cache_clear()
