"""
A live function and its source together: which lines are its own, what its names stand for, what becomes of a call.

Nothing of the project is run: names are looked up in closures, in globals and on modules and classes, never by a
property or a module's ``__getattr__``. Whatever can't be known is MISSING, or None.
"""

import ast
import builtins
import functools
import inspect
import sys
import tokenize
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.exceptions import is_users

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# What becomes of a call's result, in the function that makes the call.
Role = Literal["awaited", "returned", "used", "passed", "tested", "dropped"]

MISSING: Any = object()
TESTS = {"iscoroutine", "isawaitable", "iscoroutinefunction", "isfuture", "ensure_future"}
OF_COROUTINES = {"close", "send", "throw"}


class Source:
    """A file's tree: of each node the one around it, and its functions and classes by where they begin."""

    def __init__(self, tree: ast.Module) -> None:
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: dict[tuple[str, int], list[Function]] = {}  # by name and first line, decorators included
        self.classes: dict[str, int] = {}  # the line of each, by name
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Lambda):
                self.functions.setdefault(("<lambda>", node.lineno), []).append(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                self.functions.setdefault((node.name, first), []).append(node)
            elif isinstance(node, ast.ClassDef):
                self.classes.setdefault(node.name, node.lineno)


@functools.cache
def source_of(file: str) -> Source | None:
    """None if it isn't there, or isn't Python."""
    try:
        with tokenize.open(file) as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError, UnicodeError, RecursionError, MemoryError):
        return None
    return Source(tree)


def node_of_code(code: types.CodeType) -> Function | None:
    """Where in its file the code was made; None without a file, or if the file isn't what was imported."""
    source = source_of(code.co_filename)
    found = source.functions.get((code.co_name, code.co_firstlineno), []) if source else []
    if code.co_name == "<lambda>":
        return next((node for node in found if isinstance(node, ast.Lambda) and _is_lambda(node, code)), None)
    return found[0] if found else None


def _is_lambda(node: ast.Lambda, code: types.CodeType) -> bool:
    body = node.body
    extent = (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)
    return node.lineno == code.co_firstlineno and extent in set(code.co_positions())


def function_of(thing: Any) -> types.FunctionType | None:
    """The plain function in a bound method, static or class method."""
    if isinstance(thing, types.MethodType | staticmethod | classmethod):
        thing = thing.__func__
    return thing if isinstance(thing, types.FunctionType) else None


def node_of(function: Any) -> Function | None:
    plain = function_of(function)
    return node_of_code(plain.__code__) if plain else None


def place(function: Any) -> Place | None:
    """The line with ``def`` or ``lambda``; None if the user didn't write it."""
    plain = function_of(function)
    if plain is None or not is_users(plain.__code__.co_filename):
        return None
    node = node_of_code(plain.__code__)
    return Place(
        relative(plain.__code__.co_filename),
        node.lineno if node else plain.__code__.co_firstlineno,
        plain.__code__.co_qualname,  # a wrapper's own: functools.wraps() has given it another __qualname__
    )


def class_place(cls: type) -> Place | None:
    """The line with ``class``; None if the user didn't write it."""
    file = vars(sys.modules.get(cls.__module__, types)).get("__file__")
    if not isinstance(file, str) or not is_users(file) or (source := source_of(file)) is None:
        return None
    line = source.classes.get(cls.__name__)
    return Place(relative(file), line, cls.__qualname__) if line else None


# ------------------------------------------------------------------ what a name stands for


def cells(function: types.FunctionType) -> dict[str, Any]:
    """The variables of its closure."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    return found


def value(function: Any, expression: ast.expr) -> Any:
    """What a name or a dotted name in a function stands for; MISSING if it is a local variable, or isn't known."""
    plain = function_of(function)
    if plain is None:
        return MISSING
    if isinstance(expression, ast.Name):
        return _name(plain, expression.id)
    if isinstance(expression, ast.Attribute):
        return member(value(plain, expression.value), expression.attr)
    return MISSING


def _name(function: types.FunctionType, name: str) -> Any:
    code = function.__code__
    if name in code.co_varnames or name in code.co_cellvars:
        return _imported_inside(function, name)
    inside = cells(function)
    if name in inside:
        return inside[name]
    if name in function.__globals__:
        return function.__globals__[name]
    return getattr(builtins, name, MISSING)


def _imported_inside(function: types.FunctionType, name: str) -> Any:
    node = node_of_code(function.__code__)
    for each in ast.walk(node) if node else ():
        if isinstance(each, ast.ImportFrom) and not each.level:
            for alias in each.names:
                if (alias.asname or alias.name) == name:
                    return member(sys.modules.get(each.module or "", MISSING), alias.name)
    return MISSING


def member(owner: Any, name: str) -> Any:
    """An attribute of a module, a class or a plain object, found without running anything."""
    if owner is MISSING:
        return MISSING
    if isinstance(owner, types.ModuleType):
        return vars(owner).get(name, MISSING)
    found = inspect.getattr_static(owner, name, MISSING)
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


