"""Means of columns and variances of blocks of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def block_moments(
    matrix: NDArray[Any],
    weights: FloatArray,
    missing: NDArray[np.bool_],
    names: list[str],
    sizes: list[int],
) -> tuple[FloatArray, FloatArray]:
    """Mean of each column and variance of each block, over the rows that have it."""
    mean, variance = np.empty(matrix.shape[1]), np.empty(len(sizes))
    start = 0
    for block, size in enumerate(sizes):
        columns = slice(start, start + size)
        start += size
        used = ~missing[:, block] & (weights > 0)
        if not used.any():
            raise ValueError(
                f"X must have block {names[block]!r} in at least one row of positive "
                "weight. Got none."
            )
        rows, weight = matrix[used, columns].astype(np.float64), weights[used]
        weight = weight / weight.sum()
        # Relative to the first row, so that constant columns have zero variance.
        rows -= (first := rows[0].copy())
        offset = weight @ rows
        mean[columns] = first + offset
        with np.errstate(over="ignore", invalid="ignore"):
            variance[block] = weight @ np.square(rows - offset).sum(axis=1)
        if not np.isfinite(variance[block]):
            raise ValueError(
                f"X must have a finite variance. That of block {names[block]!r} "
                "overflows."
            )
    return mean, variance
