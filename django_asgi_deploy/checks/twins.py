"""
Overrides that asynchronous code passes by (314).

Django has many methods twice, ``authenticate()`` and ``aauthenticate()``. Where the asynchronous one doesn't call the
other, but does the work itself, a subclass that overrides only the synchronous one is ignored by asynchronous code.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils.module_loading import import_string

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.handlers.private import iscoroutinefunction

# Of a manager: by which asynchronous code finds the user who logs in.
OF_MANAGERS = {"get_by_natural_key"}


def check(inspected: Inspected) -> Iterator[Finding]:
    if apps.is_installed("django.contrib.auth"):
        for path in settings.AUTHENTICATION_BACKENDS:
            yield from _bypassed(import_string(path), "an authentication backend")
        user = get_user_model()
        yield from _bypassed(user, "the user model")
        yield from _bypassed(type(user._default_manager), "the user model's manager", OF_MANAGERS)
    if apps.is_installed("django.contrib.sessions"):
        engine = import_module(settings.SESSION_ENGINE)
        yield from _bypassed(engine.SessionStore, "the session engine")


def _bypassed(cls: Any, what: str, only: set[str] | None = None) -> Iterator[Finding]:
    for name, override, twin in bypassed_methods(cls):
        if only is not None and name not in only:
            continue
        owner = override.__qualname__.rpartition(".")[0]
        yield found(
            314,
            f"{override.__module__}.{owner}.{name}() of {what} is passed by in asynchronous code: a{name}() is still "
            f"that of {twin.__module__}.{twin.__qualname__.rpartition('.')[0]}, which doesn't call {name}(). What your "
            f"method refuses or adds doesn't hold {_where(name)}.",
            f"Override a{name}() as well, with: async def a{name}(self, ...): return await "
            f"sync_to_async(self.{name})(...)",
            object=f"{cls.__module__}.{cls.__qualname__}.{name}",
            place=functions.place(override) or functions.class_place(cls),
        )


def _where(name: str) -> str:
    return {
        "authenticate": "for a login through aauthenticate()",
        "get_user": "for request.auser() and for every asynchronous view behind login_required",
        "check_password": "for a login through aauthenticate()",
        "get_by_natural_key": "for a login through aauthenticate()",
    }.get(name, f"wherever a{name}() is awaited")


def bypassed_methods(cls: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name, the override, the twin that doesn't know it) of each such method of a class."""
    for twin_name in dir(cls):
        name = twin_name[1:]
        if not twin_name.startswith("a") or name.startswith("_") or not hasattr(cls, name):
            continue
        twin_owner, owner = _owner(cls, twin_name), _owner(cls, name)
        twin, override = (
            functions.function_of(vars(twin_owner).get(twin_name)) if twin_owner else None,
            functions.function_of(vars(owner).get(name)) if owner else None,
        )
        if twin is None or override is None or not iscoroutinefunction(twin) or iscoroutinefunction(override):
            continue
        order = cls.__mro__
        if order.index(owner) >= order.index(twin_owner) or override.__module__.startswith("django."):
            continue
        if name not in _mentioned(twin) and not _only_delegates(override, name):
            yield name, override, twin


def _owner(cls: Any, name: str) -> Any:
    return next((each for each in cls.__mro__ if name in vars(each)), None)


def _mentioned(twin: Any) -> set[str]:
    """The names that its code and the functions inside it use."""
    found: set[str] = set()
    codes = [twin.__code__]
    while codes:
        code = codes.pop()
        found |= {*code.co_names}
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return found


def _only_delegates(override: Any, name: str) -> bool:
    """Whether all it does is to call the method that it overrides."""
    node = functions.node_of(override)
    if node is None or not hasattr(node, "body") or not isinstance(node.body, list):
        return False
    body = [each for each in node.body if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))]
    return (
        len(body) == 1
        and isinstance(body[0], ast.Return)
        and isinstance(body[0].value, ast.Call)
        and functions.is_super_call(body[0].value, name)
    )
