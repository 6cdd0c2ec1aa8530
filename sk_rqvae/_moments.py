"""Mean and scale of columns, without leaving float64's range or memory's bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VALUES_AT_ONCE = 2**22


def location_and_scale(
    X: NDArray[Any], n_cat_features: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column means, and one scale for the real and one for the binary columns.

    A single scale keeps the geometry of the rows, and so which rows are alike; one
    scale for each column would not.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    n_cat_features : int
        How many columns, the last, are binary.

    Returns
    -------
    mean : ndarray of shape (n_features,)
    scale : ndarray of shape (n_features,)
        Root mean square deviation from the mean over all columns of a kind; 1 where
        that is zero.
    """
    mean = column_means(X)
    largest, squares = _deviations(X, mean)
    scale = np.ones(X.shape[1])
    n_real = X.shape[1] - n_cat_features
    for kind in (slice(None, n_real), slice(n_real, None)):
        power = squares[kind].mean() if squares[kind].size else 0.0
        if power > 0:
            scale[kind] = largest * np.sqrt(power)
    return mean, scale


def blocks_of(X: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """Copies of blocks of rows, as float64."""
    n_rows = max(1, _VALUES_AT_ONCE // X.shape[1])
    for start in range(0, len(X), n_rows):
        # In C order whatever the order of X, as the order decides how sums round.
        yield np.array(X[start : start + n_rows], dtype=np.float64, order="C")


def column_means(X: NDArray[Any]) -> NDArray[np.float64]:
    # Halving before adding keeps sums of the largest floats finite.
    first = np.asarray(X[0], dtype=np.float64)
    total = np.zeros(X.shape[1])
    for block in blocks_of(X):
        block /= len(X)
        block -= first / len(X)
        total += block.sum(axis=0)
    return first + total


def _deviations(
    X: NDArray[Any], mean: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Largest deviation, and mean squares of the columns in units of it."""
    largest = 0.0
    for block in blocks_of(X):
        block -= mean
        largest = max(largest, float(block.max()), -float(block.min()))
    if largest == 0:
        return 0.0, np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for block in blocks_of(X):
        block -= mean
        block /= largest
        squares += np.einsum("ij,ij->j", block, block)
    return largest, squares / len(X)
