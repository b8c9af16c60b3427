"""QuerySets, managers and instances of models: what their attributes and methods are, and which of them run SQL."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.manager import BaseManager, ManagerDescriptor

from django_asgi_deploy.checks import events, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import Bound, Coroutine, Known, Made, Mapping, Query, Record, Several, Value


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OTHERS_CHOICE = "?"  # what a Prefetch object with a QuerySet of its own loads
# Give another QuerySet, and run nothing.
LAZY = _words(
    "all filter exclude order_by select_related prefetch_related annotate alias distinct values values_list dates "
    "datetimes none only defer using reverse union intersection difference select_for_update extra raw complex_filter "
    "get_queryset"
)
ITERATORS = _words("iterator aiterator")
ONE_RECORD = _words("get first last latest earliest create")
OF_RELATED_MANAGERS = _words("add remove set clear")
# Answered from the result, if that is in memory.
FROM_RESULT = _words("count exists contains first last")
# Methods of every model that query: with those of their checks that look for other rows.
OF_MODELS = _words("save delete refresh_from_db full_clean validate_unique validate_constraints")
OF_USERS = _words("has_perm has_perms has_module_perms get_user_permissions get_group_permissions get_all_permissions")


GENERIC_RELATIONS = tuple(
    f"django.contrib.contenttypes.fields.{name}" for name in ("GenericForeignKey", "GenericForeignKeyDescriptor")
)


def twin(cls: type, name: str) -> str | None:
    """The asynchronous form of a method, as this version of Django has it."""
    found = resolve.plain_function(resolve.class_attribute(cls, f"a{name}"))
    return f"a{name}" if found and resolve.is_coroutine_function(found) else None


SYNC_QUERIES = frozenset(
    name for name in dir(models.QuerySet) if not name.startswith("_") and twin(models.QuerySet, name)
)
ASYNC_QUERIES = frozenset(f"a{name}" for name in (*SYNC_QUERIES, *OF_RELATED_MANAGERS))


# ------------------------------------------------------------------ where QuerySets and records come from


def manager_of(model: Any, raw: Any) -> Query | None:
    """What ``Model.objects`` is, from the raw attribute of the class."""
    manager: Any = vars(raw)["manager"] if isinstance(raw, ManagerDescriptor) else raw
    return Query(model, type(manager), is_manager=True) if isinstance(manager, BaseManager) else None


def query_of(queryset: models.QuerySet[Any]) -> Query:
    """A live QuerySet, such as the attribute of a view."""
    attributes = resolve.namespace(queryset)
    select = queryset.query.select_related
    names: set[str] | None = {*_flat(select, "")} if isinstance(select, dict) else set()
    return Query(
        queryset.model,
        type(queryset),
        select=None if select is True else names,
        prefetch=None if attributes.get("_prefetch_related_lookups") else set(),
        evaluated=attributes.get("_result_cache") is not None,
        rows="records" if attributes.get("_iterable_class") is models.query.ModelIterable else "values",
    )


def _flat(select: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, below in select.items():
        yield prefix + name
        yield from _flat(below, f"{prefix}{name}__")


def default_manager_of(model: Any) -> Query:
    return Query(model, type(model._meta.default_manager), is_manager=True)


def is_model(thing: Any) -> bool:
    is_one = isinstance(thing, type) and issubclass(thing, models.Model)
    return is_one and resolve.class_attribute(thing, "_meta") is not resolve.MISSING


def current_user() -> Record | None:
    """Who ``await request.auser()`` gives: as the backends fetch it, which may load relations if it isn't Django's."""
    from django.contrib.auth import get_user_model

    try:
        model = get_user_model()
    except Exception:  # the project has none
        return None
    django_only = all(path.startswith("django.contrib.auth.") for path in settings.AUTHENTICATION_BACKENDS)
    return Record(model, set() if django_only and _is_djangos(default_manager_of(model), "get_queryset") else None)


def element_of(query: Query) -> Value:
    """What iterating gives."""
    if query.rows != "records" or query.model is None:
        return None
    loaded = None if query.select is None else {*query.select, *query.known}
    prefetched = None if query.prefetch is None else {*query.prefetch}
    return Record(query.model, loaded, prefetched, query.deferred)


def made(model: Any, arguments: Arguments) -> Record:
    """``Model(...)``: it has the relations that were given."""
    loaded = {name for name in arguments.named if not name.endswith("_id")}
    nested = {
        f"{name}__{deeper}"
        for name, value in arguments.named.items()
        if isinstance(value, Record)
        for deeper in value.loaded or ()
    }
    unknown = arguments.is_partial or arguments.positional
    return Record(model, None if unknown else loaded | nested)


# ------------------------------------------------------------------ QuerySets


def evaluate(reader: Reading, scope: Scope, node: ast.AST, query: Query, how: str) -> None:
    """Somebody wants the rows, at once."""
    if query.evaluated:
        return
    query.evaluated = True
    if query in scope.lazy:
        return  # told where it came from
    scope.outcome.queries.append(how)
    reader.emit(scope, events.Evaluation(node, query, how))


def _is_known(name: str) -> bool:
    """Whether it is a method of Django's QuerySets and managers."""
    return any(name in names for names in (LAZY, SYNC_QUERIES, ASYNC_QUERIES, OF_RELATED_MANAGERS, ITERATORS))


