"""Instances of models: what their attributes and methods are, and which of them run SQL."""

import ast
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models.fields import files, related_descriptors
from django.db.models.query_utils import DeferredAttribute

from django_asgi_deploy.checks import events, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.orm import (
    GENERIC_RELATIONS,
    OF_MODELS,
    OF_USERS,
    OTHERS_CHOICE,
    default_manager_of,
    is_model,
    twin,
)
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import Bound, Coroutine, Known, Made, Record, Value


def record_attribute(reader: Reading, scope: Scope, node: ast.AST, record: Record, name: str) -> Value:
    if name in ("pk", "_state", "_meta", "__dict__"):
        return None
    if name == "__class__":
        return Known(record.model)
    raw = resolve.class_attribute(record.model, name)
    if isinstance(raw, related_descriptors.ForwardManyToOneDescriptor):
        if raw.field.remote_field.parent_link:
            return Record(raw.field.related_model)
        return _relation(reader, scope, node, record, name, raw.field.related_model, is_forward=True)
    if isinstance(raw, related_descriptors.ReverseOneToOneDescriptor):
        if getattr(raw.related, "parent_link", False):
            return Record(raw.related.related_model)
        return _relation(reader, scope, node, record, name, raw.related.related_model, is_forward=False)
    if resolve.is_a(type(raw), *GENERIC_RELATIONS):
        return _relation(reader, scope, node, record, name, None, is_forward=True)
    if isinstance(raw, related_descriptors.ReverseManyToOneDescriptor):
        return _related_manager(record, name, raw)
    if isinstance(raw, files.FileDescriptor):
        return Made(raw.field.attr_class)
    if isinstance(raw, DeferredAttribute) and name in record.deferred:
        record.deferred -= {name}
        scope.outcome.queries.append(name)
        reader.emit(scope, events.Relation(node, record, name, is_forward=False, is_field=True))
    if isinstance(raw, DeferredAttribute) or raw is resolve.MISSING:
        return None
    return reader.member(scope, node, record, name, raw)


def _relation(
    reader: Reading, scope: Scope, node: ast.AST, record: Record, name: str, model: Any, *, is_forward: bool
) -> Value:
    if not record.has(name):
        assert record.loaded is not None
        record.loaded.add(name)  # it is, from now on
        scope.outcome.queries.append(name)
        reader.emit(scope, events.Relation(node, record, name, is_forward))
    if not is_model(model):
        return None
    return Record(model, _below(record.loaded, name), _below(record.prefetched, name))


def _below(names: Iterable[str] | None, name: str) -> set[str] | None:
    prefix = f"{name}__"
    return None if names is None else {each[len(prefix) :] for each in names if each.startswith(prefix)}


def _related_manager(record: Record, name: str, raw: Any) -> Value:
    """``author.books``, ``book.fans``."""
    known: set[str] = set()
    if isinstance(raw, related_descriptors.ManyToManyDescriptor):
        model = raw.rel.related_model if raw.reverse else raw.rel.model
    else:
        is_generic = type(raw).__name__ == "ReverseGenericManyToOneDescriptor"
        model = raw.rel.model if is_generic else raw.rel.related_model
        known = set() if is_generic else {raw.field.name}
    if not is_model(model):
        return None
    evaluated = record.prefetched is None or name in record.prefetched
    manager = replace(default_manager_of(model), known=known, evaluated=evaluated)
    below = _below(record.prefetched, name)
    if below is not None and evaluated:
        manager.prefetch = manager.select = None if OTHERS_CHOICE in below else below
    return manager


def set_attribute(record: Record, name: str) -> None:
    """``book.author = ...``"""
    try:
        field = record.model._meta.get_field(name)
    except FieldDoesNotExist:
        return
    record.deferred -= {getattr(field, "attname", name)}
    if field.is_relation and record.loaded is not None:
        record.loaded.add(name)


def _refreshed(record: Record) -> None:
    """Its fields are fetched, and its relations will be fetched again."""
    record.deferred = frozenset()
    if record.loaded:
        record.loaded.clear()


def is_own_method(record: Record, name: str) -> bool:
    """A method that every model has, or every user, and that runs SQL, whoever overrides it."""
    if name in OF_MODELS:
        return True
    return name in OF_USERS and resolve.is_a(record.model, "django.contrib.auth.models.PermissionsMixin")


def call_on_record(reader: Reading, scope: Scope, node: ast.Call, bound: Bound, arguments: Arguments) -> Value:
    record = bound.owner
    assert isinstance(record, Record)
    text = text_of(node)
    if is_own_method(record, bound.name):
        scope.outcome.queries.append(text)
        reader.emit(scope, events.SyncQuery(node, text, twin(record.model, bound.name)))
        if bound.name == "refresh_from_db":
            _refreshed(record)
        return None
    if bound.name[:1] == "a" and is_own_method(record, bound.name[1:]):
        scope.outcome.queries.append(text)
        if bound.name == "arefresh_from_db":
            _refreshed(record)
        return Coroutine(None, node, text, is_query=True, uses_orm=True)
    function = resolve.plain_function(bound.function)
    return reader.enter_live(scope, node, function, arguments, record) if function else None
