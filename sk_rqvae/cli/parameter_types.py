"""Convert the texts of options to values."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:  # generic for type checkers alone in older releases of click
    _ParamType = click.ParamType

NO_WORDS: Mapping[str, Any] = MappingProxyType({})
_MOST_WORDS = 3
_MARKS: dict[Any, list[str]] = {None: [], int: ["INT"], float: ["NUMBER"]}
_NOUNS: dict[Any, list[str]] = {
    None: [],
    int: ["an integer"],
    float: ["a number"],
}


class OneOf(_ParamType):
    """A number, or one of some words.

    Parameters
    ----------
    number : type or None
        int or float; None where only words are allowed.
    words : mapping of str to object
        What each word stands for.
    """

    def __init__(
        self, number: type | None, words: Mapping[str, Any] = NO_WORDS
    ) -> None:
        self.number = number
        self.words = dict(words)
        self.name = self._metavar()

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The value of a text, or of a value in a settings file."""
        if isinstance(value, str) and value.lower() in self.words:
            return self.words[value.lower()]
        if isinstance(value, bool):
            if value in self.words.values():
                return value
        elif (number := self._number(value)) is not None:
            return number
        self.fail(f"must be {self._expected()}. Got {value!r}.", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The placeholder for the value in the help; long lists are shortened."""
        return "NAME" if len(self.words) > _MOST_WORDS else self._metavar()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that begin with what was typed."""
        return [
            CompletionItem(word) for word in self.words if word.startswith(incomplete)
        ]

    def _metavar(self) -> str:
        return "|".join([*_MARKS[self.number], *self.words])

    def _expected(self) -> str:
        return " or ".join([*_NOUNS[self.number], *self.words])

    def _number(self, value: Any) -> Any:
        if self.number is None or (self.number is int and isinstance(value, float)):
            return None
        try:
            return self.number(value)
        except (TypeError, ValueError):
            return None


class ListOf(_ParamType):
    """Values with commas between them, such as ``512,256``.

    Parameters
    ----------
    each : OneOf
    one_is_no_list : bool
        Whether a value without a comma stands for itself. Otherwise it is a list of
        one, and an empty text is an empty list.
    none : bool
        Whether ``none`` stands for None.
    """

    def __init__(
        self, each: OneOf, *, one_is_no_list: bool = False, none: bool = False
    ) -> None:
        self.each = each
        self.one_is_no_list = one_is_no_list
        self.none = none
        self.name = f"{each.name},..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The value of a text, or of a number or list in a settings file."""
        if self.none and value == "none":
            return None
        if isinstance(value, str):
            value = value.split(",") if value or self.one_is_no_list else []
            if len(value) == 1 and self.one_is_no_list:
                value = value[0]
        if isinstance(value, list | tuple):
            return tuple(self.each.convert(part, param, ctx) for part in value)
        one = self.each.convert(value, param, ctx)
        return one if self.one_is_no_list else (one,)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The placeholder for the value in the help."""
        return "INT,..." if self.each.number is int else "NAME,..."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that can follow the last comma."""
        before, comma, last = incomplete.rpartition(",")
        words = self.each.shell_complete(ctx, param, last)
        return [CompletionItem(f"{before}{comma}{word.value}") for word in words]


class Names(_ParamType):
    """Names with commas between them; a settings file may have a list."""

    name = "name,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The names."""
        names = value.split(",") if isinstance(value, str) else value
        if not (
            isinstance(names, list | tuple)
            and names
            and all(isinstance(name, str) and name for name in names)
        ):
            self.fail(f"must be names with commas between them. Got {value!r}.", param)
        return tuple(names)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The placeholder for the value in the help."""
        return "NAME,..."
