"""Where in the project's files a setting is given its value."""

import ast
import functools
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TypeAlias

from django_asgi_deploy.checks.frames import Place, relative
from django_asgi_deploy.exceptions import is_users

Key: TypeAlias = str | int


def place_of_setting(settings_module: str | None, name: str, *keys: Key) -> Place | None:
    """The line of the last assignment to a setting, or inside it the line of a key below it, as far as that is written
    out there; None if the settings are no module of the user's.
    """
    for module in _modules(settings_module, set()):
        tree = _parsed(module)
        for node in reversed(tree.body if tree else []):
            found = _assigned(node, name, keys)
            if found:
                assert module.__file__
                return Place(relative(module.__file__), found.lineno, column=found.col_offset)
    return None


def place_of_environment(module: ModuleType, variable: str, *, is_forced: bool = False) -> Place | None:
    """Where a module sets an environment variable through os.environ; ``is_forced``: whatever its value is."""
    tree = _parsed(module)
    for node in _unguarded(tree, variable if is_forced else None) if tree else ():
        if _sets(node, variable, module, is_forced):
            assert module.__file__
            return Place(relative(module.__file__), node.lineno, column=node.col_offset)
    return None


def _unguarded(node: ast.AST, variable: str | None) -> Iterator[ast.stmt | ast.expr]:
    """All there is, without what an ``if`` does that has asked for the variable."""
    for child in ast.iter_child_nodes(node):
        if variable and isinstance(child, ast.If) and any(_is_text(each, variable) for each in ast.walk(child.test)):
            continue
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        yield from _unguarded(child, variable)


def _sets(node: ast.AST, variable: str, module: ModuleType, is_forced: bool) -> bool:
    match node:
        case ast.Assign(targets=[ast.Subscript(value=environ, slice=key)]):
            pass
        case ast.AugAssign(target=environ, op=ast.BitOr(), value=ast.Dict(keys=[*keys])):
            key = next((each for each in keys if each and _is_text(each, variable)), ast.Constant(None))
        case ast.Call(func=ast.Attribute(attr="setdefault", value=environ), args=[key, *_]) if not is_forced:
            pass
        case ast.Call(func=ast.Attribute(attr="putenv" | "__setitem__", value=environ), args=[key, *_]):
            pass
        case ast.Call(func=ast.Attribute(attr="update", value=environ)):
            given = [each for each, _, _ in _entries(node)]
            given += [each for argument in node.args for each, _, _ in _entries(argument)]
            key = ast.Constant(variable if variable in given else None)
        case _:
            return False
    return _is_text(key, variable) and _is_environment(environ, module)


def _is_text(node: ast.AST, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def _is_environment(node: ast.expr, module: ModuleType) -> bool:
    """By identity where the name is the module's, else (in a function that imports it) by its usual names."""
    match node:
        case ast.Name(id=name) if name in vars(module):
            return vars(module)[name] in (os.environ, os)
        case ast.Attribute(value=ast.Name(id=name), attr="environ") if name in vars(module):
            return vars(module)[name] is os
    return ast.unparse(node) in ("os.environ", "environ", "os")


def settings_modules(settings_module: str | None) -> list[ModuleType]:
    """The settings module, and the project's modules that it imports from with a star, those that win first."""
    return [*_modules(settings_module, set())]


def _modules(name: str | None, seen: set[str]) -> Iterator[ModuleType]:
    module = sys.modules.get(name or "")
    if module is None or not name or name in seen:
        return
    seen.add(name)
    yield module
    tree = _parsed(module)
    for node in reversed(tree.body if tree else []):
        if isinstance(node, ast.ImportFrom):
            yield from _modules(_imported_from(node, module), seen)


def _imported_from(node: ast.ImportFrom, module: ModuleType) -> str:
    package = (module.__package__ or "").split(".") if node.level else []
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, *filter(None, [node.module])])


@functools.cache
def _parsed(module: ModuleType) -> ast.Module | None:
    file = getattr(module, "__file__", None)
    if not file or not is_users(file):
        return None
    try:
        with open(file, "rb") as source:
            return ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return None


def _assigned(node: ast.stmt, name: str, keys: tuple[Key, ...]) -> ast.expr | ast.stmt | None:
    """What to point at if this statement gives the setting, or the key below it, its value."""
    match node:
        case ast.Assign(targets=[*targets], value=value):
            for target in targets:
                base, subscripts = _unsubscripted(target)
                if base == name and subscripts == keys[: len(subscripts)]:
                    return _below(value, keys[len(subscripts) :]) or node
        case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
            return _below(value, keys) or node
        case ast.If() | ast.Try() | ast.With():
            inner: list[ast.stmt] = [*node.body, *getattr(node, "orelse", []), *getattr(node, "finalbody", [])]
            return next((found for each in reversed(inner) if (found := _assigned(each, name, keys))), None)
    return None


def _unsubscripted(target: ast.expr) -> tuple[str | None, tuple[Key, ...]]:
    """``DATABASES["default"]["HOST"]`` as the name and the keys."""
    keys: list[Key] = []
    while isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        keys.insert(0, target.slice.value)  # type: ignore[arg-type]
        target = target.value
    return (target.id if isinstance(target, ast.Name) else None), tuple(keys)


def _below(value: ast.expr, keys: tuple[Key, ...]) -> ast.expr | None:
    """The node of the key, or the nearest one above it that is written out."""
    deepest: ast.expr | None = None
    for key in keys:
        entries = [each for each in _entries(value) if each[0] == key]
        if not entries:
            break
        _, deepest, value = entries[-1]
    return deepest


def _entries(value: ast.expr) -> Iterator[tuple[Key, ast.expr, ast.expr]]:
    """Key, what to point at, and value, of a dictionary or list in the source."""
    match value:
        case ast.Dict():
            for key, item in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield key.value, key, item  # type: ignore[misc]
        case ast.Call():  # dict(a=1), or a function of the project's that takes the keys by name
            for keyword in value.keywords:
                if keyword.arg:
                    yield keyword.arg, keyword.value, keyword.value
        case ast.List() | ast.Tuple():
            for number, item in enumerate(value.elts):
                yield number, item, item
