"""One option: what its declaration says, and how texts and values from outside become a value of its type."""

import dataclasses
import json
import os
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal


def option(
    default: Any,
    group: str,
    text: str,
    *,
    flag: bool = True,
    minimum: int | None = None,
    items: str = "strings",
    check: Callable[[Any], object] | None = None,
) -> Any:
    """A dataclass field that is an option.

    ``items`` says in words what a list or dictionary holds, or what an option takes beside its words; ``check`` raises
    ValueError for a value, or an item of a list, or a key of a dictionary, that is none.
    """
    metadata = {"group": group, "help": text, "flag": flag, "minimum": minimum, "items": items, "check": check}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """What the declaration of one field says."""

    name: str
    prefix: str  # of its environment variable
    type: Any
    default: Any
    group: str
    help: str
    flag: bool
    minimum: int | None
    items: str
    check: Callable[[Any], object] | None

    @property
    def key(self) -> str:
        return self.name.upper()

    @property
    def variable(self) -> str:
        return self.prefix + self.key

    @property
    def flag_name(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_number(self) -> bool:
        return self.type is int or int in typing.get_args(self.type)

    @property
    def words(self) -> tuple[str, ...]:
        """What has a meaning of its own: "auto", where the type is ``int | Literal["auto"]``, or ``str | ...``."""
        literals = [part for part in typing.get_args(self.type) if typing.get_origin(part) is Literal]
        return tuple(word for part in literals for word in typing.get_args(part))

    @property
    def is_list(self) -> bool:
        return typing.get_origin(self.type) is list

    @property
    def is_dictionary(self) -> bool:
        return typing.get_origin(self.type) is dict

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values allowed; empty where the type allows any of its kind."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is Literal else ()

    @property
    def default_in_words(self) -> str:
        if self.default is None:
            return "none"
        return ", ".join(self.default) or "none" if self.is_list else in_words(self.default)

    @property
    def expected(self) -> str:
        """The type in words, as messages and the reference use it."""
        if self.choices:
            return " or ".join(map(in_words, self.choices))
        if self.is_number:
            number = "a whole number" + ("" if self.minimum is None else f", at least {self.minimum}")
            return " or ".join([*self.words, number])
        if self.is_list:
            return f"a list of {self.items}"
        if self.is_dictionary:
            return f"a dictionary of {self.items}"
        return " or ".join([*map(in_words, self.words), self.items if self.words else "a string"])

    def parse(self, text: str) -> Any:
        """The value that a text from the environment or the command line stands for. Raises ValueError."""
        if self.is_list and not text.lstrip().startswith("["):
            return [text]
        if self.is_list or self.is_dictionary:
            try:
                return json.loads(text)
            except ValueError as error:
                raise ValueError(f"expected {self.expected}, written as JSON ({error})") from None
        if self.is_number and text not in self.words:
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"expected {self.expected}") from None
        return text

    def convert(self, value: Any) -> Any:
        """The value itself if it is of the option's type. Raises ValueError saying what was expected."""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, (str, bool)):  # off and False are the same
            value = next((each for each in (*self.choices, *self.words) if in_words(each) == in_words(value)), value)
        if not self._fits(value):
            raise ValueError(f"expected {self.expected}")
        for item in value if self.is_list or self.is_dictionary else [value]:
            if not self._is_word(item):
                self._check(item)
        return list(value) if self.is_list else value

    def _fits(self, value: Any) -> bool:
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if value is None:
            return self.default is None
        if self._is_word(value):
            return True
        if self.is_number:
            return type(value) is int and (self.minimum is None or value >= self.minimum)
        if self.is_list:
            return isinstance(value, (list, tuple)) and self._have_type(value, 0)
        if self.is_dictionary:
            return isinstance(value, dict) and self._have_type(value, 0) and self._have_type(value.values(), 1)
        return isinstance(value, str) and value != ""

    def _is_word(self, value: Any) -> bool:
        return any(type(value) is type(word) and value == word for word in self.words)

    def _have_type(self, items: Iterable[Any], parameter: int) -> bool:
        """Whether all are strings, where the type's parameter says so."""
        return typing.get_args(self.type)[parameter] is not str or all(isinstance(item, str) for item in items)

    def _check(self, item: Any) -> None:
        if self.check and item is not None:
            try:
                self.check(item)
            except ValueError as error:
                raise ValueError(f"{item!r}: {error}") from None


def options_of(settings: type, prefix: str) -> dict[str, Option]:
    """The options that a dataclass declares, by key. ``prefix`` is that of their environment variables."""
    hints = typing.get_type_hints(settings)
    found = {}
    for each in dataclasses.fields(settings):
        if each.metadata:
            default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
            declared = Option(each.name, prefix, hints[each.name], default, **each.metadata)
            found[declared.key] = declared
    return found


def in_words(value: Any) -> str:
    """A value as it is written on the command line."""
    return "off" if value is False else str(value)
