"""Explained variance of reconstructions from prefixes of IDs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._inference.blocks import blocks
from sk_rqvae._inference.column_means import column_means

_ROWS_AT_ONCE = 8192


def explained_by_depth(
    rows: NDArray[Any],
    codes: IntArray,
    reconstruct: Callable[[IntArray], NDArray[np.float64]],
    depths: Sequence[int],
    unit: float,
) -> NDArray[np.float64]:
    """``1 - SSE / SST`` of the first codes of each ID, for several depths.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    codes : ndarray of shape (n, n_layers), int64
    reconstruct : callable
        Maps ``(n, depth)`` codes to ``(n, n_features)`` rows.
    depths : sequence of int
        How many of the codes to use, each at least 1.
    unit : float
        What deviations are divided by before they are squared: squares of the largest
        floats are infinite, those of the smallest zero.

    Returns
    -------
    ndarray of shape (len(depths),)
        At most 1. Where all rows are equal, 1 if the reconstruction is exact, else 0.
    """
    mean = column_means(rows)
    unexplained = np.zeros(len(depths))
    total = 0.0
    for part in blocks(len(rows), _ROWS_AT_ONCE):
        block = rows[part].astype(np.float64)
        for place, depth in enumerate(depths):
            gap = block - reconstruct(codes[part, :depth])
            unexplained[place] += float(np.square(gap / unit).sum())
        total += float(np.square((block - mean) / unit).sum())
    if total == 0:
        return (unexplained == 0).astype(np.float64)
    return 1 - unexplained / total
