"""A record of the items whose ID is not what their model gave them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray


class MovedRows(NamedTuple):
    """Some rows and what their model gave them.

    Attributes
    ----------
    rows : ndarray of shape (n_moved,), int64
    codes : ndarray of shape (n_moved, n_layers), int64
    added_errors : ndarray of shape (n_moved,), float64
        By how much their squared error grew. NaN where no model was at hand.
    """

    rows: IntArray
    codes: IntArray
    added_errors: NDArray[np.float64]


class Moves(NamedTuple):
    """The record: the fields of `MovedRows`, each an array that grows."""

    rows: GrowingArray
    codes: GrowingArray
    added_errors: GrowingArray

    @classmethod
    def none(cls, n_layers: int) -> Moves:
        """Record that no item was moved."""
        return cls(
            GrowingArray(np.empty(0, dtype=np.int64)),
            GrowingArray(np.empty((0, n_layers), dtype=np.int64)),
            GrowingArray(np.empty(0)),
        )

    def values(self) -> MovedRows:
        """Return the record as arrays."""
        return MovedRows(self.rows.values, self.codes.values, self.added_errors.values)

    def followed_by(self, later: MovedRows) -> Moves:
        """Append later moves, of other rows."""
        return Moves(
            *(all_.appended(new) for all_, new in zip(self, later, strict=True))
        )

    def without(self, rows: IntArray) -> Moves:
        """Drop what is recorded of some rows."""
        keep = ~np.isin(self.rows.values, rows)
        if keep.all():
            return self
        return Moves(*(GrowingArray(array[keep]) for array in self.values()))

    def of(self, rows: IntArray) -> MovedRows:
        """Return the record of some ascending rows, as positions in `rows`."""
        moved = self.values()
        at = np.searchsorted(rows, moved.rows)
        known = at < len(rows)
        known[known] = rows[at[known]] == moved.rows[known]
        return MovedRows(at[known], moved.codes[known], moved.added_errors[known])

    def given(self, rows: IntArray, codes: IntArray) -> IntArray:
        """Turn ``(n, n_layers)`` codes in the IDs of rows to what the model gave."""
        order = np.argsort(rows)
        moved = self.of(rows[order])
        given = codes.copy()
        given[order[moved.rows]] = moved.codes
        return given


def changed_rows(before: Moves, after: Moves) -> IntArray:
    """Find the rows of which other codes are recorded, ascending."""
    records = [
        np.column_stack([each.rows.values, each.codes.values])
        for each in (before, after)
    ]
    distinct, counts = np.unique(np.concatenate(records), axis=0, return_counts=True)
    return np.unique(distinct[counts == 1, 0])


def moves_by_level(moved: MovedRows, codes: IntArray) -> list[int]:
    """Count the items that left what the model gave them at each level.

    The rows of `moved` are those of `codes`, ``(n, n_layers)``.
    """
    differs: Any = codes[moved.rows] != moved.codes
    return np.bincount(differs.argmax(axis=1), minlength=codes.shape[1]).tolist()
