"""Settings of the databases: connections that stay open, pools, SQLite. (101 to 108)"""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from django_asgi_deploy.checks.databases import configured
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.frames import Place
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.settings_source import place_of_environment, settings_modules
from django_asgi_deploy.handlers.views import is_async

UNSAFE = "DJANGO_ALLOW_ASYNC_UNSAFE"
SERVERS = ("postgresql", "mysql", "oracle")
WITH_POOL = ("postgresql", "oracle")  # whose Django backends know OPTIONS["pool"]
PSYCOPG_POOL_SIZE = 4  # psycopg_pool: min_size=4, and max_size the same unless it is given
POOL_LINE = 'DATABASES["{alias}"]["OPTIONS"]["pool"] = {{"min_size": 2, "max_size": {size}}}'


def check(inspected: Inspected) -> Iterator[Finding]:
    """Of the settings alone; no database is asked."""
    yield from surviving((connections, atomic_requests, sqlite, async_unsafe), inspected)


def connections(inspected: Inspected) -> Iterator[Finding]:
    """At most one finding for each database: the worst."""
    unbounded = []
    for alias, vendor, config in configured():
        finding = _of_connections(inspected, alias, vendor, config)
        if finding:
            yield finding
        elif vendor in SERVERS and not _pool(vendor, config) and not _has_external_pool(config):
            unbounded.append(alias)
    if unbounded and inspected.handler != "pooled" and inspected.request_limit is None:
        yield _unbounded(inspected, unbounded)


def _of_connections(inspected: Inspected, alias: str, vendor: str, config: Mapping[str, Any]) -> Finding | None:
    stays_open = config.get("CONN_MAX_AGE", 0) != 0
    pool = _pool(vendor, config)
    name = f'DATABASES["{alias}"]'
    place = inspected.place_of_setting("DATABASES", alias, "CONN_MAX_AGE" if stays_open else "OPTIONS")
    if stays_open and pool:
        return found(
            102,
            f"{name} has a connection pool and CONN_MAX_AGE = {config['CONN_MAX_AGE']!r}: Django refuses every query "
            "with ImproperlyConfigured, at the first request and not at the start.",
            f"The pool keeps the connections: take CONN_MAX_AGE out of {name}.",
            object=name,
            place=place,
        )
    if stays_open:
        return _persistent(inspected, alias, config["CONN_MAX_AGE"], place)
    if vendor == "postgresql" and pool and (size := _size_not_chosen(pool)) and size < _wanted(inspected):
        return found(
            103,
            f"The pool of {name} has no max_size, so it never grows beyond {size} connections: one more query at the "
            "same time waits, and fails with PoolTimeout after 30 seconds.",
            f"As many as may query at once in one worker: {POOL_LINE.format(alias=alias, size=_wanted(inspected))}",
            object=name,
            place=place,
        )
    return None


def _persistent(inspected: Inspected, alias: str, age: Any, place: Place | None) -> Finding:
    name = f'DATABASES["{alias}"]'
    if inspected.handler == "pooled":
        most = inspected.workers * inspected.threads
        return found(
            101,
            f"{name} keeps its connections (CONN_MAX_AGE = {age!r}): fine under runasgi, where each of the pool's "
            f"threads has one, {most} at most. Under a server that gets Django's own handler, every request would "
            "leave one open.",
            f"Nothing to do, as long as the database allows {most} connections; checkasgi --probe asks it.",
            level="info",
            object=name,
            place=place,
        )
    return found(
        101,
        f"{name} keeps its connections (CONN_MAX_AGE = {age!r}), but Django's handler takes a new thread for every "
        "request and nobody closes what it leaves: connections pile up until the database refuses the next one.",
        f'Serve with the pooled handler (HANDLER = "pooled"), or take CONN_MAX_AGE out of {name}; on PostgreSQL use a '
        "pool instead.",
        object=name,
        place=place,
    )


