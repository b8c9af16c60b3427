"""Where the project calls the asynchronous methods of Django's caches, and of which."""

import ast
import re
from collections.abc import Iterable, Iterator
from types import ModuleType

from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.checks.sources import text_of

METHODS = re.compile(
    r"a(get|set|add|delete|touch|incr|decr|clear|has_key|get_or_set|get_many|set_many|delete_many|incr_version|decr_version)"
)
MODULE = "django.core.cache"
DEFAULT = "default"
ALL = "*"  # what ``caches`` is


def calls(modules: Iterable[ModuleType]) -> Iterator[tuple[str, Place]]:
    """The alias of the cache, and the line."""
    for module in modules:
        text = text_of(module)
        if MODULE in text or "django.core import cache" in text:
            for alias, call in _calls_in(ast.parse(text)):
                yield alias, Place(relative(str(module.__file__)), call.lineno, column=call.col_offset)


def _calls_in(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    known = _imported(tree)
    # Twice: one may be made from another, and be used above the line where it is made.
    for _ in range(2):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (alias := _alias(node.value, known)):
                known |= {ast.unparse(target): alias for target in node.targets}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and METHODS.fullmatch(node.func.attr):
            alias = _alias(node.func.value, known)
            if alias and alias != ALL:
                yield alias, node


def _imported(tree: ast.Module) -> dict[str, str]:
    """By name, the alias, also of what functions import."""
    known = {f"{MODULE}.cache": DEFAULT, f"{MODULE}.caches": ALL}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        for name in node.names:
            called = name.asname or name.name
            if (node.module, name.name) == ("django.core", "cache"):
                known |= {f"{called}.cache": DEFAULT, f"{called}.caches": ALL}
            elif node.module == MODULE and name.name in ("cache", "caches"):
                known[called] = DEFAULT if name.name == "cache" else ALL
    return known


def _alias(expression: ast.expr, known: dict[str, str]) -> str | None:
    """The alias of the cache that an expression gives; None if it isn't known to be one."""
    if isinstance(expression, ast.Name | ast.Attribute):
        return known.get(ast.unparse(expression))
    if isinstance(expression, ast.Subscript) and _alias(expression.value, known) == ALL:
        key = expression.slice
        return str(key.value) if isinstance(key, ast.Constant) else None
    return None
