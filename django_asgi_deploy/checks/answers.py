"""What a function does with its request: whether it reads the user or the session, whether it answers by itself."""

import ast
from typing import Any

from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.functions import MISSING


def _is_request(expression: ast.expr) -> bool:
    if isinstance(expression, ast.Attribute):
        return expression.attr == "request"
    return isinstance(expression, ast.Name) and expression.id in ("request", "req")


def _is_user_or_session(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("user", "session") and _is_request(node.value)


def mentions_user(node: Any) -> bool:
    return any(_is_user_or_session(each) for each in functions.own_nodes(node))


def reads_user(function: Any, node: Any) -> bool:
    """request.user.anything, request.session[...] or .get(): what loads them. Also user_passes_test()'s own wrapper."""
    is_djangos = function.__module__ == "django.contrib.auth.decorators"
    for each in functions.own_nodes(node):
        if isinstance(each, ast.Attribute | ast.Subscript) and _is_user_or_session(each.value):
            return True
        if isinstance(each, ast.Compare) and any(_is_user_or_session(right) for right in each.comparators):
            return True
        if is_djangos and isinstance(each, ast.Call) and any(map(_is_user_or_session, each.args)):
            return True
    return False


def returns_response(function: Any, node: Any, depth: int = 2) -> bool:
    """Whether it returns a response that it made itself, as far as that can be seen."""
    made: set[str] = set()
    for each in functions.own_nodes(node):
        if (
            isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Call)
            and _makes_response(function, each.value, depth)
        ):
            made |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    for each in functions.own_nodes(node):
        if isinstance(each, ast.Return) and each.value is not None:
            if isinstance(each.value, ast.Name) and each.value.id in made:
                return True
            if isinstance(each.value, ast.Call) and _makes_response(function, each.value, depth):
                return True
    return False


def _makes_response(function: Any, call: ast.Call, depth: int) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("handle_no_permission", "http_method_not_allowed"):
        return call.func.attr == "handle_no_permission"
    called = functions.value(function, call.func)
    if called is MISSING:
        return False
    if called in (redirect, render):
        return True
    if isinstance(called, type):
        return issubclass(called, HttpResponseBase)
    plain, inner = functions.function_of(called), functions.node_of(called)
    return bool(depth) and isinstance(inner, ast.FunctionDef) and returns_response(plain, inner, depth - 1)
