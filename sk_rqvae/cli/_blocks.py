"""What is read from a file of rows, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray

ROWS_AT_ONCE = 8192

AppendIDs = Callable[[NDArray[Any], IntArray], None]


class Block(NamedTuple):
    """Consecutive rows, and what their items are called if the file says so."""

    items: NDArray[Any] | None
    rows: NDArray[Any]


class Columns(NamedTuple):
    """The columns of a table that are read: that of the items, those of the numbers."""

    item: str | None = None
    numbers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Source:
    """A matrix in a file: how many rows, if it is known, and a walk through them.

    `matrix` is a memory map, where the file has one.
    """

    path: Path
    n_rows: int | None
    read: Callable[[], Iterator[Block]]
    matrix: NDArray[Any] | None = None

    def blocks(self) -> Iterator[Block]:
        """Go through the rows; there has to be one."""
        is_empty = True
        for block in self.read():
            is_empty = False
            yield block
        if is_empty:
            raise ValueError(f"{self.path} must have at least one row. Got none.")


def number_columns(path: Path, names: Sequence[str], columns: Columns) -> list[str]:
    """Names of the columns with the numbers: those asked for, else all but the items'.

    Raises
    ------
    ValueError
        If a column that is asked for is not there, or none is left.
    """
    asked = [*filter(None, [columns.item]), *(columns.numbers or ())]
    missing = [name for name in asked if name not in names]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}. Got {', '.join(names[:20])}."
        )
    chosen = columns.numbers or [name for name in names if name != columns.item]
    if not chosen:
        raise ValueError(f"{path} has no columns of numbers. Got {', '.join(names)}.")
    return list(chosen)


def check_matrix(matrix: NDArray[Any], name: str) -> None:
    """Raise a ValueError unless it is a matrix of numbers."""
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise ValueError(
            f"{name} must hold a matrix of numbers, a row an item. Got an array of "
            f"shape {matrix.shape} and dtype {matrix.dtype}."
        )
