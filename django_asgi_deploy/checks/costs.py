"""What synchronous middleware costs (207 to 209)."""

from collections.abc import Iterator

from django_asgi_deploy.checks import functions
from django_asgi_deploy.checks.catalogue import Level
from django_asgi_deploy.checks.finding import Finding, found
from django_asgi_deploy.checks.guard import surviving
from django_asgi_deploy.checks.inspected import Inspected
from django_asgi_deploy.checks.middleware import Entry
from django_asgi_deploy.checks.modes import gives_coroutine
from django_asgi_deploy.checks.predicted import predict, runs

FEW_HOPS = 2
WITHOUT_REPLACEMENT = (
    "If it is yours, make it one that can be both (sync_and_async_middleware, MiddlewareMixin); if not, look for a "
    "release that can."
)
INSTEAD = {
    "whitenoise": "servestatic does the same asynchronously: python -m pip install servestatic",
    "log_request_id": "django-guid does the same asynchronously: python -m pip install django-guid",
    "request_id": "django-guid does the same asynchronously: python -m pip install django-guid",
}


def check(inspected: Inspected) -> Iterator[Finding]:
    yield from surviving((_synchronous_only, _sandwich, _hops), inspected)


def _softened(inspected: Inspected) -> Level | None:
    """With our handler, synchronous views don't pay for it; while one develops, nobody waits for it."""
    return "info" if inspected.handler == "pooled" or inspected.is_development else None


def _synchronous_only(inspected: Inspected) -> Iterator[Finding]:
    for entry in inspected.replay.used:
        if entry.can_async or (entry.made is not None and gives_coroutine(entry)):
            continue
        drawn = _drawn_along(inspected.replay.used, entry)
        with_it = f" (and, outside of it, {_plural(drawn)} run in synchronous form because of it)" if drawn else ""
        package = entry.path.partition(".")[0]
        yield found(
            207,
            f"{entry.path} is synchronous only{with_it}: a request of an asynchronous view keeps a thread for as long "
            "as the view works.",
            INSTEAD.get(package, WITHOUT_REPLACEMENT),
            level=_softened(inspected),
            object=entry.path,
            place=functions.class_place(entry.factory)
            if isinstance(entry.factory, type)
            else functions.place(entry.factory),
        )


def _drawn_along(chain: list[Entry], entry: Entry) -> int:
    """How many that can be both run in synchronous form because this one is the next inside of them that can't."""
    count = 0
    for outer in reversed(chain[: chain.index(entry)]):
        if not outer.can_sync or not outer.can_async:
            break
        count += 1
    return count


def _plural(count: int) -> str:
    return f"{count} other{'s' if count > 1 else ''}"


def _sandwich(inspected: Inspected) -> Iterator[Finding]:
    chain = inspected.replay.used
    parts = runs(chain)
    if len(parts) < 2:
        return
    groups = (" and ".join(entry.name.rpartition(".")[2] for entry in part if not entry.can_async) for part in parts)
    order = "; ".join(groups)
    yield found(
        208,
        f"MIDDLEWARE changes {len(parts)} times from asynchronous to synchronous and back: each change is a hop to a "
        f"thread and one back, and the outer thread waits for the inner one. They are: {order}.",
        "Put the synchronous ones next to each other, innermost (last) if their order allows it.",
        level=_softened(inspected),
        object="MIDDLEWARE",
    )


def _hops(inspected: Inspected) -> Iterator[Finding]:
    chain = inspected.replay.used
    if inspected.replay.error is not None or not inspected.has_async_routes:
        return
    hops = predict(chain, view_is_async=True)
    mine = hops.pooled if inspected.handler == "pooled" else hops.django
    if mine <= FEW_HOPS:
        return
    hint = "Fewer: what forces threads is in the table of the middleware; synchronous only ones cost the most."
    if inspected.handler != "pooled":
        hint = f'With the pooled handler it would be {hops.pooled}: ASGI_DEPLOY = {{"HANDLER": "pooled"}}.'
        if inspected.handler == "foreign":
            hint = f"With this package's handler it would be {hops.pooled}: " + (
                "from django_asgi_deploy.asgi import get_asgi_application"
            )
    yield found(
        209,
        f"A GET of an asynchronous view changes to a thread {mine} times with the middleware as it is (Django's own "
        f"handler: {hops.django}, the pooled one: {hops.pooled}).",
        hint,
        object="MIDDLEWARE",
    )
