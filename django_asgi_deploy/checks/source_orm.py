"""Queries on the event loop: of QuerySets, records, relations and transactions; and in threads that nobody tidies."""

import ast
import asyncio

from django.shortcuts import render
from django.template.loader import render_to_string

from django_asgi_deploy.checks import known, resolve
from django_asgi_deploy.checks.events import (
    Call,
    Entered,
    Evaluation,
    FormChecked,
    InForeignThread,
    LazyFromThread,
    Relation,
    SyncQuery,
)
from django_asgi_deploy.checks.scope import Problem, Scope, text_of
from django_asgi_deploy.checks.values import Bound, Coroutine, Known, Made, Mapping, Query, Value

REFUSED = "Django refuses queries on the event loop: SynchronousOnlyOperation, the client gets a 500"


def sync_query(event: SyncQuery, scope: Scope) -> Problem:
    text = event.text
    if event.twin:
        before = text.removesuffix("()").rpartition(".")[0]
        hint = f"Type await {before}{'.' if before else ''}{event.twin}(...)."
    else:
        hint = f"It has no asynchronous form: await sync_to_async({text.removesuffix('()')})(...)."
    return scope.problem(event.node, 402, text, REFUSED, hint)


def evaluation(event: Evaluation, scope: Scope) -> Problem:
    text, how = text_of(event.node), event.how
    wanted = {
        "for": f"async for ... in {text}{'' if not event.query.is_iterator else ' with aiterator()'}",
        "len()": "await queryset.acount()",
        "if": "await queryset.aexists()",
        "bool()": "await queryset.aexists()",
        "in": "await queryset.acontains(...)",
        "[]": "await queryset.afirst(), or [row async for row in queryset]",
    }.get(how, "[row async for row in queryset]")
    what = (
        text if how in text else f"{how} over the QuerySet {text}" if how == "for" else f"{how} of the QuerySet {text}"
    )
    return scope.problem(event.node, 402, what, REFUSED, f"Type {wanted}.")


def relation(event: Relation, scope: Scope) -> Problem:
    model, name = event.record.model.__name__, event.name
    hint = f'Load it with the {model}: .select_related("{name}"); or await sync_to_async(getattr)(..., "{name}").'
    if event.is_field:
        hint = f"Fetch it with the {model}: let only() or defer() leave {name} in; or await ....arefresh_from_db()."
    if event.is_forward:
        hint += f" For the key alone, {name}_id is there already."
    then = f"{model}.{name} isn't loaded yet, and {REFUSED}"
    return scope.problem(event.node, 403, text_of(event.node), then, hint)


def atomic(event: Entered, scope: Scope) -> Problem | None:
    cls = known.type_of(event.value)
    if cls is None or not resolve.is_a(cls, "django.db.transaction.Atomic"):
        return None
    then = REFUSED
    if isinstance(event.node, ast.AsyncWith):
        then = "a transaction can't be entered with async with: TypeError, the client gets a 500"
    hint = (
        "Put what belongs together into one synchronous function with transaction.atomic, and await "
        "sync_to_async(function)()."
    )
    return scope.problem(event.item, 406, text_of(event.item), then, hint)


def foreign_thread(event: InForeignThread, scope: Scope) -> Problem:
    then = (
        f"{event.query} opens a database connection in that thread, and nothing ever closes it: they add up until the "
        "database refuses new ones"
    )
    hint = (
        "Use await sync_to_async(function)(...); or call django.db.close_old_connections() in a finally of the "
        "function."
    )
    return scope.problem(event.node, 408, f"a query in {event.how}", then, hint)


def lazy_from_thread(event: LazyFromThread, scope: Scope) -> Problem:
    then = f"it gives a QuerySet that has not run yet; it will on the event loop, and {REFUSED}"
    hint = "Run it in the thread: await sync_to_async(list)(queryset); or [row async for row in queryset]."
    return scope.problem(event.node, 409, event.text, then, hint)


def rendered_queryset(event: Call, scope: Scope) -> Problem | None:
    context = _context(event)
    while isinstance(context, Made) and context.arguments:  # Context({...})
        context = context.arguments[0]
    for name, value in context.items.items() if isinstance(context, Mapping) else ():
        if isinstance(value, Query) and not value.evaluated and value not in scope.lazy:
            scope.outcome.queries.append(name)
            then = f'the template evaluates the QuerySet "{name}" on the event loop, and {REFUSED}'
            hint = (
                "Evaluate it first: [row async for row in ...]; or return a TemplateResponse, which Django renders in "
                "a thread."
            )
            return scope.problem(event.node, 416, text_of(event.node), then, hint)
    return None


def _context(event: Call) -> Value:
    if isinstance(event.callee, Known):
        if event.callee.object is render:
            return event.arguments.get(2, "context")
        return event.arguments.get(1, "context") if event.callee.object is render_to_string else None
    if isinstance(event.callee, Bound) and event.callee.name == "render":
        cls = known.type_of(event.callee.owner)
        names = ("django.template.base.Template", "django.template.backends.django.Template")
        return event.arguments.get(0, "context") if cls and resolve.is_a(cls, *names) else None
    return None


def serial_gather(event: Call, scope: Scope) -> Problem | None:
    if not isinstance(event.callee, Known) or event.callee.object is not asyncio.gather:
        return None
    queries = [each for each in event.arguments.positional if isinstance(each, Coroutine) and each.is_query]
    several = [each for each in event.arguments.starred if isinstance(each, Coroutine) and each.is_query]
    if len(queries) + 2 * len(several) < 2:
        return None
    then = "the queries of one request share its thread: they run one after another, and gather() makes nothing faster"
    hint = "Await them one by one, which reads the same; or ask for less with one query."
    return scope.problem(event.node, 417, text_of(event.node), then, hint)


def form(event: FormChecked, scope: Scope) -> Problem:
    then = f"{event.why}, and {REFUSED}"
    hint = f"Type await sync_to_async({event.text.removesuffix('()')})()."
    return scope.problem(event.node, 420, event.text, then, hint)


RULES = {
    SyncQuery: [sync_query],
    Evaluation: [evaluation],
    Relation: [relation],
    Entered: [atomic],
    InForeignThread: [foreign_thread],
    LazyFromThread: [lazy_from_thread],
    FormChecked: [form],
    Call: [rendered_queryset, serial_gather],
}
