"""The checks behind READY_PATH: by the names of READY_CHECKS, Django's parts, or what the project brings."""

import difflib
import inspect
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.core.cache import caches
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from django_asgi_deploy.exceptions import ConfigurationError
from django_asgi_deploy.importer import import_from_string

Call = Callable[[], Any]


class NotReady(Exception):
    """A check has found what it looks for; the text says what."""


def database(alias: str) -> None:
    """Whether the database answers a query."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")
        cursor.fetchone()


def cache(alias: str) -> None:
    """Whether the cache gives back what was put into it."""
    key, value = f"django_asgi_deploy.readiness.{secrets.token_hex(8)}", secrets.token_hex(8)
    caches[alias].set(key, value, 10)
    if caches[alias].get(key) != value:
        raise NotReady("what was put into the cache isn't there")
    caches[alias].delete(key)


class Migrations:
    """Whether all migrations are applied. Once they are, it isn't asked again: that costs much, and stays so."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.are_applied = False

    def __call__(self) -> None:
        if self.are_applied:
            return
        executor = MigrationExecutor(connections[self.alias])
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise NotReady(f"not applied: {names}{more}")
        self.are_applied = True


DJANGOS: Mapping[str, tuple[Callable[[str], Call], Any]] = {
    "database": (lambda alias: partial(database, alias), connections),
    "cache": (lambda alias: partial(cache, alias), caches),
    "migrations": (Migrations, connections),
}


def find_checks(names: list[str], where: str) -> dict[str, Call]:
    """What to call for each of ``names``, which ``where`` gave.

    Raises ConfigurationError, ApplicationError or ProjectError if one of them is none.
    """
    return {name: _find(name, where) for name in names}


def _find(name: str, where: str) -> Call:
    kind, colon, alias = name.partition(":")
    if kind in DJANGOS:
        make, known = DJANGOS[kind]
        return _tidily(make(_known_alias(alias if colon else "default", known, name, where)))
    if "." not in name and ":" not in name:
        near = difflib.get_close_matches(name, DJANGOS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(DJANGOS)}, or an import string."
        raise ConfigurationError([f"{name!r} ({where}): there is no such check; {hint}"])
    return _of_the_project(import_from_string(name, where), f"{name!r} ({where})")


def _known_alias(alias: str, known: Any, name: str, where: str) -> str:
    aliases = list(known.settings)
    if alias not in aliases:
        raise ConfigurationError([f"{name!r} ({where}): there is no {alias!r}; expected one of {', '.join(aliases)}."])
    return alias


def _of_the_project(found: Any, what: str) -> Call:
    """A function, or the ``run`` of one of django-health-check's checks, given as a class or made."""
    if inspect.isclass(found):
        try:
            found = found()
        except TypeError as error:
            raise ConfigurationError(
                [f"{what} can't be made without arguments: {error}. Name one that is made."]
            ) from error
    call = getattr(found, "run", found)
    if not callable(call):
        raise ConfigurationError([f"{what} can't be called; expected a function, or a check of django-health-check's."])
    try:
        inspect.signature(call).bind()
    except TypeError as error:
        raise ConfigurationError([f"{what} can't be called without arguments: {error}."]) from error
    except ValueError:
        pass  # C code doesn't tell
    return call if inspect.iscoroutinefunction(call) else _tidily(call)


def _tidily(call: Call) -> Call:
    """For a thread that ends after it: what ``call`` has opened there is closed."""

    def tidily() -> Any:
        try:
            return call()
        finally:
            caches.close_all()
            connections.close_all()

    return tidily
