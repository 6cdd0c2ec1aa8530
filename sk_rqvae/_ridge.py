"""Ridge regression with a penalty chosen by generalised cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# In mean variances of the columns. On 400 made-up rows, half or four times the steps
# changed the error of predictions by at most 6%, and wider ends changed nothing: the
# error of cross-validation is flat around its minimum.
_GRID = np.logspace(-4, 3, 29)


def ridge_by_gcv(squares: Array, products: Array, power: float, n_rows: int) -> Array:
    """Ridge regression with the penalty of least generalised cross-validation error.

    Parameters
    ----------
    squares : ndarray of shape (n_features, n_features)
        ``X.T @ X``.
    products : ndarray of shape (n_features, n_outputs)
        ``X.T @ Y``.
    power : float
        ``(Y ** 2).sum()``.
    n_rows : int
        Rows of `X` and `Y`.

    Returns
    -------
    ndarray of shape (n_features, n_outputs)
        Zeros if no penalty has a lower error than predicting zero.

    References
    ----------
    Golub, Heath and Wahba (1979), "Generalized cross-validation as a method for
    choosing a good ridge parameter".
    """
    variances, axes = np.linalg.eigh(squares)
    variances = variances.clip(min=0)
    mean_variance = variances.mean() or 1.0  # rows can all be zero
    rotated = axes.T @ products
    explained = np.square(rotated).sum(axis=1)
    penalties = mean_variance * _GRID[:, np.newaxis]
    shrunk = variances + penalties
    errors = power - (explained * (shrunk + penalties) / np.square(shrunk)).sum(axis=1)
    n_fitted = (variances / shrunk).sum(axis=1)
    errors /= np.square(1 - n_fitted / (n_rows + 1))
    best = np.argmin(errors)
    if errors[best] >= power:
        return np.zeros_like(rotated)
    solution: Array = axes @ (rotated / shrunk[best, :, np.newaxis])
    return solution
