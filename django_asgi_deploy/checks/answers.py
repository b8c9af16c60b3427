"""What a function does with its request: whether it reads the user or the session, whether it answers by itself."""

import ast
from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.functions import MISSING

# View's own give an asynchronous view a coroutine.
OF_ASYNC_VIEWS = ("http_method_not_allowed", "options", "dispatch")


def _is_request(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Attribute):
        return expression.attr == "request"
    return isinstance(expression, ast.Name) and expression.id in ("request", "req")


def _is_user_or_session(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("user", "session") and _is_request(node.value)


def mentions_user(node: Any) -> bool:
    return any(_is_user_or_session(each) for each in functions.own_nodes(node))


def reads_user(function: Any, node: Any, cls: Any = None, depth: int = 2) -> bool:
    """
    Whether it loads the user or the session: request.user.anything, request.session[...], a comparison, a condition.

    Also through the methods of ``cls`` that it calls on itself.
    """
    names = _variables(node, _is_user_or_session)

    def is_it(expression: ast.AST) -> bool:
        return _is_user_or_session(expression) or (isinstance(expression, ast.Name) and expression.id in names)

    for each in functions.own_nodes(node):
        if isinstance(each, ast.Attribute) and each.attr == "session_key":
            continue
        if isinstance(each, ast.Attribute | ast.Subscript) and is_it(each.value):
            return True
        if any(map(is_it, _looked_at(each))):
            return True
        if isinstance(each, ast.Call) and _passes_to_reader(function, node, each, is_it):
            return True
        if isinstance(each, ast.Call) and depth and _method_reads(each, cls, depth):
            return True
    return False


def asks_for_permissions(node: Any) -> bool:
    """Whether it makes a query even of a user who is loaded."""
    names = ("has_perm", "has_perms", "has_module_perms", "groups", "user_permissions", "get_all_permissions")
    return any(isinstance(each, ast.Attribute) and each.attr in names for each in functions.own_nodes(node))


def _variables(node: Any, is_it: Callable[[ast.AST], bool]) -> set[str]:
    """The names that the function gives to such values."""
    return {
        target.id
        for each in functions.own_nodes(node)
        if isinstance(each, ast.Assign) and is_it(each.value)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


def _looked_at(node: ast.AST) -> list[ast.expr]:
    """What a comparison or a condition looks at."""
    if isinstance(node, ast.Compare):
        return [] if all(isinstance(each, ast.Is | ast.IsNot) for each in node.ops) else [node.left, *node.comparators]
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    return [node.operand] if isinstance(node, ast.UnaryOp) else []


def _passes_to_reader(function: Any, node: Any, call: ast.Call, is_it: Callable[[ast.AST], bool]) -> bool:
    """Whether it is passed to a function that looks at it; Django's user_passes_test() calls one that does."""
    given = [argument for argument in call.args if is_it(argument)]
    if given and function.__globals__.get("__name__") == "django.contrib.auth.decorators":
        return True
    return any("used" in functions.argument_roles(function, call, argument) for argument in given)


def _method_reads(call: ast.Call, cls: Any, depth: int) -> bool:
    method = own_method(call, cls)
    inner = functions.node_of(method)
    return isinstance(inner, ast.FunctionDef) and reads_user(method, inner, cls, depth - 1)


def own_method(call: ast.Call, cls: Any) -> Any:
    """The function behind self.method(...); None if it isn't one, or isn't known."""
    named = call.func
    if cls is None or not isinstance(named, ast.Attribute) or not isinstance(named.value, ast.Name):
        return None
    return functions.function_of(functions.member(cls, named.attr)) if named.value.id == "self" else None


def returns_response(function: Any, node: Any, cls: Any = None, depth: int = 2) -> bool:
    """Whether it returns a response that it made itself, as far as that can be seen."""

    def is_made(expression: ast.AST) -> bool:
        return isinstance(expression, ast.Call) and _makes_response(function, expression, cls, depth)

    made = _variables(node, is_made)
    return any(
        isinstance(each, ast.Return)
        and each.value is not None
        and (is_made(each.value) or (isinstance(each.value, ast.Name) and each.value.id in made))
        for each in functions.own_nodes(node)
    )


def _makes_response(function: Any, call: ast.Call, cls: Any, depth: int) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr == "handle_no_permission":
        return True
    called = own_method(call, cls) or functions.value(function, call.func)
    if called is MISSING or getattr(called, "__name__", "") in OF_ASYNC_VIEWS:
        return False
    if called in (redirect, render):
        return True
    if isinstance(called, type):
        return issubclass(called, HttpResponseBase)
    plain, inner = functions.function_of(called), functions.node_of(called)
    return bool(depth) and isinstance(inner, ast.FunctionDef) and returns_response(plain, inner, cls, depth - 1)