def _unbounded(inspected: Inspected, aliases: list[str]) -> Finding:
    names = ", ".join(f'DATABASES["{alias}"]' for alias in aliases)
    return found(
        105,
        f"Nothing bounds the connections to {names}: every request that is being answered has its own thread and may "
        "hold one, so a rush of visitors runs into the database's limit.",
        'Serve with the pooled handler (HANDLER = "pooled"); or give PostgreSQL a pool in OPTIONS, or limit the '
        'requests with ASGI_DEPLOY["UVICORN"] = {"limit_concurrency": 64}.',
        object=names,
        place=inspected.place_of_setting("DATABASES", aliases[0]),
    )


def _pool(vendor: str, config: Mapping[str, Any]) -> Any:
    return vendor in WITH_POOL and (config.get("OPTIONS") or {}).get("pool")


def _size_not_chosen(pool: Any) -> int | None:
    """The size that a pool without max_size comes to; None if somebody has chosen it."""
    given = pool if isinstance(pool, dict) else {}
    return None if given.get("max_size") else int(given.get("min_size", PSYCOPG_POOL_SIZE))


def _wanted(inspected: Inspected) -> int:
    """How many connections one worker may want at a time, as far as that is bounded."""
    return inspected.threads if inspected.handler == "pooled" else inspected.request_limit or 32


def _has_external_pool(config: Mapping[str, Any]) -> bool:
    return (
        str(config.get("PORT", "")) == "6432"
        or any(word in str(config.get("HOST", "")).lower() for word in ("bouncer", "pooler", "pgcat", "proxysql"))
        or bool(config.get("DISABLE_SERVER_SIDE_CURSORS"))
    )


# ------------------------------------------------------------------ transactions


def atomic_requests(inspected: Inspected) -> Iterator[Finding]:
    for alias, _, config in configured():
        if not config.get("ATOMIC_REQUESTS"):
            continue
        broken = [
            route
            for route in inspected.routes
            if is_async(route.callback) and alias not in getattr(route.callback, "_non_atomic_requests", ())
        ]
        if not broken:
            continue
        paths = ", ".join(dict.fromkeys(route.path for route in broken))
        count = f"{len(broken)} asynchronous view{'s' * (len(broken) > 1)}"
        yield found(
            106,
            f'DATABASES["{alias}"] has ATOMIC_REQUESTS, which no asynchronous view can have: {count} answer 500, with '
            f"RuntimeError ({paths}).",
            f'Above each of them write @transaction.non_atomic_requests(using="{alias}"), or make it synchronous.',
            object=f'DATABASES["{alias}"]',
            place=inspected.place_of_setting("DATABASES", alias, "ATOMIC_REQUESTS"),
            chain=tuple(f"{route.path}: {inspected.name_of(route.callback)}" for route in broken),
        )


def sqlite(inspected: Inspected) -> Iterator[Finding]:
    if inspected.is_development and inspected.workers == 1:
        return
    for alias, vendor, config in configured():
        options = config.get("OPTIONS") or {}
        if vendor != "sqlite" or options.get("transaction_mode") or ":memory:" in str(config.get("NAME", ":memory:")):
            continue
        several = inspected.workers > 1
        writers = f"{inspected.workers} workers" if several else "several requests at once"
        yield found(
            107,
            f'DATABASES["{alias}"] is SQLite: where {writers} write, some visitors get "database is locked".',
            'In its OPTIONS: "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA '
            'journal_mode=WAL"; '
            "or take a database server.",
            level="warning" if several else "info",
            object=f'DATABASES["{alias}"]',
            place=inspected.place_of_setting("DATABASES", alias, "ENGINE"),
        )


# ------------------------------------------------------------------ the guard


def async_unsafe(inspected: Inspected) -> Iterator[Finding]:
    main = sys.modules.get("__main__")
    modules = [*settings_modules(inspected.settings_name), *([main] if main else [])]
    place = next((place for module in modules if (place := place_of_environment(module, UNSAFE))), None)
    if not os.environ.get(UNSAFE) and place is None:
        return
    yield found(
        108,
        f"{UNSAFE} is set: queries in asynchronous code no longer raise, they hold the event loop, and share a "
        "connection between requests that run at the same time.",
        f"Take {UNSAFE} out, and see with checkasgi which code needs sync_to_async().",
        object=UNSAFE,
        place=place,
    )
