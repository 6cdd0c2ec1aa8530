"""A record of the items that did not get the codes their model gave them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray


class Moves(NamedTuple):
    """Items that were moved, in order of arrival.

    Attributes
    ----------
    rows : ndarray of shape (n_moved,), int64
    codes : ndarray of shape (n_moved, n_layers), int64
        What the model gave them.
    added_errors : ndarray of shape (n_moved,), float64
        By how much their squared error grew. NaN where no model was at hand.
    """

    rows: IntArray
    codes: IntArray
    added_errors: NDArray[np.float64]

    @classmethod
    def none(cls, n_layers: int) -> Moves:
        """Record that no item was moved."""
        return cls(
            np.empty(0, dtype=np.int64),
            np.empty((0, n_layers), dtype=np.int64),
            np.empty(0),
        )

    def followed_by(self, later: Moves) -> Moves:
        """Append later moves."""
        if len(later.rows) == 0:
            return self
        return Moves(*(np.concatenate(pair) for pair in zip(self, later, strict=True)))

    def undone(self, codes: IntArray) -> IntArray:
        """Turn the ``(n, n_layers)`` codes of all items to what the model gave."""
        if len(self.rows) == 0:
            return codes
        undone = codes.copy()
        undone[self.rows] = self.codes
        return undone

    def by_level(self, codes: IntArray) -> list[int]:
        """Count the items that left what the model gave them at each level."""
        differs = codes[self.rows] != self.codes
        return np.bincount(differs.argmax(axis=1), minlength=codes.shape[1]).tolist()
