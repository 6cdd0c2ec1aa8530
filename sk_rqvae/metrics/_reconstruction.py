"""Reconstruction error and explained variance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae.metrics._checks import Matrix, check_reconstruction, row_blocks


def reconstruction_error(X: ArrayLike, X_rec: ArrayLike) -> float:
    """Mean squared error over all entries of the matrix.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction, in the units of `X`.

    Returns
    -------
    float
        Mean of ``(X - X_rec) ** 2``, in squared units of `X`; 0 is the best value. Sums
        are computed in float64 for every dtype of the input.

    Raises
    ------
    ValueError
        If the shapes differ, or a matrix is empty, not 2-D or not finite.

    See Also
    --------
    explained_variance : The same error relative to the variance of `X`.

    Examples
    --------
    >>> from sk_rqvae.metrics import reconstruction_error
    >>> reconstruction_error([[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 1.0]])
    1.0
    """
    original, restored = check_reconstruction(X, X_rec)
    return _squared_error(original, restored) / original.size


def explained_variance(X: ArrayLike, X_rec: ArrayLike) -> float:
    """Share of the variance of `X` that the reconstruction explains, 1 - SSE/SST.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction, in the units of `X`.

    Returns
    -------
    float
        At most 1, the best value. Predicting the column means gives 0, and worse
        reconstructions are negative. If all rows of `X` are equal, the result is 1 if
        `X_rec` equals `X`, else 0.

    Raises
    ------
    ValueError
        If the shapes differ, or a matrix is empty, not 2-D or not finite.

    See Also
    --------
    reconstruction_error : The mean squared error.

    Notes
    -----
    SSE is the sum of ``(X - X_rec) ** 2`` over all entries, SST the sum of
    ``(X - X.mean(axis=0)) ** 2``. Columns of larger variance have more weight. The
    result equals ``sklearn.metrics.r2_score`` with ``multioutput="variance_weighted"``.
    scikit-learn's ``explained_variance_score`` differs: it ignores a constant offset.

    References
    ----------
    .. [1] A. Gersho and R. M. Gray. Vector Quantization and Signal Compression.
       Kluwer, 1992. (SST/SSE is the signal-to-quantisation-noise ratio.)

    Examples
    --------
    >>> from sk_rqvae.metrics import explained_variance
    >>> explained_variance([[0.0], [1.0], [2.0]], [[0.5], [0.5], [2.0]])
    0.75
    """
    original, restored = check_reconstruction(X, X_rec)
    error = _squared_error(original, restored)
    total = _squared_deviation(original)
    if total == 0.0:
        return float(error == 0.0)
    return 1.0 - error / total


def _squared_error(original: Matrix, restored: Matrix) -> float:
    total = 0.0
    for block in row_blocks(original.shape):
        difference = original[block].astype(np.float64) - restored[block]
        total += float(np.einsum("ij,ij->", difference, difference))
    return total


def _squared_deviation(original: Matrix) -> float:
    # Subtracting the first row makes constant columns exact zeros, and a large common
    # offset loses no digits.
    first = original[0].astype(np.float64)
    sums = np.zeros_like(first)
    for block in row_blocks(original.shape):
        sums += (original[block] - first).sum(axis=0)
    mean = sums / len(original)
    total = 0.0
    for block in row_blocks(original.shape):
        deviation = (original[block] - first) - mean
        total += float(np.einsum("ij,ij->", deviation, deviation))
    return total
