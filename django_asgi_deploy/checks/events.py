"""What happens in a function while it is read, as the rules see it."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from django_asgi_deploy.checks import values
from django_asgi_deploy.checks.values import Value


@dataclass(frozen=True)
class Arguments:
    """Of a call; ``is_partial`` if some came through ``*args`` or ``**kwargs`` and aren't known."""

    positional: Sequence[Value] = ()
    named: Mapping[str, Value] = field(default_factory=dict)
    is_partial: bool = False
    starred: Sequence[Value] = ()  # what each element of a ``*args`` is

    def all(self) -> list[Value]:
        return [*self.positional, *self.named.values()]

    def get(self, position: int, name: str) -> Value:
        if name in self.named:
            return self.named[name]
        return self.positional[position] if position < len(self.positional) else None


@dataclass(frozen=True)
class Call:
    """Something is called."""

    node: ast.Call
    callee: Value
    arguments: Arguments


@dataclass(frozen=True)
class SyncQuery:
    """A method that runs SQL is called; ``twin`` is its asynchronous form, if there is one."""

    node: ast.AST
    text: str
    twin: str | None


@dataclass(frozen=True)
class Evaluation:
    """A QuerySet is evaluated without ``await``; ``how`` is "for", "list()", "len()", "if", "[]", ..."""

    node: ast.AST
    query: values.Query
    how: str


@dataclass(frozen=True)
class Relation:
    """A relation or a field that isn't loaded is looked at."""

    node: ast.AST
    record: values.Record
    name: str
    is_forward: bool
    is_field: bool = False  # not a relation, but a field that only() or defer() has left out


@dataclass(frozen=True)
class UserTouched:
    """``request.user`` is evaluated."""

    node: ast.AST


@dataclass(frozen=True)
class SessionTouched:
    """The session is read or written without ``await``; ``name`` is the method, or "[]"."""

    node: ast.AST
    name: str


@dataclass(frozen=True)
class Misused:
    """A coroutine is used as if it were its result; ``how`` says what is done with it."""

    node: ast.AST
    coroutine: values.Coroutine
    how: str


@dataclass(frozen=True)
class Entered:
    """A context manager is entered."""

    node: ast.AST  # the with statement, or the call of a function that the context manager decorates
    item: ast.AST
    value: Value


@dataclass(frozen=True)
class AttributeUsed:
    """An attribute of a live object is read or written."""

    node: ast.AST
    object: object
    name: str


@dataclass(frozen=True)
class Discarded:
    """A value that nobody keeps."""

    node: ast.AST
    value: Value
    is_statement: bool


@dataclass(frozen=True)
class Tried:
    """A ``try`` statement."""

    node: ast.Try
    caught: Sequence[tuple[ast.ExceptHandler, Sequence[Value]]]  # each handler with its exceptions; none: all


@dataclass(frozen=True)
class InForeignThread:
    """A function that runs SQL is given to a thread that isn't Django's."""

    node: ast.AST
    how: str
    query: str


@dataclass(frozen=True)
class LazyFromThread:
    """sync_to_async() gave a QuerySet that wasn't evaluated in the thread."""

    node: ast.AST
    text: str


@dataclass(frozen=True)
class SignalSent:
    """A signal is sent synchronously; ``receivers`` says for each connected one whether it is asynchronous."""

    node: ast.AST
    text: str
    receivers: Sequence[bool]
    query: str | None  # that a synchronous receiver makes


@dataclass(frozen=True)
class FormChecked:
    """A form validates or saves, and has reasons to query."""

    node: ast.AST
    text: str
    why: str


Event: TypeAlias = (
    Call
    | SyncQuery
    | Evaluation
    | Relation
    | UserTouched
    | SessionTouched
    | Misused
    | Entered
    | AttributeUsed
    | Discarded
    | Tried
    | InForeignThread
    | LazyFromThread
    | SignalSent
    | FormChecked
)
