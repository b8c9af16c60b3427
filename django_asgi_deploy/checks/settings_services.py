"""Settings of what stands beside the database: caches, sessions, channel layers, tasks. (109 to 111, 118, 122)"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import django
from django.apps import apps
from django.conf import global_settings
from django.conf import settings as django_settings
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.module_loading import import_string

from django_asgi_deploy.checks import async_cache
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.sources import first_place

SESSIONS = "django.contrib.sessions.backends."
IN_MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
ENQUEUE = re.compile(r"\.a?enqueue\(")
USE_OF_CACHE = re.compile(r"\bcache\.a?(set|add|get_or_set|set_many|incr)\(|@cache_page\(|\bcache_page\(.*\)\(")


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((local_memory, cache_threads, file_sessions, channel_layers, immediate_tasks), inspected)


# ------------------------------------------------------------------ caches


def local_memory(inspected: Inspected) -> Iterator[Finding]:
    sessions = _session_cache()
    for alias in _caches():
        if not issubclass(_class_of_cache(alias), LocMemCache):
            continue
        name = f'CACHES["{alias}"]'
        place = inspected.place_of_setting("CACHES", alias)
        several = inspected.workers > 1
        if alias == sessions:
            level, what = (
                ("error", "a visitor who is logged in here is a stranger to the next worker")
                if several
                else (
                    "warning",
                    "every restart logs all visitors out, and with a second worker they are strangers to it",
                )
            )
            place = place or inspected.place_of_setting("SESSION_ENGINE")
        elif alias == "default" and _throttles():
            level, what = (
                ("error" if several else "info"),
                "every worker counts anew what Django REST framework throttles",
            )
        elif inspected.is_development and not several:
            continue
        elif _is_explicit(alias) or (several and (_pages_are_cached(alias) or _is_used(inspected, alias))):
            level, what = (
                ("warning" if several else "info"),
                "what one worker puts there or deletes, the others don't see",
            )
        else:
            continue
        yield found(
            109,
            f"{name} is in the memory of each worker: {what}.",
            "Take django.core.cache.backends.redis.RedisCache, Memcached or the database.",
            level=level,  # type: ignore[arg-type]
            object=name,
            place=place,
        )


def cache_threads(inspected: Inspected) -> Iterator[Finding]:
    slow = {alias for alias in _caches() if _is_djangos_and_slow(_class_of_cache(alias))}
    calls = [(alias, place) for alias, place in async_cache.calls(inspected.modules if slow else ()) if alias in slow]
    if calls:
        names = ", ".join(f'CACHES["{alias}"]' for alias in dict.fromkeys(alias for alias, _ in calls))
        yield found(
            122,
            f"The asynchronous methods of {names} are Django's: each is a synchronous call in the request's thread, so "
            "that several in asyncio.gather() run one after another.",
            "Nothing to do; to read several keys at once, use aget_many().",
            object=names,
            place=calls[0][1],
        )


def _caches() -> Mapping[str, Any]:
    caches: Mapping[str, Any] = django_settings.CACHES or {}
    return caches


def _class_of_cache(alias: str) -> type:
    try:
        backend = import_string(_caches()[alias].get("BACKEND", ""))
    except ImportError:  # Django says so
        return object
    return backend if isinstance(backend, type) else object


def _is_djangos_and_slow(backend: type) -> bool:
    return (
        issubclass(backend, BaseCache)
        and not issubclass(backend, LocMemCache | DummyCache)
        and getattr(backend, "aget", None) is BaseCache.aget
    )


def _is_explicit(alias: str) -> bool:
    is_default = django_settings.CACHES == global_settings.CACHES
    return alias in _caches() and not is_default


def _session_cache() -> str | None:
    if apps.is_installed("django.contrib.sessions") and _sessions_are("cache", "cached_db"):
        return str(django_settings.SESSION_CACHE_ALIAS)
    return None


def _sessions_are(*backends: str) -> bool:
    """Whether the engine is one of Django's with these names, or its store derives from one of theirs."""
    engine = str(django_settings.SESSION_ENGINE)
    if engine.startswith(SESSIONS):
        return engine in [SESSIONS + name for name in backends]
    try:
        store = import_string(f"{engine}.SessionStore")
        return issubclass(store, tuple(import_string(f"{SESSIONS}{name}.SessionStore") for name in backends))
    except (ImportError, TypeError, RuntimeError):  # no such store, or its model isn't installed: Django says so
        return False


def _throttles() -> bool:
    return bool((getattr(django_settings, "REST_FRAMEWORK", None) or {}).get("DEFAULT_THROTTLE_CLASSES"))


def _is_used(inspected: Inspected, alias: str) -> bool:
    """Whether the project's own code keeps something in the default cache."""
    return alias == "default" and first_place(inspected.modules, USE_OF_CACHE) is not None


def _pages_are_cached(alias: str) -> bool:
    middleware = "django.middleware.cache.UpdateCacheMiddleware"
    return middleware in django_settings.MIDDLEWARE and alias == django_settings.CACHE_MIDDLEWARE_ALIAS


# ------------------------------------------------------------------ sessions


def file_sessions(inspected: Inspected) -> Iterator[Finding]:
    if _sessions_are("file"):
        yield found(
            110,
            "Sessions are files, and the session's asynchronous methods read and write them on the event loop: all "
            "other visitors wait for the disk meanwhile.",
            'SESSION_ENGINE = "django.contrib.sessions.backends.cached_db", or another that isn\'t files.',
            object="SESSION_ENGINE",
            place=inspected.place_of_setting("SESSION_ENGINE"),
        )


# ------------------------------------------------------------------ channel layers


def channel_layers(inspected: Inspected) -> Iterator[Finding]:
    if inspected.is_development and inspected.workers == 1:
        return
    for alias, config in (getattr(django_settings, "CHANNEL_LAYERS", None) or {}).items():
        if _is_in_memory(str(config.get("BACKEND"))):
            yield found(
                111,
                f'CHANNEL_LAYERS["{alias}"] is in the memory of each worker: what is sent to a group reaches only the '
                "visitors of the same worker, and nothing comes from management commands or tasks.",
                'pip install channels_redis; in CHANNEL_LAYERS: "BACKEND": "channels_redis.core.RedisChannelLayer".',
                object=f'CHANNEL_LAYERS["{alias}"]',
                place=inspected.place_of_setting("CHANNEL_LAYERS", alias),
            )


def _is_in_memory(path: str) -> bool:
    """Channels' layer itself, or one that derives from it."""
    if path == IN_MEMORY_LAYER:
        return True
    try:
        return issubclass(import_string(path), import_string(IN_MEMORY_LAYER))
    except (ImportError, TypeError):  # Channels says so
        return False


# ------------------------------------------------------------------ tasks


def immediate_tasks(inspected: Inspected) -> Iterator[Finding]:
    if django.VERSION < (6, 0):
        return
    for alias, config in (django_settings.TASKS or {}).items():
        if config.get("BACKEND") != IMMEDIATE:
            continue
        place = first_place(inspected.modules, ENQUEUE)
        if place is None:
            return
        yield found(
            118,
            f'TASKS["{alias}"] runs every task at once, inside the request that enqueues it: the visitor waits until '
            "it is "
            "done, and sees the page fail if it fails.",
            "Install a backend with workers of its own, such as django-tasks' DatabaseBackend, and name it in TASKS.",
            level="info" if inspected.is_development else "warning",
            object=f'TASKS["{alias}"]',
            place=place,
        )
