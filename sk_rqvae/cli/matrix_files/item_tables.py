"""Tables about the items of a matrix: which belong together, and their weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from sk_rqvae._checks.missing import first_missing
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.csv_header import is_number
from sk_rqvae.cli.matrix_files.csv_lines import Line, csv_lines
from sk_rqvae.cli.matrix_files.parquet_file import (
    errors_name_the_file,
    parquet_libraries,
)
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file

FORMATS = (".csv", ".parquet", ".tsv")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class Items:
    """The rows of a matrix by the keys of their items.

    Parameters
    ----------
    keys : ndarray of shape (n_rows,) or None
        None numbers the rows from 0.
    n_rows : int
    """

    def __init__(self, keys: NDArray[Any] | None, n_rows: int) -> None:
        self.n_rows = n_rows
        every: Iterable[Any] = range(n_rows) if keys is None else keys.tolist()
        self.row_of = {str(key): row for row, key in enumerate(every)}

    def rows(self, path: Path, name: str, keys: Sequence[Any]) -> NDArray[np.int64]:
        """Rows of the items in a column of a table."""
        missing = first_missing(keys)
        if missing is not None:
            raise ValueError(
                f"{path}, row {missing}, column {name!r} must have the key of an item. "
                "Got null."
            )
        for number, key in enumerate(keys):
            if str(key) not in self.row_of:
                raise ValueError(
                    f"{path}, row {number}, column {name!r} must have the key of an "
                    f"item. Got {key!r}; without --item-column, keys are the numbers "
                    "of the rows from 0."
                )
        return np.array([self.row_of[str(key)] for key in keys], dtype=np.int64)


class _Table(NamedTuple):
    path: Path
    columns: dict[str, list[Any]]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Finite numbers."""
        values = [_number(value) for value in self.columns[name]]
        for number, value in enumerate(values):
            if not np.isfinite(value):
                raise ValueError(
                    f"{self.path}, row {number}, column {name!r} must have a finite "
                    f"number. Got {self.columns[name][number]!r}."
                )
        return np.array(values, dtype=np.float64)


def _number(value: Any) -> float:
    """A number; NaN for what is none."""
    if isinstance(value, str) and not is_number(value):
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def check_item_table(option: str, path: Path | None) -> None:
    """Raise a UsageError if the name of the file has another ending."""
    if path is not None and path.suffix.lower() not in FORMATS:
        raise UsageError(f"{option} must end in {', '.join(FORMATS)}. Got {path}.")


def read_affinity(path: Path, items: Items) -> coo_array:
    """The matrix of a table of pairs: ``item_a``, ``item_b`` and perhaps ``weight``.

    A pair that is listed several times has the sum of its weights.
    """
    table = _read(path, ("item_a", "item_b"), ("weight",))
    left, right = (
        items.rows(path, name, table.columns[name]) for name in ("item_a", "item_b")
    )
    weights = np.ones(len(left))
    if "weight" in table.columns:
        weights = table.numbers("weight")
    return coo_array((weights, (left, right)), shape=(items.n_rows, items.n_rows))


def read_weights(path: Path, items: Items) -> NDArray[np.float64]:
    """The weights of a table of ``item`` and ``weight``; 0 for items not in it."""
    table = _read(path, ("item", "weight"), ())
    rows = items.rows(path, "item", table.columns["item"])
    if len(np.unique(rows)) < len(rows):
        raise ValueError(f"{path} must list each item once. Got an item twice.")
    given = table.numbers("weight")
    for number, weight in enumerate(given.tolist()):
        if weight < 0:
            raise ValueError(
                f"{path}, row {number}, column 'weight' must not be negative. Got "
                f"{weight}."
            )
    weights = np.zeros(items.n_rows)
    weights[rows] = given
    return weights


def _read(path: Path, required: Sequence[str], optional: Sequence[str]) -> _Table:
    check_regular_file(path)
    kind = path.suffix.lower()
    columns = (
        _parquet(path)
        if kind == ".parquet"
        else _text(path, _SEPARATORS[kind], (*required, *optional))
    )
    missing = [name for name in required if name not in columns]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(required)}. Got "
            f"{', '.join(columns) or 'none'}."
        )
    return _Table(
        path,
        {name: columns[name] for name in (*required, *optional) if name in columns},
    )


def _text(path: Path, separator: str, wanted: Sequence[str]) -> dict[str, list[Any]]:
    lines = csv_lines(path, separator)
    names = next(lines, Line(0, [])).fields
    repeated = [name for name in wanted if names.count(name) > 1]
    if repeated:
        raise ValueError(
            f"{path} must name each column once. Got {repeated[0]!r} twice."
        )
    rows = [line.fields for line in lines]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _parquet(path: Path) -> dict[str, list[Any]]:
    _, parquet = parquet_libraries()
    with errors_name_the_file(path):
        return dict(parquet.read_table(path).to_pydict())
