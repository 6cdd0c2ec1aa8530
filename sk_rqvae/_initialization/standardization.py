"""Location and scale of the columns, in bounded memory and without overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.blocks import as_float64, beside
from sk_rqvae._inference.column_means import (
    blocks_of,
    column_means,
    parts_of,
    shares_of,
)
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
    largest = _largest_deviation(X, mean)
    if not np.isfinite(largest):
        raise ValueError(
            "X must have values whose differences are finite in float64, below "
            "1.8e308. Got a value too far from its column's mean: divide X by a "
            "constant."
        )
    scale = np.ones(X.shape[1])
    if largest == 0:
        return _on_host(mean), scale
    squares = _on_host(_mean_squares(X, mean, largest, weights))
    mean = _on_host(mean)
    n_real = X.shape[1] - n_cat_features
    for kind in (slice(None, n_real), slice(n_real, None)):
        power = squares[kind].mean() if squares[kind].size else 0.0
        if power > 0:
            scale[kind] = largest * np.sqrt(power)
    return mean, scale


def _largest_deviation(X: Matrix, mean: Any) -> float:
    """The largest distance of a value from the mean of its column."""
    xp: Any = torch if isinstance(mean, Tensor) else np
    largest = 0.0
    for part in parts_of(X):
        lowest, highest = (as_float64(of(part, 0)) for of in (xp.amin, xp.amax))
        with np.errstate(over="ignore"):
            deviations = xp.maximum(highest - mean, mean - lowest)
        largest = max(largest, float(deviations.max()))
    return largest


def _mean_squares(
    X: Matrix, mean: Any, largest: float, weights: NDArray[np.float64] | None
) -> Any:
    """Mean squared deviation of each column, in units of the largest deviation."""
    xp: Any = torch if isinstance(mean, Tensor) else np
    squares = beside(mean, np.zeros(X.shape[1]))
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
    return squares / len(X) if shares is None else squares


def _on_host(statistic: Any) -> NDArray[np.float64]:
    if isinstance(statistic, Tensor):
        return statistic.cpu().numpy()
    return np.asarray(statistic)
