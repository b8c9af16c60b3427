"""What parameters and attributes hold that nobody was seen to put there: by annotations, by ``__init__``, by custom."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import CodeType, FunctionType, ModuleType
from typing import Any

from django.http import HttpRequest

from django_asgi_deploy.checks import orm, others, resolve
from django_asgi_deploy.checks.definitions import Function, FunctionNode, Sources, own_nodes
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.expressions import is_djangos_view
from django_asgi_deploy.checks.live import live, merged
from django_asgi_deploy.checks.scope import Outcome, Scope, text_of
from django_asgi_deploy.checks.statements import Statements
from django_asgi_deploy.checks.values import Known, Made, Query, Record, Request, Value

OF_MIDDLEWARE = frozenset(
    ["__call__", "__acall__", "process_request", "process_view", "process_response", "process_exception"]
)
FOREIGN_REQUESTS = ("starlette", "fastapi", "aiohttp", "sanic", "quart", "litestar", "rest_framework", "adrf")


class Parameters(Statements):
    """The part of the reader that knows what a function begins with."""

    sources: Sources
    views: Mapping[CodeType, bool]  # the functions that URLs lead to; and if the session is loaded then
    _init: dict[type, dict[str, Value]]

    def read(self, function: Function, outer: Scope | None, arguments: Arguments, owner: Value) -> Outcome:
        raise NotImplementedError

    def bind(self, scope: Scope, arguments: Arguments, owner: Value) -> None:
        function = scope.function
        parameters = function.parameters
        positional = [*arguments.positional]
        is_method = owner is not None
        if is_method:
            positional.insert(0, owner)
        known_count = len(function.node.args.posonlyargs) + len(function.node.args.args)
        for index, parameter in enumerate(parameters):
            if parameter.arg in arguments.named:
                value = arguments.named[parameter.arg]
            elif index < len(positional) and index < known_count:
                value = positional[index]
            elif arguments.is_partial:
                value = None
            else:
                value = _default(function, parameter)
            if value is None:
                value = self._parameter(scope, parameter, index, is_entry=arguments.is_partial)
            scope.env[parameter.arg] = value
            if isinstance(owner, Made) and isinstance(value, Request):
                owner.attributes.setdefault("request", value)  # as View.setup() has it

    def _parameter(self, scope: Scope, parameter: ast.arg, index: int, *, is_entry: bool) -> Value:
        value = None
        if parameter.annotation is not None:
            value = self.annotated(scope, parameter.annotation)
        elif parameter.arg == "request" and index <= 1 and _is_djangos_request(scope.function):
            value = Request()
        if isinstance(value, Request) and not (is_entry and self._gets_request(scope.function)):
            return None  # somebody else's, who may have prepared it
        if isinstance(value, Request) and scope.function.live is not None:
            value.has_session = self.views.get(scope.function.live.__code__, False)
        return value

    def _gets_request(self, function: Function) -> bool:
        """Whether Django itself calls it with the request of a client, as far as that can be seen."""
        node = function.node
        if isinstance(node, ast.Lambda):
            return False
        if function.owner is not None:
            return is_djangos_view(function.owner) or node.name in OF_MIDDLEWARE
        is_view = function.live is not None and function.live.__code__ in self.views
        return is_view or "<locals>" in function.qualname or _is_registered(function, node)

    def annotated(self, scope: Scope, node: ast.expr) -> Value:
        return self.instance_of(self._annotation(scope, node))

    def _annotation(self, scope: Scope, node: ast.expr) -> Value:
        """The class that an annotation names; of ``X | None`` it is X."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except (SyntaxError, ValueError, RecursionError):
                return None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return merged([self._annotation(scope, node.left), self._annotation(scope, node.right)])
        if isinstance(node, ast.Subscript):
            name = text_of(node.value).rpartition(".")[2]
            if name in ("Optional", "Annotated"):
                inside = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
                return self._annotation(scope, inside)
            return None
        if isinstance(node, ast.Name | ast.Attribute):
            return self.value(_outside(scope), node)
        return Known(None) if isinstance(node, ast.Constant) and node.value is None else None

    def returned_by(self, function: FunctionType) -> Value:
        """What a function says that it returns."""
        cls = function.__annotations__.get("return") if isinstance(function.__annotations__, dict) else None
        if isinstance(cls, str):
            cls = function.__globals__.get(cls)
        return self.instance_of(Known(cls)) if isinstance(cls, type) else None

    def instance_of(self, cls: Value) -> Value:
        """An instance of a class that nobody has seen being made."""
        if not isinstance(cls, Known) or not isinstance(cls.object, type):
            return None
        if orm.is_model(cls.object):
            return Record(cls.object, None, None)
        if issubclass(cls.object, HttpRequest):
            return Request()
        if resolve.is_a(cls.object, "django.db.models.query.QuerySet", "django.db.models.manager.BaseManager"):
            return None
        return None if cls.object.__module__ in ("builtins", "typing") else Made(cls.object)

    def assigned_in_init(self, cls: type) -> dict[str, Value]:
        """What ``__init__`` assigns to the attributes of ``self``, and what the class says that they are."""
        if cls not in self._init:
            self._init[cls] = {}
            made = Made(cls)
            function = resolve.plain_function(resolve.class_attribute(cls, "__init__"))
            source = None
            if function is not None and self.is_projects(function.__code__.co_filename):
                source = self.sources.of(function)
            elif function is not None and others.may_be_read(function):
                source = self.sources.of(function)
                source = source and replace(source, is_others=True)
            if source is not None:
                self.read(source, None, Arguments(is_partial=True), made)
            self._assigned_in_methods(made)
            for base in reversed(resolve.bases(cls)):
                for name, annotation in inspect.get_annotations(base).items():
                    made.attributes.setdefault(name, self.instance_of(Known(annotation)))
            self._init[cls] = made.attributes
        return self._init[cls]

    def _assigned_in_methods(self, made: Made) -> None:
        """Attributes that only other methods set, each from a call: ``self.client = httpx.Client()``."""
        found: dict[str, list[Value]] = {}
        for base in resolve.bases(made.type):
            for raw in [*base.__dict__.values()]:
                function = resolve.plain_function(raw)
                if function is None or not self.is_projects(function.__code__.co_filename):
                    continue
                source = self.sources.of(function)
                for name, value in self._assignments(source, made) if source else ():
                    found.setdefault(name, []).append(value)
        for name, values in found.items():
            made.attributes.setdefault(name, merged(values))

    def _assignments(self, function: Function, made: Made) -> Iterator[tuple[str, Value]]:
        names = [each.arg for each in function.parameters[:1]]
        scope = Scope(function, is_elsewhere=True, env=dict.fromkeys(names, made))
        for node in own_nodes(function.node):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                called = node.value.value if isinstance(node.value, ast.Await) else node.value
                is_known = isinstance(called, ast.Call | ast.Constant)
                for target in targets:
                    if not isinstance(target, ast.Attribute):
                        continue
                    if isinstance(target.value, ast.Name) and target.value.id in names:
                        yield target.attr, self.value(scope, node.value) if is_known else None


