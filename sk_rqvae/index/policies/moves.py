"""A record of the items whose ID is not what their model gave them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray

NO_ROWS = GrowingArray(np.empty(0, dtype=np.int64))


class MovedRows(NamedTuple):
    """Some rows and what their model gave them.

    Attributes
    ----------
    rows : ndarray of shape (n_moved,), int64
    codes : ndarray of shape (n_moved, n_layers), int64
    added_errors : ndarray of shape (n_moved,), float64
        By how much their squared error grew. NaN where no model was at hand.
    kept : ndarray of shape (n_moved,), bool
        Whether they kept their ID when their codes changed. The policy reassigned the
        others.
    """

    rows: IntArray
    codes: IntArray
    added_errors: NDArray[np.float64]
    kept: NDArray[np.bool_]


class Moves(NamedTuple):
    """The record: the fields of `MovedRows`, as arrays that grow.

    Attributes
    ----------
    rows, codes, added_errors : GrowingArray
    kept_rows : GrowingArray
        Those of the rows that kept their ID.
    """

    rows: GrowingArray
    codes: GrowingArray
    added_errors: GrowingArray
    kept_rows: GrowingArray = NO_ROWS  # what was pickled before has none

    @classmethod
    def none(cls, n_layers: int) -> Moves:
        """Record that no item was moved."""
        return cls(
            NO_ROWS,
            GrowingArray(np.empty((0, n_layers), dtype=np.int64)),
            GrowingArray(np.empty(0)),
        )

    def values(self) -> MovedRows:
        """Return the record as arrays."""
        rows, kept_rows = self.rows.values, self.kept_rows.values
        kept = np.isin(rows, kept_rows)
        return MovedRows(rows, self.codes.values, self.added_errors.values, kept)

    def followed_by(self, later: MovedRows) -> Moves:
        """Append later moves, of other rows."""
        return Moves(
            self.rows.appended(later.rows),
            self.codes.appended(later.codes),
            self.added_errors.appended(later.added_errors),
            self.kept_rows.appended(later.rows[later.kept]),
        )

    def without(self, rows: IntArray) -> Moves:
        """Drop what is recorded of some rows."""
        keep = ~np.isin(self.rows.values, rows)
        if keep.all():
            return self
        kept_rows = self.kept_rows.values
        return Moves(
            GrowingArray(self.rows.values[keep]),
            GrowingArray(self.codes.values[keep]),
            GrowingArray(self.added_errors.values[keep]),
            GrowingArray(kept_rows[~np.isin(kept_rows, rows)]),
        )

    def of(self, rows: IntArray) -> MovedRows:
        """Return the record of some ascending rows, as positions in `rows`."""
        moved = self.values()
        at = np.searchsorted(rows, moved.rows)
        known = at < len(rows)
        known[known] = rows[at[known]] == moved.rows[known]
        return MovedRows(
            at[known],
            moved.codes[known],
            moved.added_errors[known],
            moved.kept[known],
        )

    def given(self, rows: IntArray, codes: IntArray) -> IntArray:
        """Codes ``(n, n_layers)`` that the model gave; `codes` are those of the IDs."""
        order = np.argsort(rows)
        moved = self.of(rows[order])
        given = codes.copy()
        given[order[moved.rows]] = moved.codes
        return given

    def are_kept(self, rows: IntArray) -> NDArray[np.bool_]:
        """Which rows kept their ID when their codes changed."""
        return np.isin(rows, self.kept_rows.values)


def changed_rows(before: Moves, after: Moves) -> IntArray:
    """Find the rows whose records differ, ascending."""
    records = [
        np.column_stack([moved.rows, moved.kept, moved.codes])
        for moved in (before.values(), after.values())
    ]
    distinct, counts = np.unique(np.concatenate(records), axis=0, return_counts=True)
    return np.unique(distinct[counts == 1, 0])


def moves_by_level(moved: MovedRows, codes: IntArray) -> list[int]:
    """Count the items that left what the model gave them at each level.

    The rows of `moved` are those of `codes`, ``(n, n_layers)``.
    """
    differs: Any = codes[moved.rows] != moved.codes
    return np.bincount(differs.argmax(axis=1), minlength=codes.shape[1]).tolist()