# ------------------------------------------------------------------ what a function does


def own_nodes(node: Function) -> Iterator[ast.AST]:
    """What runs when the function runs: not what functions and classes defined in it do."""
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
    while body:
        each = body.pop(0)
        yield each
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        body += ast.iter_child_nodes(each)


def calls(node: Function, concerns: Callable[[ast.Call], bool]) -> list[ast.Call]:
    return [each for each in own_nodes(node) if isinstance(each, ast.Call) and concerns(each)]


def first_parameter(node: Function, after: int = 0) -> str | None:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    if len(names) > after:
        return names[after]
    return node.args.vararg.arg if node.args.vararg else None


def passes(call: ast.Call, name: str | None) -> bool:
    """Whether the variable is an argument of the call."""
    given = [each.value if isinstance(each, ast.Starred) else each for each in call.args]
    given += [each.value for each in call.keywords]
    return any(isinstance(each, ast.Name) and each.id == name for each in given)


def is_super_call(call: ast.Call, method: str) -> bool:
    """super().method(...), or super(Class, self).method(...)"""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == method
        and isinstance(function.value, ast.Call)
        and isinstance(function.value.func, ast.Name)
        and function.value.func.id == "super"
    )


def is_in_super(function: Any, call: ast.Call, method: str) -> bool:
    """super().method(...), or the same written as Base.method(self, ...)."""
    if is_super_call(call, method):
        return True
    named = call.func
    return (
        isinstance(named, ast.Attribute)
        and named.attr == method
        and passes(call, "self")
        and inspect.isclass(value(function, named.value))
    )


def roles(function: Any, node: Function, call: ast.expr, depth: int = 3) -> set[Role]:
    """What becomes of the result of a call (or of a variable's value) in the function that makes it."""
    plain = function_of(function)
    source = source_of(plain.__code__.co_filename) if plain else None
    parents = source.parents if source else {}
    above: ast.AST | None = parents.get(call)
    below: ast.AST = call
    while isinstance(above, ast.IfExp | ast.BoolOp | ast.NamedExpr) and below is not getattr(above, "test", None):
        if isinstance(above, ast.NamedExpr) and isinstance(above.target, ast.Name):
            return _variable(function, node, above.target.id, depth) | _above(function, node, above, depth, parents)
        below, above = above, parents.get(above)
    return _above(function, node, below, depth, parents)


def _above(function: Any, node: Function, below: ast.AST, depth: int, parents: dict[ast.AST, ast.AST]) -> set[Role]:
    above = parents.get(below)
    if isinstance(above, ast.Await):
        return {"awaited"}
    if isinstance(above, ast.Return) or (above is node and isinstance(node, ast.Lambda)):
        return {"returned"}
    if isinstance(above, ast.Expr):
        return {"dropped"}
    if isinstance(above, ast.Attribute) and above.attr in OF_COROUTINES:
        return {"passed"}
    if isinstance(above, ast.Attribute | ast.Subscript) and below is above.value:
        return {"used"}
    if isinstance(above, ast.Assign) and len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
        return _variable(function, node, above.targets[0].id, depth)
    if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
        return _variable(function, node, above.target.id, depth)
    if isinstance(above, ast.Call) and below in above.args:
        return _argument(function, above, above.args.index(below), depth)
    return {"passed"}


def _variable(function: Any, node: Function, name: str, depth: int) -> set[Role]:
    found: set[Role] = set()
    for each in own_nodes(node):
        if isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load):
            found |= roles(function, node, each, depth)
    return found or {"dropped"}


def _argument(function: Any, call: ast.Call, index: int, depth: int) -> set[Role]:
    """What a function does with what is passed to it; only looked at a few deep."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in TESTS:
        return {"tested"}
    called = value(function, call.func)
    if called is isinstance:
        return {"tested"}
    if called is hasattr or called is callable:
        return set()
    if called is MISSING and isinstance(call.func, ast.Attribute):
        # A method of something in the closure, such as a middleware.
        owner = value(function, call.func.value)
        called = MISSING if owner is MISSING else member(type(owner), call.func.attr)
        index += called is not MISSING
    plain = function_of(called)
    node = node_of_code(plain.__code__) if plain else None
    if plain is None or node is None or not depth or isinstance(node, ast.AsyncFunctionDef):
        return {"passed"}
    parameter = first_parameter(node, index)
    if parameter is None:
        return {"passed"}
    return (_variable(plain, node, parameter, depth - 1) - {"dropped", "returned"}) or {"passed"}


def argument_roles(function: Any, call: ast.Call, argument: ast.expr) -> set[Role]:
    """What the function that is called does with one of its arguments."""
    return _argument(function, call, call.args.index(argument), depth=2)


def unwrap(thing: Any) -> Any:
    """inspect.unwrap(), for anything: what can't be unwrapped is returned."""
    try:
        return inspect.unwrap(thing)
    except (ValueError, AttributeError):
        return thing
