"""The rows of a file, in any format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

ROWS_AT_ONCE = 8192


class Block(NamedTuple):
    """Consecutive rows of a file.

    Attributes
    ----------
    keys : ndarray of shape (n,) or None
        The items' keys, int64 or strings in an object array, if the file has them.
    rows : ndarray of shape (n, n_columns)
    lines : sequence of int or None
        Line of each row, in a text file.
    """

    keys: NDArray[Any] | None
    rows: NDArray[Any]
    lines: Sequence[int] | None = None


@dataclass(frozen=True)
class Reading:
    """The options with which a file is read.

    Attributes
    ----------
    key_column : str or None
        Column of a table that has the items' keys.
    columns : tuple of str or None
        Columns of a table that have the numbers. None is all but the key.
    array : str or None
        Array of an ``.npz`` file. None is its only one.
    has_header : bool or None
        Whether the first line of a CSV file has names. None decides by what it holds.
    unpack_limit : float or None
        MiB that the numbers of a compressed file may take. None depends on the file.
    """

    key_column: str | None = None
    columns: tuple[str, ...] | None = None
    array: str | None = None
    has_header: bool | None = None
    unpack_limit: float | None = None


@dataclass(frozen=True)
class Source:
    """The rows of a file.

    Attributes
    ----------
    path : Path
    n_rows : int or None
        None if it is unknown until the file has been read.
    read : callable
        Reads the rows from the beginning.
    names : tuple of str or None
        Names of the columns of numbers, if the file has names.
    matrix : memmap or None
        All rows, if the file can be memory-mapped.
    """

    path: Path
    n_rows: int | None
    read: Callable[[], Iterator[Block]]
    names: tuple[str, ...] | None = None
    matrix: NDArray[Any] | None = None

    def column(self, number: int) -> str:
        """The name of a column in messages."""
        return f"column {number if self.names is None else repr(self.names[number])}"


def row_name(block: Block, n_before: int, row: int) -> str:
    """The name of a row in messages: its line, or its number from 0."""
    if block.lines is not None:
        return f"line {block.lines[row]}"
    return f"row {n_before + row}"


class NoRowsError(ValueError):
    """A file is a matrix without rows.

    Parameters
    ----------
    message : str
    names : tuple of str or None, default=None
        Names of the columns of numbers. None if they are not known.
    n_columns : int or None, default=None
        Number of columns. None if it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        names: tuple[str, ...] | None = None,
        n_columns: int | None = None,
    ) -> None:
        super().__init__(message)
        self.names = names
        self.n_columns = n_columns
