"""Whatever is written in a project, reading it raises nothing."""

import ast
import asyncio
import functools
import os
import textwrap
from types import FunctionType, ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils.functional import SimpleLazyObject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_asgi_deploy.checks import source
from django_asgi_deploy.checks.definitions import Sources, in_module
from django_asgi_deploy.checks.finding import Finding

EXAMPLES = int(os.environ.get("ODD_SOURCE_EXAMPLES", "0"))  # more than in CI, and others each time
ATOMS = [
    "request",
    "self",
    "x",
    "y",
    "Known.attribute",
    "1",
    "'a'",
    "None",
    "[]",
    "{}",
    "(x, *y)",
    "...",
    "f'{x!r:>{y}}'",
]
EXPRESSIONS = [
    "{a}.b",
    "{a}({b}, *x, key={a}, **y)",
    "{a}[{b}:{b}]",
    "{a}[{b}]",
    "await {a}",
    "[{a} for x in {b} if x]",
    "[{a} async for x in {b}]",
    "{{{a}: {b} for x, y in {b}}}",
    "({a} for x in {b})",
    "lambda x, /, y=1, *z, w, **k: {a}",
    "({a} if {b} else {a})",
    "({a} and not {b})",
    "({a} < {b} in {a})",
    "({a} + {b} @ {a})",
    "(walrus := {a})",
    "f'{{{a}!s}} {{{b}=}}'",
    "super().method({a})",
    "asyncio.gather({a}, *{b})",
    "sync_to_async({a})({b})",
    "asyncio.to_thread({a}, {b})",
    "functools.partial({a}, {b})()",
    "partial_function({a})",
    "lazy.attribute({a})",
    "c_function({a})",
    "getattr({a}, 'b')({b})",
    "asyncio.create_task({a})",
    "type({a})({b})",
]
STATEMENTS = [
    "{a}",
    "x = {a}",
    "x, (y, *z) = {a}",
    "x.attribute = {a}",
    "x[{a}] = {b}",
    "x: {a} = {b}",
    "x += {a}",
    "del x[{a}]",
    "return {a}",
    "raise ValueError({a}) from {b}",
    "assert {a}, {b}",
    "global elsewhere; elsewhere = {a}",
    "import os.path as p, no_such_module, time",
    "from no_such_package.deeper import thing as other",
    "from . import sibling",
    "{a}; {b}",
]
BLOCKS = [
    "if {a}:\n    {s}\nelif {b}:\n    {s}\nelse:\n    {s}",
    "for x, *y in {a}:\n    {s}\n    continue\nelse:\n    {s}",
    "async for x in {a}:\n    {s}",
    "while {a}:\n    {s}\n    break",
    "with {a} as x, {b}:\n    {s}",
    "async with {a} as (x, y):\n    {s}",
    "try:\n    {s}\nexcept (ValueError, {a}) as e:\n    {s}\nfinally:\n    {s}",
    "try:\n    {s}\nexcept* OSError:\n    {s}",
    "match {a}:\n    case [1, *rest] if {b}:\n        {s}\n"
    "    case {{'k': v, **kw}} | Known(attribute=v, k=kw):\n        {s}\n    case _ as w:\n        {s}",
    "def inner(x={a}, *args: {b}, **kw) -> {a}:\n    {s}\ninner(x)",
    "async def inner(x):\n    {s}\nawait inner({a})",
    "@functools.wraps({a})\n@{b}\nasync def decorated(self, request):\n    {s}\ndecorated",
    "class Inner(Known):\n    field: int = {a}\n    async def method(self):\n        {s}\nInner().method()",
]
NEWER = "def generic[T: int, *Ts, **P](x: T) -> T:\n    return x\ntype Alias[T] = list[T]\nclass Box[T]:\n    pass\n"

expressions = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.builds(lambda t, a, b: f"({t.format(a=a, b=b)})", st.sampled_from(EXPRESSIONS), inner, inner),
    max_leaves=5,
)
statements = st.builds(lambda t, a, b: t.format(a=a, b=b), st.sampled_from(STATEMENTS), expressions, expressions)


def _block(template: str, a: str, b: str, body: list[str]) -> str:
    text = template.format(a=a, b=b, s="\0")
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        inside = "\n".join(body)
        lines.append(textwrap.indent(inside, indent) if line.strip() == "\0" else line)
    return "\n".join(lines)


bodies = st.recursive(
    st.lists(statements, min_size=1, max_size=3),
    lambda inner: st.lists(
        st.builds(_block, st.sampled_from(BLOCKS), expressions, expressions, inner), min_size=1, max_size=2
    ),
    max_leaves=4,
)


class Known:
    attribute = 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("no code of the project is run")

    @property
    def running(self) -> Any:
        raise AssertionError("no code of the project is run")


def _boom() -> Any:
    raise AssertionError("no code of the project is run")


class Project:
    """A project with one module, made from text."""

    handler = "django"
    routes = ()

    def __init__(self, *modules: ModuleType) -> None:
        self.modules = modules


