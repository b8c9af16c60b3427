"""Asynchronous overrides of what is called as synchronous code: in models, forms, the admin and serializers (308)."""

import sys
from collections.abc import Iterator
from typing import Any

from django.db.models import Model
from django.forms.forms import BaseForm
from django.forms.formsets import BaseFormSet

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.routes import overridden, owner_of
from django_asgi_deploy.exceptions import is_users
from django_asgi_deploy.handlers.private import iscoroutinefunction

# By module, as far as it is imported: its bases, and what one calls their subclasses.
OTHERS = {
    "django.contrib.admin.options": (("BaseModelAdmin",), "the admin"),
    "django.contrib.admin.sites": (("AdminSite",), "the admin"),
    "rest_framework.serializers": (("BaseSerializer",), "Django REST framework"),
    "rest_framework.permissions": (("BasePermission",), "Django REST framework"),
    "rest_framework.authentication": (("BaseAuthentication",), "Django REST framework"),
}
# What decides who may do what: a coroutine is true.
PERMISSIONS = {"has_permission", "has_object_permission", "has_module_permission", "has_add_permission"} | {
    f"has_{action}_permission" for action in ("change", "delete", "view")
}


def check(inspected: Inspected) -> Iterator[Finding]:
    bases = dict(_bases())
    for module in inspected.modules:
        for cls in [*vars(module).values()]:
            if isinstance(cls, type) and cls.__module__ == module.__name__:
                caller = next((name for base, name in bases.items() if issubclass(cls, base)), None)
                if caller is not None:
                    yield from _asynchronous_overrides(cls, caller)


def _bases() -> Iterator[tuple[type, str]]:
    yield from ((Model, "Django"), (BaseForm, "Django"), (BaseFormSet, "Django"))
    for module, (names, caller) in OTHERS.items():
        loaded = sys.modules.get(module)
        yield from ((vars(loaded)[name], caller) for name in names if loaded and name in vars(loaded))


def _asynchronous_overrides(cls: Any, caller: str) -> Iterator[Finding]:
    for name, value in [*vars(cls).items()]:
        function = functions.function_of(value)
        if function is None or not iscoroutinefunction(function) or not is_users(function.__code__.co_filename):
            continue
        if name.startswith("__") or not (_is_of_a_field(cls, name) or _overrides_synchronous(cls, name)):
            continue
        consequence = "a coroutine is always true, so everybody may" if name in PERMISSIONS else "it never runs"
        yield found(
            308,
            f"{cls.__qualname__}.{name}() is a coroutine function, and {caller} calls it without await: {consequence}.",
            f"Make {name}() synchronous.",
            object=f"{cls.__module__}.{cls.__qualname__}.{name}",
            place=functions.place(function),
        )


def _overrides_synchronous(cls: Any, name: str) -> bool:
    base = overridden(cls, owner_of(cls, name), name)
    return base is not None and not iscoroutinefunction(base) and not is_users(base.__code__.co_filename)


def _is_of_a_field(cls: Any, name: str) -> bool:
    """clean_number() of a form, validate_number() of a serializer."""
    verb, _, field = name.partition("_")
    fields = getattr(cls, "base_fields", {}) if verb == "clean" else getattr(cls, "_declared_fields", None)
    return verb in ("clean", "validate") and fields is not None and (field in fields or verb == "validate")
