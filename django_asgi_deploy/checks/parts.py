"""What an ASGI application is made of: what it wraps, and what that wraps."""

from collections.abc import Iterator
from types import FunctionType
from typing import Any

INNER = ("application", "inner", "app")  # how middleware calls what it wraps
MOST = 50


def parts_of(app: Any) -> Iterator[Any]:
    """The application itself, and what can be reached from it: attributes with the usual names, Channels' mapping by
    protocol, and what a function has in its closure or takes from its module.
    """
    waiting, seen = [app], set[int]()
    while waiting and len(seen) < MOST:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [inner for inner in _inner(each) if callable(inner) and not isinstance(inner, type)]


def _inner(app: Any) -> Iterator[Any]:
    if isinstance(app, FunctionType):
        code = app.__code__
        yield from (app.__globals__[name] for name in code.co_names if name in app.__globals__)
        for cell in app.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        return
    attributes = getattr(app, "__dict__", {})
    yield from (attributes[name] for name in INNER if name in attributes)
    mapping = attributes.get("application_mapping")
    if isinstance(mapping, dict):
        yield from mapping.values()
