"""Find rows of a matrix that are exactly equal."""

from __future__ import annotations

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.metrics._checks import Matrix, row_blocks


def first_of_equal_rows(X: Matrix) -> IntArray:
    """Index of the first of all rows that are equal; 0.0 and -0.0 are equal.

    Rows are sorted by their bytes, which takes a fraction of the time of
    ``np.unique(X, axis=0)``.
    """
    rows = np.ascontiguousarray(X)
    if _has_negative_zero(rows):
        rows = rows + 0.0  # Turns -0.0 into 0.0, which has other bytes.
    row_type = np.dtype((np.void, rows.itemsize * rows.shape[1]))
    order = np.argsort(rows.view(row_type).ravel(), kind="stable")
    starts = np.ones(len(rows), dtype=bool)
    for block in row_blocks((len(rows) - 1, rows.shape[1])):
        after = slice(block.start + 1, block.stop + 1)
        starts[after] = (rows[order[after]] != rows[order[block]]).any(axis=1)
    return order[starts]


def _has_negative_zero(X: Matrix) -> bool:
    return X.dtype.kind == "f" and any(
        bool((np.signbit(X[block]) & (X[block] == 0)).any())
        for block in row_blocks(X.shape)
    )
