"""The URLconf by callback, and by class: each once, with the paths that lead to it."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django_asgi_deploy.checks import functions, wrapped
from django_asgi_deploy.checks.inspected import Inspected, Route

MOST_PATHS = 3  # that a message names


def by_callback(routes: tuple[Route, ...]) -> list[tuple[Any, str]]:
    """Each callback once, with the paths that lead to it, in words."""
    callbacks: dict[int, tuple[Any, list[str]]] = {}
    for route in routes:
        callbacks.setdefault(id(route.callback), (route.callback, []))[1].append(route.path)
    return [(callback, in_words(paths)) for callback, paths in callbacks.values()]


def in_words(paths: list[str]) -> str:
    shown = ", ".join(dict.fromkeys(paths[:MOST_PATHS]))
    return shown if len(paths) <= MOST_PATHS else f"{shown} and {len(paths) - MOST_PATHS} more"


@dataclass(frozen=True)
class ViewClass:
    """A class in the URLconf, and where it is."""

    cls: Any
    paths: str  # in words

    @property
    def name(self) -> str:
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    @property
    def handlers(self) -> list[str]:
        return [name for name in self.cls.http_method_names if hasattr(self.cls, name)]


def view_classes(inspected: Inspected) -> Iterator[ViewClass]:
    found: dict[Any, list[str]] = {}
    for callback, paths in by_callback(inspected.routes):
        for layer in wrapped.layers(callback):
            cls = getattr(layer, "view_class", None) or getattr(layer, "cls", None)
            if isinstance(cls, type) and hasattr(cls, "view_is_async"):
                found.setdefault(cls, []).append(paths)
                break
    for cls, paths_of_all in found.items():
        yield ViewClass(cls, in_words(paths_of_all))


def owner_of(cls: Any, name: str) -> Any:
    return next((each for each in cls.__mro__ if name in vars(each)), None)


def overridden(cls: Any, owner: Any, name: str) -> Any:
    """The function that the owner's method of that name overrides; None without one."""
    for base in cls.__mro__[cls.__mro__.index(owner) + 1 :]:
        function = functions.function_of(vars(base).get(name))
        if function is not None:
            return function
    return None


def is_rest_framework(cls: Any) -> bool:
    views = sys.modules.get("rest_framework.views")
    return views is not None and issubclass(cls, views.APIView)