def query_attribute(query: Query, name: str) -> Value:
    function = resolve.class_attribute(query.type, name)
    if function is resolve.MISSING and query.is_manager:
        function = resolve.class_attribute(_queryset_class(query), name)
    if name == "model" and query.model is not None:
        return Known(query.model)
    if function is resolve.MISSING and not _is_known(name):
        return None
    return Bound(query, name, None if function is resolve.MISSING else function)


def call_on_query(reader: Reading, scope: Scope, node: ast.Call, bound: Bound, arguments: Arguments) -> Value:
    query, name = bound.owner, bound.name
    assert isinstance(query, Query)
    for argument in arguments.all():
        reader.use(scope, node, argument, "query")
    function = resolve.plain_function(bound.function)
    if function is not None and not (_is_known(name) and _is_djangos(query, name)):
        return _call_own_method(reader, scope, node, query, function, arguments)
    if query.is_manager:
        query = _queryset_of(reader, scope, node, query)
    if name in LAZY:
        return _narrowed(query, name, arguments)
    if name in ITERATORS:
        return replace(query, is_iterator=True, evaluated=False, text=text_of(node))
    text = text_of(node)
    if name in ASYNC_QUERIES:
        scope.outcome.queries.append(text)
        _await_settles(scope, query)
        return Coroutine(_result(query, name[1:], arguments), node, text, is_query=True, uses_orm=True)
    if name in SYNC_QUERIES or name in OF_RELATED_MANAGERS:
        if not (query.evaluated and name in FROM_RESULT):
            scope.outcome.queries.append(text)
            if query in scope.lazy:
                return _result(query, name, arguments)
            reader.emit(scope, events.SyncQuery(node, text, f"a{name}"))
        return _result(query, name, arguments)
    return None


def _await_settles(scope: Scope, query: Query) -> None:
    """A lazy QuerySet out of a thread that is used asynchronously does no harm."""
    if query in scope.lazy:
        scope.lazy.remove(query)


def iterated_asynchronously(scope: Scope, query: Query) -> Value:
    """``async for``: the rows are in memory then, unless it was an iterator."""
    _await_settles(scope, query)
    scope.outcome.queries.append("async for")
    query.evaluated = not query.is_iterator
    return element_of(query)


def _call_own_method(
    reader: Reading, scope: Scope, node: ast.Call, query: Query, function: Any, arguments: Arguments
) -> Value:
    """A method that the project added to its manager or QuerySet."""
    underlying = resolve.namespace(function).get("__wrapped__")
    if query.is_manager and underlying is not None and _copied_from_queryset(query, function):
        query, function = _queryset_of(reader, scope, node, query), underlying
    return reader.enter_live(scope, node, function, arguments, query)


def _copied_from_queryset(query: Query, function: Any) -> bool:
    """BaseManager.from_queryset() puts functions of its own around a QuerySet's methods."""
    return bool(function.__code__.co_filename == inspect.getfile(BaseManager))


def _queryset_class(query: Query) -> type:
    found = resolve.class_attribute(query.type, "_queryset_class")
    return found if isinstance(found, type) else models.QuerySet


