"""Live objects as values, proxies as what they stand for; and what a name stands for after several ways met."""

from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync
from django.core.cache import CacheHandler, caches
from django.core.files.storage import default_storage, storages
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.manager import BaseManager
from django.utils.connection import ConnectionProxy

from django_asgi_deploy.checks import backends, known, orm, resolve
from django_asgi_deploy.checks.values import Known, Made, Query, Record, Value, Wrapped


def live(thing: Any) -> Value:
    """A live object; proxies and lazy objects as what they stand for, or not at all."""
    cls = type(thing)
    if thing is default_storage:
        return Made(backends.storage("default"))
    if resolve.is_proxy(thing):
        return None
    if isinstance(thing, QuerySet):
        return orm.query_of(thing)
    if isinstance(thing, BaseManager):
        return orm.manager_of(resolve.namespace(thing).get("model"), thing)
    if cls is ConnectionProxy:
        names = resolve.namespace(thing)
        return _connection(names.get("_connections"), names.get("_alias"))
    if isinstance(thing, SyncToAsync):
        return known.wrapped(thing)
    if isinstance(thing, AsyncToSync):
        return Wrapped(Known(thing.awaitable), "async_to_sync")
    return Known(thing)


def _connection(handler: Any, alias: Any) -> Value:
    if isinstance(handler, CacheHandler):
        return Made(backends.cache(str(alias)))
    return Made(BaseDatabaseWrapper) if handler is connections else None


def item_of(thing: Any, key: Any) -> Value:
    if thing is caches or thing is connections:
        return _connection(thing, key)
    if thing is storages:
        return Made(backends.storage(str(key)))
    return live(thing[key]) if type(thing) is dict and isinstance(key, str) and key in thing else None


def merged(values: Iterable[Value]) -> Value:
    """What a name stands for that may be any of these: nothing, unless they agree."""
    rest = [each for each in values if not (isinstance(each, Known) and each.object is None)]
    if not rest or any(each is None for each in rest):
        return None
    first = rest[0]
    if all(each is first for each in rest):
        return first
    if isinstance(first, Record):
        return _merged_records(first, rest)
    if isinstance(first, Query) and all(isinstance(each, Query) and each.model is first.model for each in rest):
        evaluated = any(isinstance(each, Query) and each.evaluated for each in rest)
        return Query(first.model, first.type, first.is_manager, None, None, evaluated=evaluated, rows=first.rows)
    if isinstance(first, Made) and all(isinstance(each, Made) and each.type is first.type for each in rest):
        return Made(first.type)
    if isinstance(first, Known) and all(isinstance(each, Known) and each.object is first.object for each in rest):
        return first
    return None


def _merged_records(first: Record, rest: list[Value]) -> Value:
    loaded: set[str] | None = None if first.loaded is None else {*first.loaded}
    for each in rest:
        if not isinstance(each, Record) or each.model is not first.model:
            return None
        if each.loaded is None:
            loaded = None
        elif loaded is not None:
            loaded |= each.loaded
    return Record(first.model, loaded, None)


def joined(ends: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """The names after branches that came to these."""
    if len(ends) == 1:
        return ends[0]
    names = {name for each in ends for name in each}
    return {name: merged([each[name] for each in ends if name in each]) for name in names}
