"""From a name in the source to the live object behind it, without running any of the project's code.

No descriptor, property, ``__getattr__`` or lazy object is ever evaluated: only dictionaries are read. Of an object that
pretends to be of another class (``__class__`` is a property) even ``isinstance`` would run code: it counts as missing.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync, iscoroutinefunction

MISSING: Any = object()
_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__


def module_attribute(module: ModuleType, name: str) -> Any:
    """What the module holds by this name, or a submodule of it that is imported; MISSING if neither."""
    try:
        namespace = object.__getattribute__(module, "__dict__")
        found = namespace.get(name, MISSING)
        if found is MISSING:
            found = sys.modules.get(f"{namespace.get('__name__')}.{name}", MISSING)
    except Exception:  # a module in name only
        return MISSING
    return found


def class_attribute(cls: type, name: str, after: type | None = None) -> Any:
    """The raw attribute, unbound, from the first class of the MRO (those after ``after``) that has it; or MISSING."""
    for base in bases(cls, after):
        if name in base.__dict__:
            return _plain(base.__dict__[name])
    return MISSING


def is_proxy(thing: Any) -> bool:
    """Whether it pretends to be something else, such as a lazy object."""
    return any("__class__" in base.__dict__ for base in _mro(type(thing)) if base is not object)


def _plain(thing: Any) -> Any:
    return MISSING if is_proxy(thing) else thing


def bases(cls: type, after: type | None = None) -> tuple[type, ...]:
    """The MRO, or what of it comes after a class."""
    mro = _mro(cls)
    return mro[mro.index(after) + 1 :] if after in mro else mro


def defining_class(cls: type, name: str) -> type | None:
    return next((base for base in _mro(cls) if name in base.__dict__), None)


def instance_attribute(instance: Any, name: str) -> Any:
    """The raw attribute of an instance or of its class; MISSING if none can be seen without running code."""
    return _plain(inspect.getattr_static(instance, name, MISSING))


def namespace(instance: Any) -> dict[str, Any]:
    """The instance's own attributes."""
    try:
        found = object.__getattribute__(instance, "__dict__")
    except Exception:
        return {}
    return found if isinstance(found, dict) else {}


def is_a(cls: Any, *names: str) -> bool:
    """Whether the class or one of its bases has one of these full names; nothing is imported to know that."""
    return isinstance(cls, type) and any(full_name(base) in names for base in _mro(cls))


def full_name(thing: Any) -> str:
    """``package.module.Class`` of a class or a function; empty for what has no such name."""
    try:
        module = inspect.getattr_static(thing, "__module__", None)
        qualname = type.__getattribute__(thing, "__qualname__") if isinstance(thing, type) else thing.__qualname__
    except Exception:
        return ""
    module = thing.__module__ if not isinstance(module, str) and isinstance(thing, FunctionType | type) else module
    return f"{module}.{qualname}" if isinstance(module, str) and isinstance(qualname, str) else ""


def plain_function(thing: Any) -> FunctionType | None:
    """The Python function in a method, a static or class method, or a cache; None if there is none, or another's."""
    for _ in range(20):
        if is_proxy(thing):
            return None
        if isinstance(thing, FunctionType):
            return thing
        if isinstance(thing, staticmethod | classmethod | MethodType):
            thing = thing.__func__
        elif isinstance(thing, functools._lru_cache_wrapper):
            thing = namespace(thing).get("__wrapped__")
        else:
            return None
    return None


def wrapped_by(thing: Any) -> Iterator[Any]:
    """The thing, and what it wraps according to ``__wrapped__``, from outside."""
    seen: list[Any] = []
    while thing is not None and not is_proxy(thing) and not any(thing is each for each in seen) and len(seen) < 50:
        seen.append(thing)
        yield thing
        if isinstance(thing, staticmethod | classmethod | MethodType):
            thing = thing.__func__
        elif isinstance(thing, functools.partial | SyncToAsync):
            thing = thing.func
        elif isinstance(thing, AsyncToSync):
            thing = thing.awaitable
        else:
            thing = namespace(thing).get("__wrapped__")


def is_coroutine_function(thing: Any) -> bool:
    """Whether calling it gives a coroutine: as asyncio, asgiref and Django see it."""
    try:
        return isinstance(thing, FunctionType | MethodType | functools.partial) and iscoroutinefunction(thing)
    except Exception:
        return False


def is_generator_function(thing: FunctionType) -> bool:
    return bool(thing.__code__.co_flags & inspect.CO_GENERATOR)


def closure_of(function: FunctionType) -> dict[str, Any]:
    """The values of the variables that the function has from outside; those not set yet are left out."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
        if is_proxy(found[name]):
            del found[name]
    return found


class Names:
    """Objects by their full names: compared by identity where they are imported, and never imported for that."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._by_identity: dict[int, tuple[Any, str]] = {}
        self._missing = set(self._names)
        self._modules = 0

    def name_of(self, thing: Any) -> str | None:
        """The name under which this object is listed."""
        if len(sys.modules) != self._modules:
            self._look_up()
        found = self._by_identity.get(id(thing))
        return found[1] if found and found[0] is thing else None

    def has_symbol(self, name: str) -> bool:
        return name in self._names

    def _look_up(self) -> None:
        self._modules = len(sys.modules)
        for name in [*self._missing]:
            module, _, attribute = name.rpartition(".")
            if (live := sys.modules.get(module)) is not None:
                self._missing.discard(name)
                if (thing := module_attribute(live, attribute)) is not MISSING:
                    self._by_identity[id(thing)] = (thing, name)
