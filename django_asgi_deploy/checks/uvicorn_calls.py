"""Where a script of the project starts uvicorn by itself: ``uvicorn.run(...)``, ``uvicorn.Config(...)``."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django_asgi_deploy.checks.deployment_files import BIGGEST_BYTES, DEVELOPMENT, FOLDERS
from django_asgi_deploy.checks.frames import Place, relative

STARTS = ("uvicorn.run", "uvicorn.Config")
FOLDERS_OF_SCRIPTS = (*FOLDERS, "bin")


@dataclass(frozen=True)
class Call:
    """A call that serves visitors, not a developer."""

    place: Place
    given: frozenset[str]  # the names of its arguments
    is_open: bool  # there may be more of them: ``**options``


def calls(root: Path) -> Iterator[Call]:
    for folder in (root, *(root / name for name in FOLDERS_OF_SCRIPTS)):
        for file in sorted(folder.glob("*.py")):
            if not DEVELOPMENT.search(file.name) and file.stat().st_size <= BIGGEST_BYTES:
                yield from _calls_in(file)


def _calls_in(file: Path) -> Iterator[Call]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if "uvicorn" not in text:
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # Python will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in STARTS and not _reloads(node):
            names = [keyword.arg for keyword in node.keywords]
            place = Place(relative(file), node.lineno, column=node.col_offset)
            yield Call(place, frozenset(name for name in names if name), None in names)


def _reloads(node: ast.Call) -> bool:
    """Which is for development only."""
    return any(
        keyword.arg == "reload" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in node.keywords
    )
