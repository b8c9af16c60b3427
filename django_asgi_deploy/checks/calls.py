"""What a call gives, and what it runs: of functions, methods, classes and everything that wraps them."""

import ast
import dataclasses
import functools
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from asgiref.sync import AsyncToSync, SyncToAsync
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_asgi_deploy.checks import backends, events, known, known_django, known_iterables, orm, records, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import (
    Bound,
    Coroutine,
    Inner,
    Known,
    Made,
    Mapping,
    Parent,
    Query,
    Record,
    Request,
    Session,
    Several,
    Symbol,
    Value,
    Wrapped,
)


def call(reader: Reading, scope: Scope, node: ast.Call, callee: Value, arguments: Arguments) -> Value:
    """The value of a call; the rules have seen it already."""
    if isinstance(callee, Symbol):
        return Symbol(f"{callee.name}()")
    if isinstance(callee, Inner):
        return reader.enter_inner(scope, node, callee, arguments)
    if isinstance(callee, Wrapped):
        return _call_wrapped(reader, scope, node, callee, arguments)
    if isinstance(callee, Bound):
        return _call_bound(reader, scope, node, callee, arguments)
    if isinstance(callee, Known):
        return _call_known(reader, scope, node, callee.object, arguments)
    known.handed_over(arguments)
    if node in reader.awaited and not text_of(node).endswith("get_response()"):
        known.in_others_thread(arguments)
    return None


# ------------------------------------------------------------------ live objects


def _call_known(reader: Reading, scope: Scope, node: ast.Call, thing: Any, arguments: Arguments) -> Value:
    if (handler := known.HANDLERS.of(thing) or known_django.HANDLERS.of(thing)) is not None:
        return handler(reader, scope, node, arguments)
    if isinstance(thing, type):
        return _instantiate(reader, scope, node, thing, arguments)
    if isinstance(thing, SyncToAsync):
        return _call_wrapped(reader, scope, node, known.wrapped(thing), arguments)
    if isinstance(thing, AsyncToSync):
        return _call_wrapped(reader, scope, node, Wrapped(Known(thing.awaitable), "async_to_sync"), arguments)
    if isinstance(thing, functools.partial):
        inner = Wrapped(Known(thing.func), "partial", arguments=tuple(Known(each) for each in thing.args))
        return _call_wrapped(reader, scope, node, inner, arguments)
    if isinstance(thing, MethodType):
        return call(
            reader, scope, node, Bound(Known(thing.__self__), thing.__func__.__name__, thing.__func__), arguments
        )
    if (function := resolve.plain_function(thing)) is not None:
        return reader.enter_live(scope, node, function, arguments)
    if not isinstance(thing, BuiltinFunctionType):
        raw = resolve.class_attribute(type(thing), "__call__")
        if isinstance(raw, FunctionType):
            return reader.enter_live(scope, node, raw, arguments, Known(thing))
    known.handed_over(arguments)
    return None


def _instantiate(reader: Reading, scope: Scope, node: ast.Call, cls: type, arguments: Arguments) -> Value:
    if orm.is_model(cls):
        for value in arguments.all():
            reader.use(scope, node, value, "query")
        return orm.made(cls, arguments)
    if issubclass(cls, HttpRequest):
        return Request()
    if issubclass(cls, HttpResponseBase):
        for value in arguments.all():
            reader.use(scope, node, value, "response")
    if (thread := _foreign_target(cls, arguments)) is not None:
        return thread
    made = Made(cls, arguments=tuple(arguments.all()))
    if dataclasses.is_dataclass(cls):
        made.attributes.update(arguments.named)
    raw = resolve.class_attribute(cls, "__init__")
    if isinstance(raw, FunctionType):
        reader.enter_live(scope, node, raw, arguments, made)
    return made


def _foreign_target(cls: type, arguments: Arguments) -> Value:
    """A Thread isn't looked into: its connection ends with it."""
    return Made(cls) if resolve.is_a(cls, "threading.Thread") else None


# ------------------------------------------------------------------ methods


