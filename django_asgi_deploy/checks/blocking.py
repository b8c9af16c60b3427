"""Calls that block the event loop while a request is in flight, noted where they happen and let through.

blockbuster (the extra ``probe``) knows which calls block and when they don't; it would raise, so that the application
behaves in another way than in production. Here its test for each call is asked, and its answer noted.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django_asgi_deploy.checks.frames import outwards, place_of
from django_asgi_deploy.checks.probe import Blocked, current_exchange

# What a server does once, also if this is the first page that needs it: imports, and templates, which in development
# aren't cached.
ONCE = ("<frozen importlib", "/pkgutil.py", "/django/template/loaders/")
EXTRA = "pip install 'django-asgi-deploy[probe]'"


@contextmanager
def noted() -> Iterator[bool]:
    """Meanwhile, what blocks is noted in the request's answer. Gives whether blockbuster is installed."""
    try:
        blockbuster: Any = importlib.import_module("blockbuster")
    except ImportError:
        yield False
        return
    watching = blockbuster.BlockBuster()
    for function in watching.functions.values():
        function.can_block_predicate = _noting(function)
    watching.activate()
    try:
        yield True
    finally:
        watching.deactivate()


def _noting(function: Any) -> Callable[..., bool]:
    may_block: Callable[..., bool] = function.can_block_predicate

    def note(*args: Any, **kwargs: Any) -> bool:
        exchange = current_exchange()
        if exchange is not None and not may_block(*args, **kwargs):
            frames = [*outwards(sys._getframe(2))]
            if not any(_is_once(frame.f_code.co_filename) for frame in frames) and not any(
                _allows(function, frame.f_code.co_filename, frame.f_code.co_name) for frame in frames
            ):
                place = place_of(frames)
                if place:
                    exchange.answer.blocked[Blocked(function.full_name, place)] = None
        return True

    return note


def _is_once(filename: str) -> bool:
    path = filename.replace("\\", "/")
    return any(part in path for part in ONCE)


def _allows(function: Any, filename: str, name: str) -> bool:
    """Whether a frame on the stack makes the call harmless."""
    path = filename.replace("\\", "/")
    return any(path.endswith(end) and name in names for end, names in function.can_block_functions)
