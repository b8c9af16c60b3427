"""What is known of the values of a function on each of several ways through it: a branch that ends leaves nothing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from django_asgi_deploy.checks.scope import Scope
from django_asgi_deploy.checks.values import (
    Bound,
    Coroutine,
    LazyUser,
    Made,
    Mapping,
    Parent,
    Query,
    Record,
    Request,
    Session,
    Several,
    Value,
)

# Those of the values that change while a function is read.
_CHANGING = Query | Record | Request | Coroutine | Made
State: TypeAlias = dict[int, tuple[Any, dict[str, Any]]]  # by the value's id: the value, and its attributes


def state_of(scope: Scope) -> State:
    """How everything is now that the names of a function, and of those around it, stand for."""
    found: State = {}
    inside: Scope | None = scope
    todo: list[Value] = []
    while inside is not None:
        todo.extend(inside.env.values())
        inside = inside.outer
    seen: set[int] = set()
    while todo:
        value = todo.pop()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, _CHANGING):
            found[id(value)] = (value, {name: _copy(each) for name, each in vars(value).items()})
        todo.extend(_inside(value))
    return found


def restore(state: State) -> None:
    for value, attributes in state.values():
        for name, each in attributes.items():
            setattr(value, name, _copy(each))


def meet(states: Sequence[State]) -> None:
    """Afterwards, everything may be as any of the ways has left it."""
    for key in {key for state in states for key in state}:
        ends = [state[key] for state in states if key in state]
        value = ends[0][0]
        for name in ends[0][1]:
            setattr(value, name, _met([attributes[name] for _, attributes in ends]))


def _inside(value: Value) -> Iterable[Value]:
    if isinstance(value, Made):
        return [*value.attributes.values(), *value.arguments]
    if isinstance(value, Several):
        return [value.element, *(value.items or ())]
    if isinstance(value, Mapping):
        return [value.element, *value.items.values()]
    if isinstance(value, Session | LazyUser):
        return [value.request]
    if isinstance(value, Bound | Parent):
        return [value.owner]
    return [value.result] if isinstance(value, Coroutine) else _of_request(value)


def _of_request(value: Value) -> Iterator[Value]:
    if isinstance(value, Request):
        yield value.user


def _copy(attribute: Any) -> Any:
    return attribute.copy() if isinstance(attribute, set | dict) else attribute


def _met(attributes: list[Any]) -> Any:
    """A flag is set if one way sets it, a relation loaded if one way loads it; who knows, if one way doesn't."""
    first = attributes[0]
    if isinstance(first, bool):
        return any(attributes)
    if all(isinstance(each, set) for each in attributes):
        return set().union(*attributes)
    if isinstance(first, dict):
        return {name: value for each in attributes for name, value in each.items()}
    return None if any(each is None for each in attributes) else attributes[-1]
