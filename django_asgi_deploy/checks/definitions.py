"""The source of functions: each file is read and parsed once, and only if it is asked for."""

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeAlias

from django_asgi_deploy.checks import resolve

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
UNREADABLE = (OSError, SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, eq=False)
class Function:
    """A function's source, with what its names mean."""

    node: FunctionNode
    file: str
    qualname: str
    globals: dict[str, Any]
    closure: dict[str, Any] = field(default_factory=dict)
    owner: type | None = None  # the class in whose body it stands
    live: FunctionType | None = None
    runs_on_loop: bool = False  # though it is synchronous: Django calls it there
    is_others: bool = False  # an installed package's

    @property
    def is_coroutine_function(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef) and not self.is_generator

    @property
    def is_async(self) -> bool:
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def is_generator(self) -> bool:
        return _yields(self.node)

    @property
    def parameters(self) -> list[ast.arg]:
        arguments = self.node.args
        return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


@lru_cache(maxsize=4096)
def _yields(node: FunctionNode) -> bool:
    return any(isinstance(each, ast.Yield | ast.YieldFrom) for each in own_nodes(node))


def own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions and classes inside it."""
    body = [function.body] if isinstance(function, ast.Lambda) else function.body
    stack: list[ast.AST] = [*reversed(body)]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(reversed([*ast.iter_child_nodes(node)]))


@dataclass(frozen=True)
class Parsed:
    """A file, and every function in it by name and first line."""

    tree: ast.Module

    @cached_property
    def functions(self) -> dict[tuple[str, int], list[tuple[FunctionNode, str]]]:
        """Those that have a name."""
        found: dict[tuple[str, int], list[tuple[FunctionNode, str]]] = {}
        for node, qualname in _defined(self.tree, ""):
            found.setdefault((node.name, _first_line(node)), []).append((node, qualname))
        return found

    @cached_property
    def lambdas(self) -> dict[int, list[tuple[FunctionNode, str]]]:
        found: dict[int, list[tuple[FunctionNode, str]]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Lambda):
                found.setdefault(node.lineno, []).append((node, "<lambda>"))
        return found

    def at(self, name: str, line: int) -> list[tuple[FunctionNode, str]]:
        return self.lambdas.get(line, []) if name == "<lambda>" else self.functions.get((name, line), [])

    def all(self) -> Iterator[tuple[FunctionNode, str]]:
        return (each for several in self.functions.values() for each in several)


class Sources:
    """The files read so far."""

    def __init__(self) -> None:
        self._parsed: dict[str, Parsed | None] = {}
        self._functions: dict[CodeType, tuple[FunctionNode, str] | None] = {}

    def parsed(self, file: str, *, only_with: str = "") -> Parsed | None:
        """None if it can't be read or parsed, or doesn't contain the text ``only_with``."""
        if file not in self._parsed:
            try:
                with tokenize.open(file) as opened:
                    text = opened.read()
                if only_with not in text:
                    return None
                self._parsed[file] = Parsed(ast.parse(text, file))
            except UNREADABLE:
                self._parsed[file] = None
        return self._parsed[file]

    def of(self, function: FunctionType, owner: type | None = None) -> Function | None:
        """The source of a live function; None if there is none, or it isn't what the function was made from."""
        code = function.__code__
        if code not in self._functions:
            self._functions[code] = self._find(code)
        found = self._functions[code]
        if found is None:
            return None
        node, qualname = found
        owner = owner or owner_of(function)
        return Function(
            node, code.co_filename, qualname, function.__globals__, resolve.closure_of(function), owner, function
        )

    def _find(self, code: CodeType) -> tuple[FunctionNode, str] | None:
        parsed = None if code.co_filename.startswith("<") else self.parsed(code.co_filename)
        candidates = parsed.at(code.co_name, code.co_firstlineno) if parsed else []
        fitting = [each for each in candidates if _fits(each[0], code)]
        return fitting[0] if len(fitting) == 1 else None


def owner_of(function: FunctionType) -> type | None:
    """The class in whose body a function stands, if that class is a module's own attribute."""
    path = function.__qualname__.split(".")[:-1]
    if not path or "<locals>" in path:
        return None
    found: Any = function.__globals__.get(path[0])
    for name in path[1:]:
        found = resolve.class_attribute(found, name) if isinstance(found, type) else None
    return found if isinstance(found, type) else None


def in_module(module: ModuleType, parsed: Parsed) -> Iterator[Function]:
    """Every function of a module's file, with its live object where one is found."""
    namespace = vars(module)
    file = namespace["__file__"]
    for node, qualname in parsed.all():
        owner, live = _live(namespace, qualname, node)
        closure = resolve.closure_of(live) if live else {}
        yield Function(node, file, qualname, namespace, closure, owner, live)


def _live(namespace: dict[str, Any], qualname: str, node: FunctionNode) -> tuple[type | None, FunctionType | None]:
    owner: Any = None
    path = qualname.split(".")
    if "<locals>" in path:
        return None, None
    found: Any = namespace.get(path[0])
    for name in path[1:]:
        owner, found = found, resolve.class_attribute(found, name) if isinstance(found, type) else None
    for thing in resolve.wrapped_by(found):
        if isinstance(thing, FunctionType) and _fits(node, thing.__code__):
            return owner if isinstance(owner, type) else None, thing
    return owner if isinstance(owner, type) else None, None


def _fits(node: FunctionNode, code: CodeType) -> bool:
    """Whether the code can have been made from this node."""
    arguments = node.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    count = code.co_argcount + code.co_kwonlyargcount
    return code.co_firstlineno == _first_line(node) and [*code.co_varnames[:count]] == [*map(_mangled(code), names)]


def _mangled(code: CodeType) -> Any:
    """Parameters with two underscores in front are renamed inside a class."""
    varnames = code.co_varnames
    return lambda name: (
        next((each for each in varnames if each.endswith(name) and each.startswith("_")), name)
        if (name.startswith("__") and not name.endswith("__"))
        else name
    )


def _first_line(node: FunctionNode) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(each.lineno for each in decorators)])


def _defined(parent: ast.AST, prefix: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """The functions in a block, with their qualified names: only statements hold them."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(parent, name, ()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node, prefix + node.name
                yield from _defined(node, f"{prefix}{node.name}.<locals>.")
            else:
                yield from _defined(node, f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix)


def forget() -> None:
    """Let go of the trees that were looked at."""
    _yields.cache_clear()
