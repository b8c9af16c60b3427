"""The value of an expression, and what evaluating it does: attributes, subscripts, operators, comprehensions.

More than 400 lines: one short method for each kind of expression that Python has.
"""

import ast
import builtins
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

from asgiref.sync import SyncToAsync
from django.utils.functional import cached_property

from django_asgi_deploy.checks import calls, events, known, known_channels, orm, records, resolve
from django_asgi_deploy.checks.conditions import maybe, truth_of
from django_asgi_deploy.checks.events import Arguments, Event
from django_asgi_deploy.checks.live import item_of, live, merged
from django_asgi_deploy.checks.scope import Reading, Scope
from django_asgi_deploy.checks.values import (
    Bound,
    Coroutine,
    Generator,
    Inner,
    Known,
    Made,
    Mapping,
    Parent,
    Query,
    Record,
    Request,
    Session,
    Several,
    Symbol,
    Value,
)
from django_asgi_deploy.checks.values import LazyUser as _LazyUser

OF_COROUTINES = frozenset(["close", "send", "throw"])
NO_ARGUMENTS = Arguments()
# What is done with a value, and the methods of its class that Python calls for it.
_SPECIAL = {
    "len()": ("__len__",),
    "bool()": ("__bool__", "__len__"),
    "if": ("__bool__", "__len__"),
    "==": ("__eq__",),
    "repr()": ("__repr__",),
    **dict.fromkeys(("str()", "print()", "f-string"), ("__str__", "__repr__")),
}


