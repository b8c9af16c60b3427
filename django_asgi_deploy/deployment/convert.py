"""From Django's ``asgi.py`` to ours: the import of ``get_asgi_application``, and not a byte more."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

THEIRS = "django.core.asgi"
OURS = "django_asgi_deploy.asgi"
FUNCTION = "get_asgi_application"

DOT = rb"(?:[ \t\f]|\\\r?\n)*\.(?:[ \t\f]|\\\r?\n)*"
SPACE = rb"(?:[ \t\f]|\\\r?\n)+"


class NotUnderstoodError(Exception):
    """The file isn't one whose import can be changed; the text says why, to go behind "because"."""


def converted(source: bytes) -> bytes:
    """``source`` with its import of Django's ``get_asgi_application`` changed to ours; unchanged if it is ours.

    Raises NotUnderstoodError.
    """
    encoding, text = _decoded(source)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise NotUnderstoodError(f"it isn't valid Python ({line}{reason})") from None
    edits = list(_edits(tree, text.encode()))
    if not edits:
        if _is_ours(tree):
            return source
        raise NotUnderstoodError(_what_it_does(tree))
    result = text.encode()
    for start, old, new in sorted(edits, reverse=True):
        result = result[:start] + new.encode() + result[start + len(old) :]
    return result.decode().encode(encoding)


def _decoded(source: bytes) -> tuple[str, str]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return encoding, source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise NotUnderstoodError(f"it isn't text ({error})") from None


# ------------------------------------------------------------------ what to change

Edit = tuple[int, bytes, str]  # offset in bytes, what is there, what comes there


def _edits(tree: ast.Module, source: bytes) -> Iterator[Edit]:
    """The changes; none if nothing of Django's is imported. Raises NotUnderstoodError."""
    lines = [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", source))]

    def dotted(node: ast.AST, before: bytes, name: str) -> tuple[int, bytes]:
        """Where and how ``name`` is written in ``node``, behind ``before``."""
        start = lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        written = re.compile(before + b"(" + DOT.join(part.encode() for part in name.split(".")) + b")")
        match = written.match(source, start)
        if match is None:
            raise NotUnderstoodError(f"line {node.lineno} is written in a way that isn't known")  # type: ignore[attr-defined]
        return match.start(1), match[1]

    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="django.core.asgi", level=0, names=names):
                _require_only_the_function([alias.name for alias in names], node)
                yield *dotted(node, rb"from" + SPACE, THEIRS), OURS
            case ast.ImportFrom(module="django.core", level=0, names=names) if "asgi" in [each.name for each in names]:
                if len(names) > 1:
                    raise NotUnderstoodError(f"line {node.lineno} imports more than asgi from django.core")
                name = names[0].asname or "asgi"
                _require_only_the_function(_attributes_of(tree, [name]), node)
                yield *dotted(node, rb"from" + SPACE, "django.core"), "django_asgi_deploy"
            case ast.Import(names=names):
                for alias in names:
                    if alias.name == THEIRS:
                        yield *dotted(alias, b"", THEIRS), OURS
                        name = alias.asname or THEIRS
                        _require_only_the_function(_attributes_of(tree, name.split(".")), node)
                        if not alias.asname:
                            yield from ((*dotted(use, b"", THEIRS), OURS) for use in _uses(tree))
                            _require_django_elsewhere(tree, node)


def _require_only_the_function(names: list[str], node: ast.Import | ast.ImportFrom) -> None:
    others = sorted({*names} - {FUNCTION})
    if others:
        raise NotUnderstoodError(f"line {node.lineno} also brings {', '.join(others)} from {THEIRS}")


def _require_django_elsewhere(tree: ast.Module, node: ast.Import) -> None:
    """``import django.core.asgi`` also gives the name ``django``: who else uses it needs an import of his own."""
    used = {id(each) for each in ast.walk(tree) if isinstance(each, ast.Name) and each.id == "django"}
    used -= {id(_root(use)) for use in _uses(tree)}
    imported = [alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names]
    if used and not any(name.partition(".")[0] == "django" and name != THEIRS for name in imported):
        raise NotUnderstoodError(f"what line {node.lineno} imports is also used for other things than {FUNCTION}")


def _uses(tree: ast.Module) -> Iterator[ast.Attribute]:
    """Each ``django.core.asgi`` in an expression."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == THEIRS:
            yield node


def _attributes_of(tree: ast.Module, name: list[str]) -> list[str]:
    """What is used of the module that is called ``name``, part by part."""
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == ".".join(name)
    ]


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


# ------------------------------------------------------------------ what it is instead


def _is_ours(tree: ast.Module) -> bool:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="django_asgi_deploy.asgi", level=0):
                return True
            case ast.ImportFrom(module="django_asgi_deploy", level=0, names=names):
                if "asgi" in [alias.name for alias in names]:
                    return True
            case ast.Import(names=names) if OURS in [alias.name for alias in names]:
                return True
    return False


def _what_it_does(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and FUNCTION in [alias.name for alias in node.names]:
            module = "." * node.level + (node.module or "")
            return f"line {node.lineno} imports {FUNCTION} from {module}, not from {THEIRS}"
    return f"it doesn't import {FUNCTION} from {THEIRS}"
