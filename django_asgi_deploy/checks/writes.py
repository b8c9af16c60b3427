"""Refuses to write into the database where a visit mustn't, and to delete in the name of a user who didn't ask for it.

Only what goes through Django's cursors is seen; a stored procedure that ``callproc()`` calls isn't.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from django.db import DatabaseError
from django.db.backends.signals import connection_created

COMMENT = r"(?:\s|\(|/\*.*?\*/|--[^\n]*(?:\n|$))*"
READS = re.compile(
    rf"{COMMENT}(?:SELECT|VALUES|TABLE|SHOW|DESCRIBE|EXPLAIN|WITH|PRAGMA|DECLARE|FETCH|CLOSE|SET|"
    r"BEGIN|START|SAVEPOINT|RELEASE|ROLLBACK|COMMIT)\b",
    re.IGNORECASE | re.DOTALL,
)
MAY_HIDE = re.compile(rf"{COMMENT}(?:EXPLAIN|WITH)\b", re.IGNORECASE | re.DOTALL)
HIDDEN = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b(?!\s*\()", re.IGNORECASE)
DELETES = re.compile(r"\b(?:DELETE\s+FROM|TRUNCATE|DROP)\b", re.IGNORECASE)

Refused = Literal["nothing", "deletes", "writes"]


class WriteRefused(DatabaseError):
    """As a database that is read-only says it."""


class Writes:
    """What was refused: ``count`` statements."""

    def __init__(self) -> None:
        self.count = 0
        self._refused: Refused = "nothing"

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile, every connection that is opened asks here before it executes anything."""
        connection_created.connect(self._watch)
        try:
            yield
        finally:
            connection_created.disconnect(self._watch)

    @contextmanager
    def refused(self, what: Refused) -> Iterator[None]:
        """Meanwhile, these statements raise WriteRefused."""
        before, self._refused = self._refused, what
        try:
            yield
        finally:
            self._refused = before

    def _watch(self, connection: Any, **kwargs: Any) -> None:
        if self._execute not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._execute)

    def _execute(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        is_refused = {"nothing": _never, "deletes": is_delete, "writes": is_write}[self._refused]
        if is_refused(str(sql)):
            self.count += 1
            raise WriteRefused("checkasgi --probe doesn't write here")
        return execute(sql, params, many, context)


def is_write(sql: str) -> bool:
    """Whether a statement isn't known only to read, or to be about the transaction."""
    if not READS.match(sql):
        return True
    return MAY_HIDE.match(sql) is not None and HIDDEN.search(sql) is not None


def is_delete(sql: str) -> bool:
    """Whether a statement takes rows away."""
    return is_write(sql) and DELETES.search(sql) is not None


def _never(sql: str) -> bool:
    return False
