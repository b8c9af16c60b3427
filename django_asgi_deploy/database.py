"""How many connections the databases allow, beside how many the server may open."""

import threading
from collections.abc import Iterator
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Those that ordinary users get, by vendor.
QUERIES = {
    "postgresql": "SELECT current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int",
    "mysql": "SELECT @@max_connections",
}


def advice(workers: int, threads: int, *, seconds: float = 1.0) -> list[str]:
    """One line for each database server: what may be opened, and what is allowed.

    Each is asked for ``seconds`` at most, in a thread of its own: an unreachable one must not delay the start.
    """
    wanted = workers * threads
    return [_line(alias, wanted, workers, threads, _ask_with_deadline(alias, seconds)) for alias in _servers()]


def beyond_what_is_allowed(workers: int, threads: int, *, seconds: float = 1.0) -> Iterator[tuple[str, int, int]]:
    """Alias, connections that may be opened, and connections that the server allows, where these are fewer.

    A pool in the settings may open as many as it is large, however many threads there are.
    """
    for alias in _servers():
        pool = connections[alias].settings_dict.get("OPTIONS", {}).get("pool")
        wanted = workers * (_size_of(pool) if pool else threads)
        allowed = _ask_with_deadline(alias, seconds)
        if allowed is not None and wanted > allowed:
            yield alias, wanted, allowed


def _size_of(pool: Any) -> int:
    """As psycopg_pool has it: without max_size it never grows beyond min_size, which is 4 unless it is given."""
    given = pool if isinstance(pool, dict) else {}
    return int(given.get("max_size") or given.get("min_size", 4))


def _servers() -> Iterator[str]:
    for alias in connections:
        if connections[alias].vendor in QUERIES:
            yield alias


def _line(alias: str, wanted: int, workers: int, threads: int, allowed: int | None) -> str:
    may_open = f"{alias}: up to {wanted} connections ({workers} worker{'s' * (workers > 1)} x {threads} threads)"
    if allowed is None:
        return f"{may_open}; how many the server allows couldn't be asked"
    if wanted > allowed:
        return f"{may_open}, but the server allows {allowed}: lower THREADS, or raise its max_connections"
    return f"{may_open} of the {allowed} that the server allows"


def _ask_with_deadline(alias: str, seconds: float) -> int | None:
    answers: list[int] = []

    def ask() -> None:
        connection = connections[alias]  # this thread's own
        try:
            answers.append(_ask(connection))
        except Exception:
            return  # the project will meet it, and say it better
        finally:
            connection.close()

    thread = threading.Thread(target=ask, name="ask-max-connections", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else None


def _ask(connection: BaseDatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        cursor.execute(QUERIES[connection.vendor])
        return int(cursor.fetchone()[0])