def _default(function: Function, parameter: ast.arg) -> Value:
    """What a parameter has that nothing was passed for: the live function's, or a constant that is written down."""
    arguments = function.node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = dict(zip(reversed(positional), reversed(arguments.defaults), strict=False))
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    defaults |= {each: default for each, default in named if default is not None}
    default = defaults.get(parameter)
    if default is None or isinstance(default, ast.Constant):
        return Known(default.value) if default is not None else None
    plain = function.live
    if not isinstance(plain, FunctionType):
        return None
    if parameter in arguments.kwonlyargs:
        given: Any = (plain.__kwdefaults__ or {}).get(parameter.arg)
    else:
        from_end = len(positional) - positional.index(parameter)
        values = plain.__defaults__ or ()
        given = values[-from_end] if from_end <= len(values) else None
    return None if given is None else live(given)


def self_of(function: Function) -> Value:
    """The first parameter of a method."""
    owner = function.owner
    if owner is None or not function.parameters:
        return None
    raw = resolve.class_attribute(owner, function.node.name if not isinstance(function.node, ast.Lambda) else "")
    if isinstance(raw, staticmethod):
        return None
    if isinstance(raw, classmethod):
        return Known(owner)
    if orm.is_model(owner):
        return Record(owner, None, None)
    if resolve.is_a(owner, "django.db.models.query.QuerySet", "django.db.models.manager.BaseManager"):
        is_manager = not resolve.is_a(owner, "django.db.models.query.QuerySet")
        return Query(None, owner, is_manager=is_manager, select=None, prefetch=None)
    made = Made(owner)
    if is_djangos_view(owner) and not _is_handler(owner, function.node):
        made.attributes["request"] = None  # another method may have set its user
    return made


def _is_registered(function: Function, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """``@router.get("/")`` of Django Ninja."""
    for decorator in node.decorator_list:
        by = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(by, ast.Attribute) and isinstance(by.value, ast.Name):
            registry = function.globals.get(by.value.id)
            if resolve.is_a(type(registry), "ninja.main.NinjaAPI", "ninja.router.Router"):
                return True
    return False


def _is_handler(view: type, node: FunctionNode) -> bool:
    """Whether Django calls this method of a view first."""
    names = resolve.class_attribute(view, "http_method_names")
    return getattr(node, "name", "") in (*(names if isinstance(names, list | tuple) else ()), "dispatch", "setup")


def _is_djangos_request(function: Function) -> bool:
    """Whether a parameter called ``request`` will be an HttpRequest: not where other frameworks are at home."""
    if function.owner is not None and resolve.is_a(function.owner, "rest_framework.views.APIView"):
        return False
    things = [each for each in function.globals.values() if type(each) in (type, FunctionType, ModuleType)]
    modules = {str(vars(each).get("__name__") if type(each) is ModuleType else each.__module__) for each in things}
    return not any(module.partition(".")[0] in FOREIGN_REQUESTS for module in modules)


def _outside(scope: Scope) -> Scope:
    """Annotations are evaluated where the function stands."""
    return Scope(replace(scope.function, node=_EMPTY), scope.outer)


_EMPTY = ast.Lambda(
    args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),
    body=ast.Constant(value=None),
)