def check(folder: Any, text: str) -> list[Finding]:
    """What is found in a module with this source; its functions are live, and have never been called."""
    file = folder / "odd.py"
    file.write_text(text)
    module = ModuleType("odd")
    module.__dict__.update(
        asyncio=asyncio,
        functools=functools,
        sync_to_async=sync_to_async,
        Known=Known,
        known=Known(),
        lazy=SimpleLazyObject(_boom),
        c_function=len,
        partial_function=functools.partial(Known, 1),
        __file__=str(file),
    )
    run(text, str(file), module.__dict__)
    return [*source.check(Project(module))]  # type: ignore[arg-type]


def run(text: str, file: str, namespace: dict[str, Any]) -> None:
    exec(compile(text, file, "exec"), namespace)  # noqa: S102 (source that this file makes)


def is_python(text: str) -> bool:
    try:
        compile(text, "odd.py", "exec")
    except SyntaxError:
        return False
    return True


@settings(max_examples=EXAMPLES or 150, derandomize=not EXAMPLES, deadline=None, suppress_health_check=[*HealthCheck])
@given(bodies, st.booleans())
def test_no_syntax_makes_a_check_fail(
    tmp_path_factory: pytest.TempPathFactory, body: list[str], is_method: bool
) -> None:
    function = f"async def view(self, request):\n{textwrap.indent(chr(10).join(body), '    ')}\n"
    text = f"class View(Known):\n{textwrap.indent(function, '    ')}" if is_method else function
    if is_python(text):
        found = check(tmp_path_factory.getbasetemp(), text)
        assert [each.message for each in found if each.id == "asgi.000"] == []


@pytest.mark.skipif(not is_python(NEWER), reason="Python 3.12 has PEP 695")
def test_type_parameters_are_read(tmp_path: Any) -> None:
    view = (
        "async def view[T](request: T) -> 'Alias[T]':\n    def inner[U](x: U): return x\n    return inner(generic(1))\n"
    )
    assert check(tmp_path, NEWER + view) == []


@pytest.mark.parametrize(
    "text",
    [
        "async def view(request):\n    return " + "(" * 60 + "1" + ")" * 60,
        "async def view(request):\n    return " + "-" * 900 + "1",
        "async def view(request):\n    return x" + ".y" * 400,
        "async def a(): return await b()\nasync def b(): return await a()\n",
        "def f(x): return f(x)\nasync def a(): return f(1)\n",
        "async def a():\n" + "".join(f"    if x{i}:\n        y = {i}\n" for i in range(200)),
        "async def ä(β): return β\n",
        "import functools\nview = functools.lru_cache(functools.partial(lambda: 1))\nasync def a(): return view()\n",
    ],
    ids=["parentheses", "minuses", "attributes", "each other", "itself", "branches", "letters", "wrapped"],
)
def test_deep_and_circular_code_is_read(tmp_path: Any, text: str) -> None:
    assert [each.message for each in check(tmp_path, text) if each.id == "asgi.000"] == []


@pytest.mark.parametrize(
    "managers",
    ["closing(request) if request else closing(known)", "closing(**known)", "closing()", "closing(*known)"],
)
def test_a_context_manager_is_read_whatever_it_is_made_from(tmp_path: Any, managers: str) -> None:
    text = f"from contextlib import closing\nasync def view(request):\n    with {managers} as x:\n        return x.y\n"
    assert [each.message for each in check(tmp_path, text) if each.id == "asgi.000"] == []


def test_code_without_source_is_left_out(tmp_path: Any) -> None:
    """Made with exec(), or its file is gone or isn't Python's."""
    module = ModuleType("odd")
    run("import time\nasync def view(request): time.sleep(1)", "<string>", module.__dict__)
    for content in (None, "async def view(request:", "async \0", b"\xff\xfe async def".decode("latin1")):
        file = tmp_path / "gone.py"
        if content is not None:
            file.write_text(content)
        module.__dict__["__file__"] = str(file)
        assert [*source.check(Project(module))] == []  # type: ignore[arg-type]


def test_source_that_has_changed_since_is_left_out(tmp_path: Any) -> None:
    """A function is matched by its name, its line and its parameters."""
    file = tmp_path / "changed.py"
    file.write_text("def helper(a):\n    return a\n")
    namespace: dict[str, Any] = {}
    run(file.read_text(), str(file), namespace)
    file.write_text("def helper(b, c):\n    return b\n")
    function = namespace["helper"]
    assert isinstance(function, FunctionType)
    assert Sources().of(function) is None


def test_a_function_is_found_below_its_decorators(tmp_path: Any) -> None:
    text = "import functools\n@functools.lru_cache\n@functools.wraps(len)\ndef helper(a):\n    return a\n"
    file = tmp_path / "decorated.py"
    file.write_text(text)
    module = ModuleType("decorated")
    module.__dict__["__file__"] = str(file)
    run(text, str(file), module.__dict__)
    parsed = Sources().parsed(str(file))
    assert parsed is not None
    (function,) = in_module(module, parsed)
    assert function.live is not None
    assert isinstance(function.node, ast.FunctionDef)
