"""What Django's functions and methods give, and which of them query."""

import ast
import weakref
from collections.abc import Iterable
from typing import Any

from django.apps import apps

from django_asgi_deploy.checks import events, orm, resolve
from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.known import Handlers, type_of
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import Coroutine, Inner, Known, Made, Parent, Query, Several, Value

HANDLERS = Handlers()
function, method = HANDLERS.function, HANDLERS.method

TASKS = "django.tasks.base.Task", "django_tasks.base.Task", "django_tasks.task.Task"


@function("django.db.close_old_connections")
def _close_old(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    scope.outcome.tidies = True
    return None


CONNECTION = ("django.db.backends.base.base.BaseDatabaseWrapper",)


@method((*CONNECTION, "django.db.utils.ConnectionHandler"), "close", "close_all", "close_if_unusable_or_obsolete")
def _close(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    scope.outcome.tidies = True
    return None


@method(CONNECTION, "cursor")
def _cursor(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    scope.outcome.queries.append(text_of(node))
    reader.emit(scope, events.SyncQuery(node, text_of(node), None))
    return None


@function("django.contrib.auth.get_user_model")
def _user_model(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    user = orm.current_user()
    return Known(user.model) if user else None


@method(["django.apps.registry.Apps"], "get_model")
def _get_model(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    words = [each.object for each in arguments.positional if isinstance(each, Known) and isinstance(each.object, str)]
    try:
        return Known(apps.get_model(".".join(words)))
    except (LookupError, ValueError, TypeError):
        return None


@function("django.shortcuts.get_object_or_404", "django.shortcuts.get_list_or_404")
def _get_or_404(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    text = text_of(node)
    scope.outcome.queries.append(text)
    for value in arguments.all():
        reader.use(scope, node, value, "query")
    name = text_of(node.func).rpartition(".")[2]
    known_name = name if name in ("get_object_or_404", "get_list_or_404") else None
    reader.emit(scope, events.SyncQuery(node, text, known_name and f"a{known_name}"))
    return _row(arguments, is_list="list" in name)


@function("django.shortcuts.aget_object_or_404", "django.shortcuts.aget_list_or_404")
def _aget_or_404(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    scope.outcome.queries.append(text_of(node))
    for value in arguments.all():
        reader.use(scope, node, value, "query")
    row = _row(arguments, is_list="list" in text_of(node.func))
    return Coroutine(row, node, text_of(node), is_query=True, uses_orm=True)


def _row(arguments: Arguments, *, is_list: bool) -> Value:
    source = arguments.get(0, "klass")
    if isinstance(source, Known) and orm.is_model(source.object):
        source = orm.default_manager_of(source.object)
    element = orm.element_of(source) if isinstance(source, Query) else None
    return Several(element) if is_list else element


@function("django.db.models.prefetch_related_objects")
def _prefetch(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    text = text_of(node)
    scope.outcome.queries.append(text)
    reader.emit(scope, events.SyncQuery(node, text, "aprefetch_related_objects"))
    return None


@function("django.shortcuts.render", "django.template.loader.render_to_string")
def _render(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    context = arguments.get(2, "context") or arguments.get(1, "context")
    reader.use(scope, node, context, "response")
    return None


@method(
    [
        "django.views.generic.detail.SingleObjectMixin",
        "django.views.generic.list.MultipleObjectMixin",
        "django.views.generic.edit.ModelFormMixin",
    ],
    "get_object",
    "get_queryset",
)
def _of_generic_view(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    cls = type_of(owner)
    assert cls is not None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    after = owner.above if isinstance(owner, Parent) else None
    instance = owner.owner if isinstance(owner, Parent) else owner
    own = resolve.plain_function(resolve.class_attribute(cls, name, after))
    if own is not None and not own.__module__.startswith("django."):
        return reader.enter_live(scope, node, own, arguments, instance)
    if name == "get_queryset":
        return _queryset_of_view(cls)
    overridden = resolve.plain_function(resolve.class_attribute(cls, "get_queryset"))
    query = _queryset_of_view(cls)
    if overridden is not None and not overridden.__module__.startswith("django."):
        query = reader.enter_live(scope, node, overridden, Arguments(), instance)
    scope.outcome.queries.append(text_of(node))
    reader.emit(scope, events.SyncQuery(node, text_of(node), None))
    return orm.element_of(query) if isinstance(query, Query) else None


def _queryset_of_view(cls: type) -> Value:
    from django.db.models import QuerySet

    queryset, model = resolve.class_attribute(cls, "queryset"), resolve.class_attribute(cls, "model")
    if isinstance(queryset, QuerySet):
        return Query(queryset.model, type(queryset), select=None)
    return orm.default_manager_of(model) if orm.is_model(model) else None


@method(["django.core.paginator.Paginator"], "page", "get_page", "get_elided_page_range")
def _page(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    source = owner.arguments[0] if isinstance(owner, Made) and owner.arguments else None
    if isinstance(source, Query) and not source.evaluated:
        scope.outcome.queries.append(text_of(node))
        reader.emit(scope, events.SyncQuery(node, text_of(node), None))
    return None


@method(["django.forms.forms.BaseForm"], "is_valid", "full_clean", "save")
def _check_form(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    cls = type_of(owner)
    assert cls is not None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    why = _why_it_queries(cls)
    if name == "save":
        commit = arguments.get(0, "commit")
        is_deferred = isinstance(commit, Known) and commit.object is False
        why = "it writes" if resolve.is_a(cls, MODEL_FORM) and not is_deferred else ""
    if why:
        scope.outcome.queries.append(text_of(node))
        reader.emit(scope, events.FormChecked(node, text_of(node), why))
        return None
    for attribute in dir(cls) if name != "save" else ():
        if attribute == "clean" or attribute.startswith("clean_"):
            own = resolve.plain_function(resolve.class_attribute(cls, attribute))
            if own is not None and not own.__module__.startswith("django."):
                reader.enter_live(scope, node, own, Arguments(), owner)
    return None


MODEL_FORM = "django.forms.models.BaseModelForm"


def _has_to_be_unique(cls: type, fields: dict[str, Any]) -> bool:
    """Whether the form's model asks the database if a row with the values of the form's fields is there."""
    model = getattr(resolve.class_attribute(cls, "_meta"), "model", None)
    meta = getattr(model, "_meta", None)
    if meta is None:
        return False
    if meta.unique_together or meta.constraints or any(parent._meta.unique_together for parent in meta.parents):
        return True
    own = [field for field in meta.fields if field.name in fields]
    return any(
        field.unique or field.unique_for_date or field.unique_for_month or field.unique_for_year for field in own
    )


def _why_it_queries(cls: type) -> str:
    fields = resolve.class_attribute(cls, "base_fields")
    if resolve.is_a(cls, MODEL_FORM) and _has_to_be_unique(cls, fields if isinstance(fields, dict) else {}):
        return "a model's form looks for other rows with the same values"
    for field_name, field in fields.items() if isinstance(fields, dict) else ():
        if resolve.is_a(type(field), "django.forms.models.ModelChoiceField"):
            return f"its field {field_name} looks for the row that was chosen"
    return ""


@method(["django.forms.models.BaseModelFormSet"], "is_valid", "save")
def _check_formset(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    scope.outcome.queries.append(text_of(node))
    reader.emit(scope, events.FormChecked(node, text_of(node), "a set of models' forms reads its rows"))
    return None


@method(["django.dispatch.dispatcher.Signal"], "send", "send_robust")
def _send(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    """Its receivers run at once, here; asynchronous ones in a loop of their own."""
    receivers = [*_receivers(owner.object)] if isinstance(owner, Known) else []
    thread = scope.elsewhere()
    for receiver, is_async in receivers:
        if not is_async:
            reader.call(thread, node, Known(receiver), Arguments(is_partial=True))
    query = next(iter(thread.outcome.queries), None)
    reader.emit(scope, events.SignalSent(node, text_of(node), [is_async for _, is_async in receivers], query))
    return None


def _receivers(signal: Any) -> Iterable[tuple[Any, bool]]:
    for entry in resolve.namespace(signal).get("receivers") or ():
        receiver = entry[1]() if isinstance(entry[1], weakref.ReferenceType) else entry[1]
        if receiver is not None:
            yield receiver, bool(entry[-1])


@function("django.db.transaction.atomic")
def _atomic(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from django.db.transaction import Atomic

    using = arguments.get(0, "using")
    is_decorator = isinstance(using, Inner) or (isinstance(using, Known) and callable(using.object))
    return None if is_decorator else Made(Atomic)


@function("django.core.serializers.serialize")
def _serialize(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    reader.iterate(scope, node, arguments.get(1, "queryset"), text_of(node))
    return None


@function("django.core.mail.get_connection")
def _mail_connection(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from django.core.mail.backends.base import BaseEmailBackend

    return Made(BaseEmailBackend)


@function("django.template.loader.get_template", "django.template.loader.select_template")
def _get_template(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    from django.template.backends.django import Template

    return Made(Template)


@method(TASKS, "using")
def _using(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    cls = type_of(owner)
    return Made(cls) if cls else None