def _queryset_of(reader: Reading, scope: Scope, node: ast.AST, manager: Query) -> Query:
    """What a manager's get_queryset() gives."""
    plain = replace(manager, is_manager=False, type=_queryset_class(manager))
    if _is_djangos(manager, "get_queryset"):
        return plain
    function = resolve.plain_function(resolve.class_attribute(manager.type, "get_queryset"))
    own = reader.enter_live(scope, node, function, Arguments(), manager) if function else None
    if not isinstance(own, Query):
        return replace(plain, select=None, prefetch=None)
    return replace(own, known=manager.known, evaluated=manager.evaluated, is_manager=False)


def _is_djangos(query: Query, name: str) -> bool:
    raw = resolve.class_attribute(query.type, name)
    if raw is resolve.MISSING and query.is_manager:
        raw = resolve.class_attribute(_queryset_class(query), name)
    function = resolve.plain_function(raw)
    while function is not None and (inner := resolve.namespace(function).get("__wrapped__")) is not None:
        function = resolve.plain_function(inner)
    return function is None or function.__module__.startswith("django.")


def _narrowed(query: Query, name: str, arguments: Arguments) -> Query:
    if name == "all" and query.evaluated:
        return query  # prefetched
    new = replace(query, select=_copy(query.select), prefetch=_copy(query.prefetch), evaluated=False)
    names = _names(arguments)
    if name == "none":
        new.evaluated = True
    elif name in ("values", "values_list", "dates", "datetimes"):
        new.rows = "values"
    elif name == "select_related":
        cleared = len(arguments.positional) == 1 and _is_none(arguments.positional[0])
        new.select = set() if cleared else _joined(query.select, names)
    elif name == "prefetch_related":
        new.prefetch = _joined(query.prefetch, names)
        new.select = _joined(query.select, names)
    elif name in ("only", "defer"):
        new.deferred = _deferred(query, name, arguments)
    elif name == "raw":
        new.type = models.query.RawQuerySet
    return new


def _deferred(query: Query, name: str, arguments: Arguments) -> frozenset[str]:
    """The fields that aren't fetched after only() or defer(); none where the names aren't written down."""
    names = _names(arguments)
    if names is None or query.model is None:
        return frozenset()
    if name == "defer":
        return query.deferred.union(names)
    fields = {field.attname for field in query.model._meta.concrete_fields if not field.primary_key}
    kept = {field.attname for field in query.model._meta.concrete_fields if {field.name, field.attname} & {*names}}
    return frozenset(fields - kept)


def _copy(names: set[str] | None) -> set[str] | None:
    return None if names is None else {*names}


def _names(arguments: Arguments) -> list[str] | None:
    """The relations that select_related() names; None if they aren't written down."""
    if arguments.is_partial or not arguments.positional:
        return None
    names = []
    for value in arguments.positional:
        if isinstance(value, Made) and issubclass(value.type, models.Prefetch) and value.arguments:
            if len(value.arguments) > 1 and (first := value.arguments[0]) and isinstance(first, Known):
                names.append(f"{first.object}__{OTHERS_CHOICE}")
            value = value.arguments[0]
        if not isinstance(value, Known) or not isinstance(value.object, str):
            return None
        names.append(value.object)
    return names


def _joined(before: set[str] | None, names: list[str] | None) -> set[str] | None:
    if before is None or names is None:
        return None
    steps = [name.split("__") for name in names]
    return {*before, *("__".join(step[: n + 1]) for step in steps for n in range(len(step)))}


def _is_none(value: Value) -> bool:
    return isinstance(value, Known) and value.object is None


def _result(query: Query, name: str, arguments: Arguments) -> Value:
    """What a method that runs SQL gives."""
    if name == "create":
        created = made(query.model, arguments)
        if created.loaded is not None:
            created.loaded |= query.known
        return created if query.model else None
    if name in ONE_RECORD:
        return element_of(query)
    if name in ("get_or_create", "update_or_create"):
        record = element_of(query)
        if isinstance(record, Record):
            record.loaded = None  # who knows which of the two it was
        return Several(items=(record, None))
    if name == "in_bulk":
        return Mapping(element=element_of(query))
    if name in ("bulk_create", "bulk_update"):
        return Several()
    return None
