"""What an expression in the project's source stands for, as far as that is known. None is "not known"."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

Type: TypeAlias = type
Value: TypeAlias = Union[
    "Known",
    "Symbol",
    "Made",
    "Record",
    "Query",
    "Request",
    "Session",
    "LazyUser",
    "Bound",
    "Inner",
    "Wrapped",
    "Coroutine",
    "Generator",
    "Several",
    "Mapping",
    "Parent",
    None,
]


@dataclass(frozen=True, eq=False)
class Known:
    """A live object: a function, a class, a module, a singleton of a module."""

    object: Any


@dataclass(frozen=True)
class Symbol:
    """Something in a module that isn't imported (yet), by its full name."""

    name: str


@dataclass(eq=False)
class Made:
    """An instance of a class that isn't a model's; ``attributes`` are those that the function itself has set."""

    type: "Type"
    attributes: dict[str, Value] = field(default_factory=dict)
    arguments: tuple[Value, ...] = ()
    node: Any = None  # the call that made it, where that matters
    is_touched: bool = False  # a coroutine of its own has run: what it keeps may have been loaded


@dataclass(eq=False)
class Record:
    """An instance of a model. ``loaded`` names the relations whose objects are there already, None is "who knows"."""

    model: Any
    loaded: set[str] | None = None
    prefetched: set[str] | None = field(default_factory=set)
    deferred: frozenset[str] = frozenset()  # its fields that only() or defer() has left in the database

    def has(self, relation: str) -> bool:
        return self.loaded is None or relation in self.loaded

    def opaque(self) -> None:
        """Somebody else had it in their hands."""
        self.loaded, self.deferred = None, frozenset()


@dataclass(eq=False)
class Query:
    """A QuerySet or a manager."""

    model: Any
    type: "Type"  # of the manager, or of the QuerySet
    is_manager: bool = False
    select: set[str] | None = field(default_factory=set)  # None: who knows
    prefetch: set[str] | None = field(default_factory=set)
    known: set[str] = field(default_factory=set)  # relations that are there because of where it was asked for
    deferred: frozenset[str] = frozenset()
    rows: str = "records"  # or "values"
    evaluated: bool = False  # its result is in memory
    is_iterator: bool = False
    made_in_thread: Any = None  # the call of sync_to_async() that it came from
    text: str = ""


@dataclass(eq=False)
class Request:
    """An HttpRequest."""

    user: Value = None  # what somebody assigned to request.user
    has_user: bool = False  # request.user was evaluated
    has_session: bool = False  # the session was read


@dataclass(eq=False)
class Session:
    request: Request


@dataclass(eq=False)
class LazyUser:
    """What ``request.user`` is until somebody looks at it."""

    request: Request


@dataclass(frozen=True, eq=False)
class Bound:
    """A method of something, not called yet; ``function`` is None where only the name is known."""

    owner: Value
    name: str
    function: Any = None


@dataclass(frozen=True, eq=False)
class Inner:
    """A function or a lambda that is defined inside another one."""

    node: Any  # ast.FunctionDef, ast.AsyncFunctionDef or ast.Lambda
    scope: Any  # the environment around it


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A callable in another's hands: ``how`` says whose."""

    inner: Value
    how: str  # "sync_to_async", "async_to_sync", "partial", "opaque"
    thread_sensitive: bool = True
    arguments: Sequence[Value] = ()


@dataclass(eq=False)
class Coroutine:
    """What a coroutine function returned."""

    result: Value
    node: Any  # the call
    text: str
    is_query: bool = False  # one statement of the ORM
    function: Any = None  # the live one
    uses_orm: bool = False
    used: bool = False
    elements: "Several | None" = None


@dataclass(eq=False)
class Generator:
    """What a generator function returned; its body runs when it is iterated.

    Without a function, a generator expression: what it has given, or ``arguments`` say in which scope what will run.
    """

    function: Any
    arguments: Any
    is_async: bool
    element: Value = None


@dataclass(eq=False)
class Several:
    """A list, a tuple, a set: ``items`` where each is known, else what every element is."""

    element: Value = None
    items: tuple[Value, ...] | None = None

    def at(self, index: int) -> Value:
        if self.items is None:
            return self.element
        return self.items[index] if -len(self.items) <= index < len(self.items) else None


@dataclass(eq=False)
class Mapping:
    """A dict with the keys that are written down."""

    items: dict[str, Value] = field(default_factory=dict)
    element: Value = None


@dataclass(frozen=True, eq=False)
class Parent:
    """``super()``."""

    owner: Value
    type: "Type"
    above: "Type"  # the class after which the search begins
