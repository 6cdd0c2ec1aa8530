"""Location and scale of the columns, in bounded memory and without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.blocks import beside
from sk_rqvae._inference.column_means import blocks_of, column_means, shares_of
from sk_rqvae._inference.row_subset import Matrix


def location_and_scale(
    X: Matrix, n_cat_features: int, weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column means, and one scale for the real and one for the binary columns.

    A single scale keeps the ratios of distances between rows. One scale for each column
    would not.

    Parameters
    ----------
    X : ndarray, Tensor or RowSubset of shape (n, n_features)
        The statistics of a tensor are computed on its device.
    n_cat_features : int
        The number of binary columns, which are the last.
    weights : ndarray of shape (n,), default=None
        Positive weights of the rows. None is equal weights.

    Returns
    -------
    mean : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        Root mean square deviation from the mean over all columns of a kind; 1 where
        that is zero.

    Raises
    ------
    ValueError
        If two values of a column lie further apart than the largest float64.
    """
    mean = column_means(X, weights)
    largest, squares = _deviations(X, mean, weights)
    mean, squares = _on_host(mean), _on_host(squares)
    if not np.isfinite(largest):
        raise ValueError(
            "X must have values whose differences are finite in float64, below "
            "1.8e308. Got a value too far from its column's mean: divide X by a "
            "constant."
        )
    scale = np.ones(X.shape[1])
    n_real = X.shape[1] - n_cat_features
    for kind in (slice(None, n_real), slice(n_real, None)):
        power = squares[kind].mean() if squares[kind].size else 0.0
        if power > 0:
            scale[kind] = largest * np.sqrt(power)
    return mean, scale


def _deviations(
    X: Matrix, mean: Any, weights: NDArray[np.float64] | None
) -> tuple[float, Any]:
    """Largest deviation, and mean squares of the columns in units of it."""
    xp: Any = torch if isinstance(mean, Tensor) else np
    extreme = beside(mean, np.zeros(()))
    for block in blocks_of(X):
        with np.errstate(over="ignore"):
            block -= mean
        extreme = xp.maximum(extreme, xp.maximum(block.max(), -block.min()))
    largest = float(extreme)
    squares = beside(mean, np.zeros(X.shape[1]))
    if largest == 0 or not np.isfinite(largest):
        return largest, squares
    shares = None if weights is None else beside(mean, shares_of(weights))
    n_read = 0
    for block in blocks_of(X):
        block -= mean
        block /= largest
        if shares is None:
            squares += xp.einsum("ij,ij->j", block, block)
        else:
            share = shares[n_read : n_read + len(block)]
            squares += xp.einsum("i,ij,ij->j", share, block, block)
        n_read += len(block)
    return largest, squares / len(X) if shares is None else squares


def _on_host(statistic: Any) -> NDArray[np.float64]:
    if isinstance(statistic, Tensor):
        return statistic.cpu().numpy()
    return np.asarray(statistic)
