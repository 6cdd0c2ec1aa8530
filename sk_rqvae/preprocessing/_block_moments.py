"""Means of columns and standard deviations of blocks of columns."""

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
    """Mean of each column and deviation of each block, over the rows that have it.

    The deviation is the root of the sum of the variances of the columns.
    """
    mean, deviation = np.empty(matrix.shape[1]), np.empty(len(sizes))
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
        with np.errstate(over="ignore", invalid="ignore"):
            # Relative to the first row, so that constant columns have no variance.
            rows -= (first := rows[0].copy())
            offset = weight @ rows
            mean[columns] = first + offset
            rows -= offset
            # Squares of a unit near the largest value neither overflow nor vanish.
            unit = np.abs(rows).max()
            if unit > 0:
                rows /= unit
            deviation[block] = unit * np.sqrt(weight @ np.square(rows).sum(axis=1))
        if not np.isfinite(deviation[block]):
            raise ValueError(
                "X must have columns whose differences are finite. Those of block "
                f"{names[block]!r} overflow."
            )
    return mean, deviation
