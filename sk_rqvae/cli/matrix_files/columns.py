"""Select the columns of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sk_rqvae.cli.matrix_files.source import Reading


class Columns(NamedTuple):
    """The columns that are read, by their names in the table."""

    key: str | None
    numbers: tuple[str, ...]


def chosen_columns(
    path: Path, names: Sequence[str], reading: Reading, index: Sequence[str] = ()
) -> Columns:
    """Choose the column of keys and those of numbers.

    Parameters
    ----------
    path : Path
        For error messages.
    names : sequence of str
        Of all columns.
    reading : Reading
    index : sequence of str, default=()
        Columns that another program wrote as the labels of rows. They are no numbers to
        encode, and if there is one, it has the keys.

    Raises
    ------
    ValueError
        If two columns have one name, a column is asked for that is not there, twice or
        as both key and numbers, or no column of numbers remains.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{path} must have different names for its columns. Got {twice[0]!r} "
            f"{names.count(twice[0])} times."
        )
    key = reading.key_column
    if key is None and reading.columns is None and len(index) > 1:
        raise ValueError(
            f"{path} has several columns of labels, {', '.join(map(repr, index))}. "
            "Name the one that has the keys with --item-column."
        )
    if key is None and len(index) == 1 and index[0] not in (reading.columns or ()):
        key = index[0]
    _check_asked(path, names, reading)
    numbers = reading.columns or tuple(
        name for name in names if name != key and name not in index
    )
    if not numbers:
        raise ValueError(f"{path} must have a column of numbers. Got {listed(names)}.")
    return Columns(key, tuple(numbers))


def _check_asked(path: Path, names: Sequence[str], reading: Reading) -> None:
    key = () if reading.key_column is None else (reading.key_column,)
    asked = (*key, *(reading.columns or ()))
    for name in asked:
        if name not in names:
            raise ValueError(f"{path} has no column {name!r}. Got {listed(names)}.")
        if asked.count(name) > 1:
            raise ValueError(
                f"--item-column and --columns must name a column once. Got {name!r} "
                f"{asked.count(name)} times."
            )


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(map(repr, names[:most]))
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
