"""The source text of loaded modules, and the first line in which a pattern stands."""

import functools
import re
import tokenize
from collections.abc import Iterable, Iterator
from types import ModuleType

from django_asgi_deploy.checks.frames import Place, relative


@functools.cache
def text_of(module: ModuleType) -> str:
    """The source; empty where there is none."""
    file = vars(module).get("__file__") or ""
    if not file.endswith(".py"):
        return ""
    try:
        with tokenize.open(file) as source:
            return source.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def first_place(modules: Iterable[ModuleType], pattern: re.Pattern[str]) -> Place | None:
    """Of the first match outside of comments."""
    return next(places(modules, pattern), None)


def places(modules: Iterable[ModuleType], pattern: re.Pattern[str]) -> Iterator[Place]:
    """Of all matches outside of comments, one for each line."""
    for module in modules:
        yield from _places_in(text_of(module), str(vars(module).get("__file__")), pattern)


def _places_in(text: str, file: str, pattern: re.Pattern[str]) -> Iterator[Place]:
    """Of the first match in each line, outside of comments."""
    if not pattern.search(text):  # nearly always
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = pattern.search(line.partition("#")[0])
        if match:
            yield Place(relative(file), number, column=match.start())