def _call_bound(reader: Reading, scope: Scope, node: ast.Call, bound: Bound, arguments: Arguments) -> Value:
    owner = bound.owner
    if isinstance(owner, Parent) and isinstance(owner.owner, Record) and records.is_own_method(owner.owner, bound.name):
        bound, owner = Bound(owner.owner, bound.name, bound.function), owner.owner
    if isinstance(owner, Query):
        return orm.call_on_query(reader, scope, node, bound, arguments)
    if isinstance(owner, Record):
        return records.call_on_record(reader, scope, node, bound, arguments)
    if isinstance(owner, Mapping):
        return _call_on_mapping(reader, scope, node, owner, bound.name, arguments)
    if isinstance(owner, Several):
        return known_iterables.call_on_several(reader, scope, node, owner, bound.name, arguments)
    if isinstance(owner, Session):
        return _call_on_session(reader, scope, node, owner, bound.name)
    if isinstance(owner, Request) and bound.name == "auser":
        owner.has_session = True  # the user's id is in there
        return Coroutine(orm.current_user(), node, text_of(node), is_query=True, uses_orm=True)
    handler = known.HANDLERS.of_method(owner, bound.name) or known_django.HANDLERS.of_method(owner, bound.name)
    if handler is not None:
        return handler(reader, scope, node, owner, arguments)
    raw = bound.function
    if isinstance(raw, SyncToAsync):
        return _call_wrapped(reader, scope, node, known.wrapped(raw, owner), arguments)
    if isinstance(raw, functools.partial | functools.partialmethod):
        known.handed_over(arguments)
        return None
    function = resolve.plain_function(raw)
    if function is not None:
        value = reader.enter_live(scope, node, function, arguments, owner)
        return _alternative(bound) if value is None else value
    known.handed_over(arguments)
    return None


def _alternative(constructor: Bound) -> Value:
    """``Redis.from_url()`` gives an instance of its class."""
    cls = constructor.owner.object if isinstance(constructor.owner, Known) else None
    is_one = isinstance(constructor.function, classmethod) and constructor.name.startswith("from_")
    return Made(cls) if is_one and isinstance(cls, type) and not orm.is_model(cls) else None


def _call_on_mapping(
    reader: Reading, scope: Scope, node: ast.Call, mapping: Mapping, name: str, arguments: Arguments
) -> Value:
    key = arguments.get(0, "key")
    if name in ("get", "pop", "setdefault") and isinstance(key, Known) and isinstance(key.object, str):
        return mapping.items.get(key.object, mapping.element)
    if name == "values":
        return Several(mapping.element) if not mapping.items else Several(items=tuple(mapping.items.values()))
    if name == "items":
        return Several(Several(items=(None, mapping.element)))
    return known_iterables.call_on_several(reader, scope, node, mapping, name, arguments)


def _call_on_session(reader: Reading, scope: Scope, node: ast.Call, session: Session, name: str) -> Value:
    store = backends.session_store()
    if store is None:
        return None
    if orm.twin(store, name):
        touch_session(reader, scope, node, session, name)
    elif name[:1] == "a" and orm.twin(store, name[1:]):
        session.request.has_session = True
        return Coroutine(None, node, text_of(node))
    return None


def touch_session(reader: Reading, scope: Scope, node: ast.AST, session: Session, name: str) -> None:
    """It is read once for a request, by whoever comes first."""
    if not session.request.has_session:
        session.request.has_session = True
        scope.outcome.queries.append("request.session")
        reader.emit(scope, events.SessionTouched(node, name))


# ------------------------------------------------------------------ callables in other hands


def _call_wrapped(reader: Reading, scope: Scope, node: ast.Call, wrapped: Wrapped, arguments: Arguments) -> Value:
    if wrapped.how == "partial":
        more = Arguments((*wrapped.arguments, *arguments.positional), arguments.named, arguments.is_partial)
        return reader.call(scope, node, wrapped.inner, more)
    if wrapped.how == "decorator":  # sync_to_async(thread_sensitive=False)
        return Wrapped(arguments.get(0, "func"), "sync_to_async", wrapped.thread_sensitive)
    if wrapped.how == "async_to_sync":
        result = reader.call(scope.elsewhere(), node, wrapped.inner, arguments)
        return result.result if isinstance(result, Coroutine) else None
    how = "sync_to_async(thread_sensitive=False)" if not wrapped.thread_sensitive else ""
    result, thread = known.in_thread(reader, scope, node, wrapped.inner, arguments, foreign=how)
    if isinstance(result, Query) and not result.evaluated and wrapped.thread_sensitive:
        result.made_in_thread = node
        result.text = text_of(node)
        scope.lazy.append(result)
    queries = bool(thread.outcome.queries) if wrapped.thread_sensitive else False
    return Coroutine(result, node, text_of(node), uses_orm=queries)
