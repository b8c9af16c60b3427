"""Which of the project's functions run on the event loop."""

import functools
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from django_asgi_deploy.checks import resolve
from django_asgi_deploy.checks.definitions import Function, Sources, in_module


def coroutine_functions(modules: Iterable[ModuleType], sources: Sources) -> Iterator[Function]:
    """Every function in the modules that is asynchronous, or that holds one which is."""
    for module in modules:
        parsed = sources.parsed(vars(module)["__file__"], only_with="async ")
        functions = [*in_module(module, parsed)] if parsed else []
        inside = {each.qualname.partition(".<locals>")[0] for each in functions if each.is_async}
        yield from (each for each in functions if "<locals>" not in each.qualname and each.qualname in inside)


def cached(function: Function) -> bool:
    """Whether a cache keeps the coroutines of a coroutine function, which can be awaited only once."""
    name = function.qualname.rpartition(".")[2]
    found = resolve.class_attribute(function.owner, name) if function.owner else function.globals.get(name)
    return function.is_async and any(_keeps(each) for each in resolve.wrapped_by(found))


def _keeps(thing: Any) -> bool:
    if isinstance(thing, functools._lru_cache_wrapper):
        return resolve.is_coroutine_function(resolve.namespace(thing).get("__wrapped__"))
    if type(thing).__name__ == "cached_property":
        return resolve.is_coroutine_function(resolve.namespace(thing).get("func"))
    return False