class Expressions(Reading):
    """The part of the reader that looks at expressions."""

    def value(self, scope: Scope, node: ast.AST | None) -> Value:
        if node is None:
            return None
        visit: Callable[[Scope, Any], Value] = getattr(self, f"_{type(node).__name__.lower()}", self._other)
        return visit(scope, node)

    def _other(self, scope: Scope, node: ast.AST) -> Value:
        """What has no meaning here: its parts may."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(scope, child)
        return None

    # -------------------------------------------------------------- names

    def _constant(self, scope: Scope, node: ast.Constant) -> Value:
        return Known(node.value)

    def _name(self, scope: Scope, node: ast.Name) -> Value:
        inside: Scope | None = scope
        while inside is not None:
            if node.id in inside.env:
                return inside.env[node.id]
            if node.id in inside.local:
                return None
            function, inside = inside.function, inside.outer
        for names in (function.closure, function.globals, vars(builtins)):
            if node.id in names:
                return live(names[node.id])
        return None

    def _attribute(self, scope: Scope, node: ast.Attribute) -> Value:
        return self.attribute(scope, node, self.value(scope, node.value), node.attr)

    def attribute(self, scope: Scope, node: ast.AST, base: Value, name: str) -> Value:
        if isinstance(base, Coroutine):
            base = self._misused(scope, node, base, f".{name}") if not _is_coroutines(name) else None
        if isinstance(base, _LazyUser):
            if name.startswith("_"):  # who looks inside knows that it is lazy
                base.request.has_user = True
                return None
            base = self.user(scope, node, base)
        if isinstance(base, Record):
            return records.record_attribute(self, scope, node, base, name)
        if isinstance(base, Query):
            return orm.query_attribute(base, name)
        if isinstance(base, Request):
            return _of_request(base, name)
        if isinstance(base, Session | Several | Mapping):
            return Bound(base, name)
        if isinstance(base, Symbol):
            return Symbol(f"{base.name}.{name}")
        if isinstance(base, Parent):
            return self.member(scope, node, base, name, resolve.class_attribute(base.type, name, base.above))
        if isinstance(base, Made):
            return self._of_made(scope, node, base, name)
        return self._of_known(scope, node, base, name) if isinstance(base, Known) else None

    def _of_made(self, scope: Scope, node: ast.AST, made: Made, name: str) -> Value:
        if name in made.attributes:
            return made.attributes[name]
        raw = resolve.class_attribute(made.type, name)
        if raw is resolve.MISSING:
            if name == "request" and is_djangos_view(made.type):
                return made.attributes.setdefault(name, Request())
            if name in known_channels.OF_CONSUMERS and (of_consumer := known_channels.attribute(made.type, name)):
                return made.attributes.setdefault(name, of_consumer)
            return self.assigned_in_init(made.type).get(name)
        if not callable(raw) and not hasattr(type(raw), "__get__"):
            return self.assigned_in_init(made.type).get(name) or live(raw)
        return self.member(scope, node, made, name, raw)

    def _of_known(self, scope: Scope, node: ast.AST, base: Known, name: str) -> Value:
        thing = base.object
        if isinstance(thing, ModuleType):
            found = resolve.module_attribute(thing, name)
            return None if found is resolve.MISSING else live(found)
        if isinstance(thing, type):
            raw = resolve.class_attribute(thing, name)
            if orm.is_model(thing) and name in ("_default_manager", "_base_manager"):
                return orm.default_manager_of(thing)
            if orm.is_model(thing) and (manager := orm.manager_of(thing, raw)):
                return manager
            if isinstance(raw, classmethod):
                return Bound(base, name, raw)
            return None if raw is resolve.MISSING else live(getattr(raw, "__func__", raw))
        self.emit(scope, events.AttributeUsed(node, thing, name))
        raw = resolve.instance_attribute(thing, name)
        return self.member(scope, node, base, name, raw)

    def member(self, scope: Scope, node: ast.AST, owner: Value, name: str, raw: Any) -> Value:
        """The attribute of an instance whose class, or whose own namespace, holds ``raw``."""
        if raw is resolve.MISSING:
            return None
        if isinstance(raw, staticmethod):
            return live(raw.__func__)
        if isinstance(raw, classmethod):
            cls = owner.model if isinstance(owner, Record) else known.type_of(owner)
            return Bound(Known(cls), name, raw)
        if isinstance(raw, property | cached_property) or type(raw).__name__ == "cached_property":
            getter = raw.fget if isinstance(raw, property) else getattr(raw, "func", None)
            function = resolve.plain_function(getter)
            if isinstance(owner, Made) and owner.is_touched:
                return None
            return self.enter_live(scope, node, function, Arguments(), owner) if function else None
        if isinstance(raw, SyncToAsync):
            return known.wrapped(raw, owner)
        if isinstance(raw, FunctionType) or resolve.plain_function(raw):
            is_own = isinstance(owner, Known) and name in resolve.namespace(owner.object)
            return live(raw) if is_own else Bound(owner, name, raw)
        if isinstance(owner, Made | Parent | Record) and callable(raw) and not isinstance(raw, type):
            return Bound(owner, name, raw)
        if isinstance(owner, Known) and callable(raw) and hasattr(type(raw), "__get__"):
            return Bound(owner, name, raw)
        return live(raw)

    # -------------------------------------------------------------- what is done with a value

    def use(self, scope: Scope, node: ast.AST, value: Value, how: str) -> None:
        """It is tested, compared, printed, or handed to a query or a response (``how`` says which)."""
        if isinstance(value, _LazyUser) and how != "response":
            self.user(scope, node, value)
        elif isinstance(value, Coroutine):
            self._misused(scope, node, value, how)
        elif isinstance(value, Query) and how not in ("query", "response", "=="):
            orm.evaluate(self, scope, node, value, how)
        elif isinstance(value, Record) and how in ("str()", "print()", "f-string"):
            function = resolve.plain_function(resolve.class_attribute(value.model, "__str__"))
            if function is not None:
                self.enter_live(scope, node, function, Arguments(), value)
        elif isinstance(value, Made) and how in _SPECIAL:
            self.special(scope, node, value, *_SPECIAL[how])
        elif isinstance(value, Mapping) and how == "response":
            for each in value.items.values():
                if isinstance(each, Coroutine):
                    self._misused(scope, node, each, how)

    def special(
        self, scope: Scope, node: ast.AST, owner: Made, *names: str, arguments: Arguments = NO_ARGUMENTS
    ) -> Value:
        """What Python calls for an operator: the first of these methods that the class has itself."""
        for name in names:
            function = resolve.plain_function(resolve.class_attribute(owner.type, name))
            if function is not None:
                return self.enter_live(scope, node, function, arguments, owner)
        return None

    def user(self, scope: Scope, node: ast.AST, lazy: _LazyUser) -> Value:
        request = lazy.request
        if request.user is not None:
            return request.user
        if not request.has_user:
            request.has_user = True
            scope.outcome.queries.append("request.user")
            self.emit(scope, events.UserTouched(node))
        return orm.current_user()

    def _misused(self, scope: Scope, node: ast.AST, coroutine: Coroutine, how: str) -> Value:
        if not coroutine.used:
            coroutine.used = True
            self.emit(scope, events.Misused(node, coroutine, how))
        return coroutine.result

    def iterate(self, scope: Scope, node: ast.AST, value: Value, how: str) -> Value:
        """``for``, and what else goes through all elements; gives what one of them is."""
        if isinstance(value, Query):
            orm.evaluate(self, scope, node, value, how)
            return orm.element_of(value)
        if isinstance(value, Generator):
            return None if value.is_async else self.exhaust(scope, node, value)
        if isinstance(value, Several):
            return value.element if value.items is None else merged(value.items)
        if isinstance(value, Coroutine):
            self._misused(scope, node, value, how)
        if isinstance(value, Made):
            inside = self.special(scope, node, value, "__iter__")
            return self.iterate(scope, node, inside, how) if isinstance(inside, Generator | Query) else None
        return None

    def iterate_asynchronously(self, scope: Scope, node: ast.AST, value: Value) -> Value:
        if isinstance(value, Query):
            return orm.iterated_asynchronously(scope, value)
        return self.exhaust(scope, node, value) if isinstance(value, Generator) and value.is_async else None

    # -------------------------------------------------------------- expressions

    def _await(self, scope: Scope, node: ast.Await) -> Value:
        if isinstance(node.value, ast.Call):
            self.awaited.add(node.value)
        value = self.value(scope, node.value)
        if isinstance(value, Made) and resolve.is_a(value.type, *known.TASK) and value.arguments:
            value = value.arguments[0]
        if not isinstance(value, Coroutine):
            return None
        value.used = True
        if value.uses_orm:
            scope.outcome.queries.append(value.text)
        return value.result

    def _call(self, scope: Scope, node: ast.Call) -> Value:
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            return self._super(scope)
        callee = self.value(scope, node.func)
        positional: list[Value] = []
        starred: list[Value] = []
        is_partial = False
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                several = self.value(scope, argument.value)
                if isinstance(several, Several) and several.items is not None:
                    positional.extend(several.items)
                    continue
                is_partial = True
                starred.append(self.iterate(scope, argument, several, "*"))
            else:
                positional.append(self.value(scope, argument))
        named = {each.arg: self.value(scope, each.value) for each in node.keywords if each.arg}
        for keyword in node.keywords:
            if keyword.arg is None:
                is_partial = True
                self.value(scope, keyword.value)
        arguments = Arguments(positional, named, is_partial, starred)
        for each in arguments.all():
            if isinstance(each, Coroutine) and self.may_keep(callee):
                each.used = True
        return self.call(scope, node, callee, arguments)

    def call(self, scope: Scope, node: ast.Call, callee: Value, arguments: Arguments) -> Value:
        if callee is not None:
            self.emit(scope, events.Call(node, callee, arguments))
        return calls.call(self, scope, node, callee, arguments)

    def _super(self, scope: Scope) -> Value:
        method: Scope | None = scope
        while method is not None and method.function.owner is None:
            method = method.outer
        parameters = method.function.parameters if method else []
        owner = method.env.get(parameters[0].arg) if method and parameters else None
        cls = owner.model if isinstance(owner, Record) else owner.type if isinstance(owner, Made | Query) else None
        if method is None or method.function.owner is None or cls is None:
            return None
        if isinstance(owner, Query):
            above = resolve.bases(cls, method.function.owner)
            return replace(owner, type=above[0]) if above else None
        return Parent(owner, cls, method.function.owner)

    def _subscript(self, scope: Scope, node: ast.Subscript) -> Value:
        base = self.value(scope, node.value)
        index = self.value(scope, node.slice)
        if isinstance(base, Coroutine):
            base = self._misused(scope, node, base, "[]")
        if isinstance(base, Query):
            if isinstance(node.slice, ast.Slice) and node.slice.step is None:
                return orm._narrowed(base, "filter", Arguments())
            orm.evaluate(self, scope, node, base, "[]")
            return orm.element_of(base)
        if isinstance(base, Session):
            calls.touch_session(self, scope, node, base, "[]")
            return None
        if isinstance(base, Made):
            return self.special(scope, node, base, "__getitem__", arguments=Arguments([index]))
        key = index.object if isinstance(index, Known) else None
        if isinstance(base, Several):
            return base.at(key) if isinstance(key, int) else base if isinstance(node.slice, ast.Slice) else base.element
        if isinstance(base, Mapping):
            return base.items.get(key, base.element) if isinstance(key, str) else base.element
        if isinstance(base, Known):
            return item_of(base.object, key)
        return None

    def _boolop(self, scope: Scope, node: ast.BoolOp) -> Value:
        results = []
        for operand in node.values:
            with maybe(scope, is_sure=operand is node.values[0]):
                results.append(self.value(scope, operand))
            if operand is not node.values[-1]:
                self.use(scope, operand, results[-1], "if")
            if self.truth(scope, operand) is isinstance(node.op, ast.Or):
                break  # the rest isn't looked at
        return merged(results)

    def _unaryop(self, scope: Scope, node: ast.UnaryOp) -> Value:
        value = self.value(scope, node.operand)
        if isinstance(node.op, ast.Not):
            self.use(scope, node, value, "if")
        return None

    def _binop(self, scope: Scope, node: ast.BinOp) -> Value:
        left, right = self.value(scope, node.left), self.value(scope, node.right)
        for value in (left, right):
            if isinstance(value, Coroutine):
                self._misused(scope, node, value, "operator")
        if isinstance(left, Several) and isinstance(right, Several) and isinstance(node.op, ast.Add):
            return Several(merged([left.element, right.element]))
        if isinstance(left, Query) and isinstance(right, Query):
            return orm._narrowed(left, "filter", Arguments())
        cls = known.type_of(left)
        return Made(cls) if cls is not None and issubclass(cls, PurePath) else None

    def _compare(self, scope: Scope, node: ast.Compare) -> Value:
        values = [self.value(scope, each) for each in (node.left, *node.comparators)]
        for operator, left, right in zip(node.ops, values, values[1:], strict=False):
            if isinstance(operator, ast.In | ast.NotIn):
                if isinstance(right, Query):
                    orm.evaluate(self, scope, node, right, "in")
                elif isinstance(right, Session):
                    calls.touch_session(self, scope, node, right, "has_key")
            if not isinstance(operator, ast.Is | ast.IsNot | ast.In | ast.NotIn):
                for each in (left, right):
                    self.use(scope, node, each, "==")
        return None

    def _ifexp(self, scope: Scope, node: ast.IfExp) -> Value:
        self.test(scope, node.test)
        if (holds := self.truth(scope, node.test)) is not None:
            return self.value(scope, node.body if holds else node.orelse)
        with maybe(scope):
            return merged([self.value(scope, node.body), self.value(scope, node.orelse)])

    def truth(self, scope: Scope, node: ast.expr) -> bool | None:
        """Whether it holds, if that is known."""
        return truth_of(scope, node)

    def test(self, scope: Scope, node: ast.expr) -> None:
        self.use(scope, node, self.value(scope, node), "if")

    def _namedexpr(self, scope: Scope, node: ast.NamedExpr) -> Value:
        value = self.value(scope, node.value)
        self.assign(scope, node.target, value)
        return value

    def _formattedvalue(self, scope: Scope, node: ast.FormattedValue) -> Value:
        self.use(scope, node.value, self.value(scope, node.value), "f-string")
        if node.format_spec is not None:
            self.value(scope, node.format_spec)
        return None

    def _lambda(self, scope: Scope, node: ast.Lambda) -> Value:
        return Inner(node, scope)

    def _sequence(self, scope: Scope, node: ast.Tuple | ast.List | ast.Set) -> Value:
        values, is_whole = [], True
        for each in node.elts:
            if isinstance(each, ast.Starred):
                is_whole = False
                values.append(self.iterate(scope, each, self.value(scope, each.value), "*"))
            else:
                values.append(self.value(scope, each))
        for value in values:
            if isinstance(value, Coroutine):
                value.used = True
        return Several(items=tuple(values)) if is_whole else Several(merged(values))

    _tuple = _list = _set = _sequence

    def _dict(self, scope: Scope, node: ast.Dict) -> Value:
        mapping = Mapping()
        for key, item in zip(node.keys, node.values, strict=True):
            name, value = self.value(scope, key), self.value(scope, item)
            if key is None and isinstance(value, Mapping):
                mapping.items.update(value.items)
            elif isinstance(name, Known) and isinstance(name.object, str):
                mapping.items[name.object] = value
        return mapping

    # -------------------------------------------------------------- comprehensions

    def comprehension(self, scope: Scope, generators: list[ast.comprehension], results: Iterable[ast.expr]) -> Value:
        before = dict(scope.env)
        for each in generators:
            source = self.value(scope, each.iter)
            if each.is_async:
                element = self.iterate_asynchronously(scope, each.iter, source)
            else:
                element = self.iterate(scope, each.iter, source, "for")
            self.assign(scope, each.target, element)
            for condition in each.ifs:
                self.test(scope, condition)
        with maybe(scope):
            found = [self.value(scope, each) for each in results]
        for value in found:
            if isinstance(value, Coroutine):
                value.used = True
        targets = {each.id for one in generators for each in ast.walk(one.target) if isinstance(each, ast.Name)}
        for name in targets:
            scope.env.pop(name, None)
            if name in before:
                scope.env[name] = before[name]
        return found[-1]

    def _listcomp(self, scope: Scope, node: ast.ListComp | ast.SetComp) -> Value:
        return Several(self.comprehension(scope, node.generators, [node.elt]))

    _setcomp = _listcomp

    def _generatorexp(self, scope: Scope, node: ast.GeneratorExp) -> Value:
        source = None if node.generators[0].is_async else self.value(scope, node.generators[0].iter)
        if isinstance(source, Generator) or (isinstance(source, Query) and source.is_iterator):
            return Generator(None, (scope, node), is_async=False)  # nothing runs before somebody iterates it
        element = self.comprehension(scope, node.generators, [node.elt])
        is_async = any(each.is_async for each in node.generators) or any(
            isinstance(each, ast.Await) for each in ast.walk(node.elt)
        )
        return Generator(None, None, is_async, element)

    def _dictcomp(self, scope: Scope, node: ast.DictComp) -> Value:
        return Mapping(element=self.comprehension(scope, node.generators, [node.key, node.value]))

    def _yield(self, scope: Scope, node: ast.Yield) -> Value:
        scope.outcome.element = self.value(scope, node.value)
        return None

    def _yieldfrom(self, scope: Scope, node: ast.YieldFrom) -> Value:
        scope.outcome.element = self.iterate(scope, node, self.value(scope, node.value), "yield from")
        return None

    # -------------------------------------------------------------- what the rest of the reader gives

    def emit(self, scope: Scope, event: Event) -> None:
        raise NotImplementedError

    def assign(self, scope: Scope, target: ast.AST, value: Value) -> None:
        raise NotImplementedError

    def exhaust(self, scope: Scope, node: ast.AST, generator: Generator) -> Value:
        raise NotImplementedError

    def assigned_in_init(self, cls: type) -> dict[str, Value]:
        raise NotImplementedError

    def may_keep(self, callee: Value) -> bool:
        """Whether a coroutine that is given to it may be awaited there."""
        return not (isinstance(callee, Bound) and isinstance(callee.owner, Query | Session | Record))


def is_djangos_view(cls: type) -> bool:
    """REST framework's views have another request, with the user in it."""
    is_rest = resolve.is_a(cls, "rest_framework.views.APIView")
    return resolve.is_a(cls, "django.views.generic.base.View") and not is_rest


def _of_request(request: Request, name: str) -> Value:
    if name == "user":
        return request.user or _LazyUser(request)
    return Session(request) if name == "session" else Bound(request, name)


def _is_coroutines(name: str) -> bool:
    return name in OF_COROUTINES or name.startswith(("cr_", "__"))
