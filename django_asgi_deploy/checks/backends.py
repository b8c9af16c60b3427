"""The classes behind the project's caches, storages, mail, sessions and passwords, without making any of them."""

import sys
from types import ModuleType
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import BaseCache
from django.core.files.storage import Storage
from django.utils.module_loading import import_string

from django_asgi_deploy.checks import resolve

HARMLESS_CACHES = ("django.core.cache.backends.locmem.LocMemCache", "django.core.cache.backends.dummy.DummyCache")
HARMLESS_STORAGES = ("django.core.files.storage.memory.InMemoryStorage",)
HARMLESS_MAIL = tuple(f"django.core.mail.backends.{name}.EmailBackend" for name in ("locmem", "dummy"))
QUICK_HASHERS = ("django.contrib.auth.hashers.MD5PasswordHasher",)


def cache(alias: str) -> type:
    found = _class(settings.CACHES.get(alias, {}).get("BACKEND"))
    return found or BaseCache


def storage(alias: str) -> type:
    found = _class(settings.STORAGES.get(alias, {}).get("BACKEND"))
    return found or Storage


def mail() -> str:
    """The full name of the class that sends mail by default."""
    mailers: dict[str, Any] = getattr(settings, "MAILERS", None) or {}  # Django 6.1 and above
    return str(mailers.get("default", {}).get("BACKEND") or settings.EMAIL_BACKEND)


def channel_layer(alias: str = "default") -> type | None:
    """Of Channels; the one in memory where the configured one isn't imported: their methods are the same."""
    layers: dict[str, Any] = getattr(settings, "CHANNEL_LAYERS", None) or {}
    return _class(layers.get(alias, {}).get("BACKEND")) or _class("channels.layers.InMemoryChannelLayer")


def session_store() -> type | None:
    return _class(f"{settings.SESSION_ENGINE}.SessionStore")


def session_engine() -> str:
    return str(settings.SESSION_ENGINE)


def hasher() -> str:
    """The full name of the class that hashes new passwords."""
    return str(next(iter(settings.PASSWORD_HASHERS), ""))


def _class(path: str | None) -> type | None:
    """The class, if its module is imported, or Django's own."""
    if not path:
        return None
    module, _, name = path.rpartition(".")
    if path.startswith("django."):
        try:
            found = import_string(path)
        except Exception:  # it needs a package or an app that isn't there; Django says so itself
            return None
    else:
        live: ModuleType | None = sys.modules.get(module)
        found = resolve.module_attribute(live, name) if live else None
    return found if isinstance(found, type) else None
