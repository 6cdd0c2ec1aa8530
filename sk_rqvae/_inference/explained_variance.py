"""Explained variance of reconstructions from prefixes of IDs, in bounded memory.

`sk_rqvae.metrics` has its own, of two matrices and without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import row_keys
from sk_rqvae._inference.blocks import as_float64, blocks
from sk_rqvae._inference.column_means import column_means
from sk_rqvae._inference.row_subset import ArrayOrTensor
from sk_rqvae._progress import ProgressCallback

_ROWS_AT_ONCE = 8192


def explained_by_depth(
    rows: ArrayOrTensor,
    codes: ArrayOrTensor,
    reconstruct: Callable[[Any], Any],
    depths: Sequence[int],
    unit: float,
    on_progress: ProgressCallback,
) -> NDArray[np.float64]:
    """Explained variance of reconstructions from the first codes of each ID.

    It is ``1 - SSE / SST``, with the sum of squared errors and the sum of squared
    deviations from the column means, both over all rows and columns.

    Parameters
    ----------
    rows : ndarray or Tensor of shape (n, n_features)
    codes : ndarray or Tensor of shape (n, n_layers), int64
        On the device of the rows.
    reconstruct : callable
        Maps ``(n, depth)`` codes to ``(n, n_features)`` rows.
    depths : sequence of int
        Numbers of codes to use, each at least 1.
    unit : float
        Scale of the data that the model was fitted on. Errors and deviations are
        divided by it, or by the largest deviation if that is larger, so that their
        squares do not overflow. Rows that differ by much less than it count as equal.
    on_progress : callable
        Called for parts of the rows of each depth, with their number.

    Returns
    -------
    ndarray of shape (len(depths),)
        At most 1. If all rows are equal: 1 for an exact reconstruction, else 0.
    """
    mean = column_means(rows)
    parts = list(blocks(len(rows), _ROWS_AT_ONCE))
    for part in parts:
        unit = max(unit, float(abs(as_float64(rows[part]) - mean).max()))
    unexplained = np.zeros(len(depths))
    total = 0.0
    for part in parts:
        block = as_float64(rows[part])
        for index, depth in enumerate(depths):
            error = block - _once_for_each(reconstruct, codes[part, :depth])
            unexplained[index] += float(((error / unit) ** 2).sum())
            on_progress(len(block))
        total += float((((block - mean) / unit) ** 2).sum())
    if total == 0:
        return (unexplained == 0).astype(np.float64)
    return 1 - unexplained / total


def _once_for_each(reconstruct: Callable[[Any], Any], codes: ArrayOrTensor) -> Any:
    """Reconstructions of codes, of which short prefixes are mostly equal."""
    if not isinstance(codes, np.ndarray):
        return reconstruct(codes)
    _, first, inverse = np.unique(
        row_keys(codes), return_index=True, return_inverse=True
    )
    if len(first) == len(codes):
        return reconstruct(codes)
    return reconstruct(codes[first])[inverse]
