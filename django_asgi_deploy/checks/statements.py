"""What a statement does to the names of a function: assignments, branches, loops, ``try`` and ``with``."""

import ast
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django_asgi_deploy.checks import calls, events, records, resolve, ways
from django_asgi_deploy.checks.conditions import Sure, goes_round, is_broken_off, maybe, only_raises, takes_all
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.expressions import Expressions
from django_asgi_deploy.checks.live import joined, live
from django_asgi_deploy.checks.scope import Scope, text_of
from django_asgi_deploy.checks.values import (
    Coroutine,
    Generator,
    Inner,
    Known,
    Made,
    Mapping,
    Query,
    Record,
    Request,
    Session,
    Several,
    Symbol,
    Value,
)


class Statements(Expressions):
    """The part of the reader that goes from statement to statement."""

    def block(self, scope: Scope, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if scope.is_over:
                return
            visit: Callable[[Scope, Any], None] = getattr(
                self, f"do_{type(statement).__name__.lower()}", self._do_other
            )
            returns = len(scope.returned)
            visit(scope, statement)
            if scope.function.is_others and len(scope.returned) > returns and not scope.is_over:
                scope.branches += 1  # what follows runs only where it hasn't returned

    def _do_other(self, scope: Scope, statement: ast.stmt) -> None:
        self._other(scope, statement)

    def do_functiondef(self, scope: Scope, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        inner = Inner(node, scope)
        scope.inners.append(inner)
        value: Value = inner
        for decorator in reversed(node.decorator_list):
            by = self.value(scope, decorator)
            if isinstance(by, Symbol) and by.name == "functools.wraps()":
                continue
            call = ast.copy_location(ast.Call(decorator, [], []), decorator)
            value = self.call(scope.elsewhere(), call, by, Arguments([value])) if by is not None else None
        scope.env[node.name] = value

    do_asyncfunctiondef = do_functiondef

    def do_classdef(self, scope: Scope, node: ast.ClassDef) -> None:
        scope.env[node.name] = None
        scope.inners += [Inner(each, scope) for each in node.body if isinstance(each, ast.AsyncFunctionDef)]

    def do_return(self, scope: Scope, node: ast.Return) -> None:
        value = self.value(scope, node.value)
        if isinstance(value, Coroutine):
            value.used = True
        scope.returned.append(value if node.value is not None else Known(None))
        scope.is_over = True

    def do_raise(self, scope: Scope, node: ast.Raise) -> None:
        self._other(scope, node)
        scope.is_over = True

    def do_break(self, scope: Scope, node: ast.Break | ast.Continue) -> None:
        scope.is_over = True

    do_continue = do_break

    def do_expr(self, scope: Scope, node: ast.Expr) -> None:
        value = self.value(scope, node.value)
        if isinstance(node.value, ast.Call) and not (isinstance(value, Coroutine) and value.used):
            self.emit(scope, events.Discarded(node.value, value, is_statement=True))

    def do_assign(self, scope: Scope, node: ast.Assign) -> None:
        value = self.value(scope, node.value)
        for target in node.targets:
            self.assign(scope, target, value)
            if isinstance(target, ast.Name) and target.id in scope.local and target.id not in scope.loads:
                self.emit(scope, events.Discarded(node.value, value, is_statement=False))

    def do_annassign(self, scope: Scope, node: ast.AnnAssign) -> None:
        value = self.value(scope, node.value) if node.value is not None else None
        if value is None and isinstance(node.target, ast.Name):
            value = self.annotated(scope, node.annotation)
        self.assign(scope, node.target, value)

    def do_augassign(self, scope: Scope, node: ast.AugAssign) -> None:
        value = self.value(scope, node.value)
        if isinstance(value, Query) and isinstance(node.op, ast.Add):
            self.iterate(scope, node, value, "+=")
        if isinstance(node.target, ast.Name):
            before = scope.env.get(node.target.id)
            scope.env[node.target.id] = before if isinstance(before, Several) else None
        else:
            self.assign(scope, node.target, None)

    def assign(self, scope: Scope, target: ast.AST, value: Value) -> None:
        if isinstance(target, ast.Name):
            scope.env[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(scope, target, value)
        elif isinstance(target, ast.Starred):
            self.assign(scope, target.value, Several())
        elif isinstance(target, ast.Attribute):
            self._set_attribute(scope, target, self.value(scope, target.value), value)
        elif isinstance(target, ast.Subscript):
            base = self.value(scope, target.value)
            key = self.value(scope, target.slice)
            if isinstance(value, Coroutine):
                value.used = True
            if isinstance(base, Mapping) and isinstance(key, Known) and isinstance(key.object, str):
                base.items[key.object] = value
            if isinstance(base, Session):
                calls.touch_session(self, scope, target, base, "[]")

    def _unpack(self, scope: Scope, target: ast.Tuple | ast.List, value: Value) -> None:
        starred = any(isinstance(each, ast.Starred) for each in target.elts)
        whole = value if isinstance(value, Several) and not starred else None
        element = None if whole else self.iterate(scope, target, value, "unpacking")
        for index, each in enumerate(target.elts):
            self.assign(scope, each, whole.at(index) if whole else element)

    def _set_attribute(self, scope: Scope, target: ast.Attribute, base: Value, value: Value) -> None:
        if isinstance(value, Coroutine):
            value.used = True
        if isinstance(base, Record):
            records.set_attribute(base, target.attr)
        elif isinstance(base, Made):
            base.attributes[target.attr] = value
        elif isinstance(base, Request) and target.attr == "user":
            base.user, base.has_user = value, True
        elif isinstance(base, Known):
            self.emit(scope, events.AttributeUsed(target, base.object, target.attr))

    def do_delete(self, scope: Scope, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                scope.env.pop(target.id, None)
            else:
                self.assign(scope, target, None)

    def do_import(self, scope: Scope, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            module = sys.modules.get(name)
            scope.env[alias.asname or name] = Known(module) if module is not None else Symbol(name)

    def do_importfrom(self, scope: Scope, node: ast.ImportFrom) -> None:
        module = _absolute(node, scope)
        found = sys.modules.get(module)
        for alias in node.names:
            thing = resolve.module_attribute(found, alias.name) if found is not None else resolve.MISSING
            value = Symbol(f"{module}.{alias.name}") if thing is resolve.MISSING else live(thing)
            scope.env[alias.asname or alias.name] = value

    # -------------------------------------------------------------- branches

    def do_if(self, scope: Scope, node: ast.If) -> None:
        self.test(scope, node.test)
        asks = _asks_for_loop(node.test)
        if asks is not None:  # here, a loop is running
            self.block(scope, node.body if asks else node.orelse)
            return
        if (holds := self.truth(scope, node.test)) is not None:
            self.block(scope, node.body if holds else node.orelse)
            return
        self._branches(scope, [node.body, node.orelse])

    def _branches(self, scope: Scope, blocks: Sequence[Sequence[ast.stmt]]) -> None:
        """One of them runs."""
        before, ends = scope.env, []
        state, states = ways.state_of(scope), []
        sure = Sure(scope)
        scope.branches += 1
        for statements in blocks:
            scope.env = dict(before)
            ways.restore(state)
            with sure.one_way(ends_well=not only_raises(statements)):
                self.block(scope, statements)
            if not scope.is_over:
                ends.append(scope.env)
                states.append(ways.state_of(scope))
            scope.is_over = False
        scope.branches -= 1
        sure.settle()
        scope.is_over = not ends
        scope.env = joined(ends) if ends else before
        ways.meet(states)

    def do_match(self, scope: Scope, node: ast.Match) -> None:
        subject = self.value(scope, node.subject)
        before, ends = scope.env, [scope.env]
        state = ways.state_of(scope)
        states = [state]
        if any(takes_all(case) for case in node.cases):
            ends, states = [], []
        scope.branches += 1
        for case in node.cases:
            scope.env = dict(before)
            ways.restore(state)
            for name in _captured(case.pattern):
                scope.env[name] = None
            if isinstance(case.pattern, ast.MatchAs) and isinstance(case.pattern.pattern, ast.MatchClass | None):
                scope.env[case.pattern.name or "_"] = subject
            if case.guard is not None:
                self.test(scope, case.guard)
            self.block(scope, case.body)
            if not scope.is_over:
                ends.append(scope.env)
                states.append(ways.state_of(scope))
            scope.is_over = False
        scope.branches -= 1
        scope.is_over = not ends
        scope.env = joined(ends) if ends else before
        ways.meet(states)

    def do_for(self, scope: Scope, node: ast.For) -> None:
        self._loop(scope, node, self.iterate(scope, node.iter, self.value(scope, node.iter), "for"))

    def do_asyncfor(self, scope: Scope, node: ast.AsyncFor) -> None:
        self._loop(scope, node, self.iterate_asynchronously(scope, node.iter, self.value(scope, node.iter)))

    def _loop(self, scope: Scope, node: ast.For | ast.AsyncFor, element: Value) -> None:
        before = dict(scope.env)
        self.assign(scope, node.target, element)
        with maybe(scope, is_sure=goes_round(node)):
            self.block(scope, node.body)
        self._after_loop(scope, node, before)

    def _after_loop(self, scope: Scope, node: ast.For | ast.AsyncFor | ast.While, before: dict[str, Value]) -> None:
        """``else`` belongs to loops that nothing has broken off; after one that may be, it goes on in any case."""
        scope.is_over = False
        after = scope.env = joined([scope.env, before])
        self.block(scope, node.orelse)
        if scope.is_over and is_broken_off(node.body):
            scope.is_over, scope.env = False, after

    def do_while(self, scope: Scope, node: ast.While) -> None:
        self.test(scope, node.test)
        before = dict(scope.env)
        with maybe(scope, is_sure=goes_round(node)):
            self.block(scope, node.body)
        self._after_loop(scope, node, before)

    def do_try(self, scope: Scope, node: ast.Try) -> None:
        caught = [(each, [*self._exceptions(scope, each.type)]) for each in node.handlers]
        self.emit(scope, events.Tried(node, caught))
        before = dict(scope.env)
        self.block(scope, [*node.body, *node.orelse])
        ends = [] if scope.is_over else [scope.env]
        for handler in node.handlers:
            if _needs_no_loop(node, handler):
                continue
            scope.is_over = False
            scope.env = joined([before, scope.env])
            if handler.name:
                scope.env[handler.name] = None
            with maybe(scope):
                self.block(scope, handler.body)
            if not scope.is_over:
                ends.append(scope.env)
        scope.is_over = False
        if ends:
            scope.env = joined(ends)
        self.block(scope, node.finalbody)
        scope.is_over = scope.is_over or not ends

    do_trystar = do_try

    def _exceptions(self, scope: Scope, node: ast.expr | None) -> Iterator[Value]:
        for each in node.elts if isinstance(node, ast.Tuple) else [node]:
            if each is not None:
                yield self.value(scope, each)

    def do_with(self, scope: Scope, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            manager = self.value(scope, item.context_expr)
            self.emit(scope, events.Entered(node, item.context_expr, manager))
            is_async = isinstance(node, ast.AsyncWith)
            entered = self.enter_context(scope, item.context_expr, manager, is_async=is_async)
            if item.optional_vars is not None:
                self.assign(scope, item.optional_vars, entered)
        self.block(scope, node.body)

    do_asyncwith = do_with

    def enter_context(self, scope: Scope, node: ast.expr, manager: Value, *, is_async: bool) -> Value:
        """What ``with`` gives; its methods run."""
        if isinstance(manager, Generator):
            return self.exhaust(scope, node, manager)
        if isinstance(manager, Symbol):
            return manager
        if not isinstance(manager, Made):
            return None
        if manager.type is contextlib.closing:
            return manager.arguments[0] if manager.arguments else None
        result: Value = manager
        names = ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__")
        for name in names:
            function = resolve.plain_function(resolve.class_attribute(manager.type, name))
            if function is not None and self.is_projects(function.__code__.co_filename):
                value = self.enter_live(scope, node, function, Arguments(), manager)
                value = value.result if isinstance(value, Coroutine) else value
                result = value if name == names[0] else result
        return result

    # -------------------------------------------------------------- what the rest of the reader gives

    def annotated(self, scope: Scope, node: ast.expr) -> Value:
        """An instance of what an annotation names."""
        raise NotImplementedError

    def is_projects(self, file: str) -> bool:
        raise NotImplementedError


def _captured(pattern: ast.pattern) -> Iterator[str]:
    for node in ast.walk(pattern):
        name = getattr(node, "rest" if isinstance(node, ast.MatchMapping) else "name", None)
        if isinstance(name, str):
            yield name


def _absolute(node: ast.ImportFrom, scope: Scope) -> str:
    if not node.level:
        return node.module or ""
    package = str(scope.globals.get("__package__") or "").split(".")
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _asks_for_loop(test: ast.expr) -> bool | None:
    """Whether a condition holds where a loop is running; None if it is about something else."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inside = _asks_for_loop(test.operand)
        return None if inside is None else not inside
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and test.func.attr == "is_running":
        return True
    return None


def _needs_no_loop(node: ast.Try, handler: ast.ExceptHandler) -> bool:
    """``except RuntimeError`` around get_running_loop() is for where no loop is running."""
    with contextlib.suppress(Exception):
        asks = any(
            isinstance(each, ast.Call) and text_of(each.func).endswith(("get_running_loop", "get_event_loop"))
            for statement in node.body
            for each in ast.walk(statement)
        )
        return asks and handler.type is not None and "RuntimeError" in ast.unparse(handler.type)
    return False
