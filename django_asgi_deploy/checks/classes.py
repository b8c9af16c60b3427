"""Views that are classes: their handlers, and what they override (301, 304, 307 to 309)."""

import ast
import types
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.transaction import Atomic, atomic
from django.views import View

from django_asgi_deploy.checks import answers, functions, wrapped
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.routes import ViewClass, is_rest_framework, overridden, owner_of, view_classes
from django_asgi_deploy.checks.views import atomic_around, atomic_finding, broken_chain, middleware_around
from django_asgi_deploy.checks.wrapped import Inner
from django_asgi_deploy.exceptions import is_users
from django_asgi_deploy.handlers.private import iscoroutinefunction

ON_OTHER_METHODS = ("http_method_not_allowed", "options")


def check(inspected: Inspected) -> Iterator[Finding]:
    for view in view_classes(inspected):
        if not is_rest_framework(view.cls):
            yield from surviving((_handlers, _answers_to_other_methods, _asynchronous_hooks), view)
    yield from mixed(inspected)


# ------------------------------------------------------------------ handlers


def _handlers(view: ViewClass) -> Iterator[Finding]:
    """get(), post() and the others, and what they are decorated with."""
    for name in view.handlers:
        handler = getattr(view.cls, name)
        atomic_view = atomic_around(handler)
        if atomic_view is not None:
            yield atomic_finding(
                atomic_view, f"{view.name}.{name}", f"{name.upper()} {view.paths} is answered with 500"
            )
        elif iscoroutinefunction(handler):
            yield from _decorated(view, name, handler)
        else:
            chain = _handler_chain(view.cls, name)
            if chain and not _is_hook(view.cls, chain[-1].thing):
                yield broken_chain(chain, f"{name.upper()} {view.paths}")


def _handler_chain(cls: Any, name: str) -> tuple[Inner, ...]:
    """As wrapped.coroutine_chain(), of a method; a decorator may take self for the request."""
    owner = owner_of(cls, name)
    function = functions.function_of(vars(owner).get(name)) if owner else None
    if function is None or functions.class_place(owner) is None:
        return ()
    bound = types.MethodType(function, object.__new__(cls))
    return wrapped.coroutine_chain(bound) or wrapped.coroutine_chain(function)


