"""What goes through an iterable besides ``for``: itertools, ``", ".join()``, a list's ``extend()``."""

import ast

from django_asgi_deploy.checks.events import Arguments
from django_asgi_deploy.checks.known import HANDLERS, with_key
from django_asgi_deploy.checks.live import merged
from django_asgi_deploy.checks.scope import Reading, Scope, text_of
from django_asgi_deploy.checks.values import Coroutine, Mapping, Several, Value

function, method = HANDLERS.function, HANDLERS.method

# Of iterables in the standard library: all arguments, from the one with this index on.
_CONSUMERS = {
    "collections.deque": 0,
    "collections.Counter": 0,
    "collections.OrderedDict": 0,
    "functools.reduce": 1,
    "heapq.nlargest": 1,
    "heapq.nsmallest": 1,
    "itertools.chain": 0,
    "itertools.islice": 0,
    "itertools.groupby": 0,
    "itertools.cycle": 0,
    "itertools.batched": 0,
    "itertools.pairwise": 0,
    "itertools.zip_longest": 0,
    "itertools.product": 0,
    "itertools.accumulate": 0,
    "itertools.takewhile": 1,
    "itertools.dropwhile": 1,
    "itertools.filterfalse": 1,
    "itertools.starmap": 1,
    "random.choice": 0,
    "random.sample": 0,
    "statistics.mean": 0,
    "statistics.median": 0,
    "math.fsum": 0,
    "more_itertools.chunked": 0,
    "more_itertools.first": 0,
}


@function(*_CONSUMERS)
def _go_through(reader: Reading, scope: Scope, node: ast.Call, arguments: Arguments) -> Value:
    name = text_of(node.func).rpartition(".")[2]
    first = next((index for full, index in _CONSUMERS.items() if full.rpartition(".")[2] == name), 0)
    elements = [reader.iterate(scope, node, each, text_of(node)) for each in arguments.positional[first:]]
    if name == "groupby" and elements and (key := arguments.get(1, "key")) is not None:
        reader.call(scope, node, key, Arguments(elements[:1]))
        return Several(Several(items=(None, Several(elements[0]))))
    with_key(reader, scope, node, arguments, elements[0] if elements else None)
    return Several(elements[0]) if len(elements) == 1 else Several()


@method(["builtins.str", "builtins.bytes"], "join")
def _join(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    reader.iterate(scope, node, arguments.get(0, "iterable"), text_of(node))
    return None


@method(["_csv.writer", "csv.DictWriter"], "writerows")
def _write_rows(reader: Reading, scope: Scope, node: ast.Call, owner: Value, arguments: Arguments) -> Value:
    reader.iterate(scope, node, arguments.get(0, "rows"), text_of(node))
    return None


# Of lists, sets and dicts that the function itself has made.
OF_COLLECTIONS = frozenset(
    ["extend", "update", "union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset"]
)


def call_on_several(
    reader: Reading, scope: Scope, node: ast.Call, owner: Value, name: str, arguments: Arguments
) -> Value:
    if name == "sort" and isinstance(owner, Several):
        with_key(reader, scope, node, arguments, owner.element)
    if name in ("append", "add") and isinstance(owner, Several) and arguments.positional:
        is_first = owner.items == () and owner.element is None
        before = owner.items or [owner.element]
        owner.element = merged([arguments.positional[0], *([] if is_first else before)])
        owner.items = None
    if name == "update" and isinstance(owner, Mapping):
        for each in arguments.positional:
            owner.items.update(each.items if isinstance(each, Mapping) else {})
        owner.items.update(arguments.named)
    if name in OF_COLLECTIONS:
        for each in arguments.positional:
            reader.iterate(scope, node, each, text_of(node))
    for each in arguments.all():
        if isinstance(each, Coroutine):
            each.used = True
    return None