def _decorated(view: ViewClass, name: str, handler: Any) -> Iterator[Finding]:
    """An asynchronous handler with method_decorator(): it is marked as asynchronous, whatever the decorator makes."""

    async def handle(request: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    where = f"{name.upper()} {view.paths}"
    for decorator in wrapped.decorators_of(handler) or ():
        if decorator is atomic or isinstance(decorator, Atomic):
            yield atomic_finding(handler, f"{view.name}.{name}", f"{where} is answered with 500")
            continue
        try:
            made = decorator(handle)
        except Exception:  # it will say so itself, at the first request
            continue
        yield from middleware_around(made, wrapped.closure_of(handler).get("method"), where)
        chain = () if iscoroutinefunction(made) else wrapped.coroutine_chain(made)
        if len(chain) > 1 and "used" in chain[-1].roles:
            method = Inner(wrapped.closure_of(handler).get("method"), chain[-1].roles, is_wrapped=True)
            yield broken_chain((*chain[:-1], method), where)


# ------------------------------------------------------------------ overrides


def _answers_to_other_methods(view: ViewClass) -> Iterator[Finding]:
    for name in ON_OTHER_METHODS if view.cls.view_is_async else ():
        owner = owner_of(view.cls, name)
        function = functions.function_of(vars(owner)[name])
        if owner is View or function is None or iscoroutinefunction(function):
            continue
        node = functions.node_of(function)
        if node is None or not _answers_synchronously(function, node, view.cls, name):
            continue
        method = "OPTIONS" if name == "options" else "Any method that it doesn't handle"
        yield found(
            307,
            f"{owner.__qualname__}.{name}() is synchronous, and {view.name} is asynchronous: Django awaits what it "
            f"returns. {method} at {view.paths} is answered with 500 (TypeError).",
            f"async def {name}(self, request, *args, **kwargs), with await super().{name}(...) if you call it.",
            object=view.name,
            place=functions.place(function) or functions.class_place(view.cls),
        )


def _answers_synchronously(function: Any, node: Any, cls: Any, name: str) -> bool:
    calls = functions.calls(node, lambda each: functions.is_in_super(function, each, name))
    roles = {role for call in calls for role in functions.roles(function, node, call)}
    if "tested" in roles:
        return False
    return "used" in roles or answers.returns_response(function, node, cls)


def _asynchronous_hooks(view: ViewClass) -> Iterator[Finding]:
    """Methods that Django, or another package, calls as synchronous ones."""
    is_async = view.cls.view_is_async
    for name in dir(view.cls):
        owner = owner_of(view.cls, name)
        if owner is None or name.startswith("__"):
            continue
        function = functions.function_of(vars(owner)[name])
        if function is None or not iscoroutinefunction(function) or not _is_projects(function):
            continue
        if name in view.cls.http_method_names or (is_async and name not in ("setup", "as_view")):
            continue
        if not _overrides_synchronous(view.cls, owner, name) or _is_awaited_by_project(view.cls, name):
            continue
        yield found(
            308,
            f"{owner.__qualname__}.{name}() is a coroutine function, and the synchronous view {view.name} calls it "
            f"without await: {_consequence(name)} ({view.paths}).",
            f"Make {name}() synchronous, or the handlers asynchronous: async def get() with await self.{name}().",
            object=f"{view.name}.{name}",
            place=functions.place(function),
        )


def _consequence(name: str) -> str:
    if name in ("test_func", "has_permission"):
        return "a coroutine is always true, so everybody passes the test"
    return "it never runs, and the page fails (500) or shows a coroutine in its place"


def _is_projects(function: Any) -> bool:
    return is_users(function.__code__.co_filename)


def _is_hook(cls: Any, function: Any) -> bool:
    """Whether it is one of the methods that are reported for themselves."""
    name = getattr(function, "__name__", "")
    owner = owner_of(cls, name)
    return owner is not None and vars(owner)[name] is function and _overrides_synchronous(cls, owner, name)


def _overrides_synchronous(cls: Any, owner: Any, name: str) -> bool:
    base = overridden(cls, owner, name)
    return base is not None and not iscoroutinefunction(base)


def _is_awaited_by_project(cls: Any, name: str) -> bool:
    """Whether a method of the project awaits it, or gives it to async_to_sync()."""
    for base in cls.__mro__:
        for each in vars(base).values():
            function = functions.function_of(each)
            if function is None or function.__name__ == name or not _is_projects(function):
                continue
            node = functions.node_of(function)
            if node is not None and any(_awaits(part, name) for part in functions.own_nodes(node)):
                return True
    return False


def _awaits(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Await):
        return any(_is_own(each, name) for each in ast.walk(node))
    return isinstance(node, ast.Call) and any(_is_own(argument, name) for argument in node.args)


def _is_own(node: ast.AST, name: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


# ------------------------------------------------------------------ mixed handlers


def mixed(inspected: Inspected) -> Iterator[Finding]:
    """Of the project's own classes, in the URLconf or not: as_view() fails, which can be the import of the URLconf."""
    for module in inspected.modules:
        for cls in [*vars(module).values()]:
            if not isinstance(cls, type) or not issubclass(cls, View) or cls.__module__ != module.__name__:
                continue
            try:
                cls.view_is_async  # noqa: B018, it is computed
            except ImproperlyConfigured:
                yield found(
                    309,
                    f"{cls.__module__}.{cls.__qualname__} has asynchronous handlers ({_which(cls, True)}) and "
                    f"synchronous ones ({_which(cls, False)}): as_view() raises ImproperlyConfigured.",
                    "Make all handlers async def, or none.",
                    object=f"{cls.__module__}.{cls.__qualname__}",
                    place=functions.class_place(cls),
                )
            except Exception:
                continue


def _which(cls: Any, is_async: bool) -> str:
    names = [
        name
        for name in cls.http_method_names
        if name != "options" and hasattr(cls, name) and iscoroutinefunction(getattr(cls, name)) is is_async
    ]
    return " and ".join(f"{name}()" for name in names)
