"""How far reconstructions are from what was quantised."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae.metrics._checks import Matrix, check_reconstruction, row_blocks


def reconstruction_error(X: ArrayLike, X_rec: ArrayLike) -> float:
    """Mean squared error over all entries of the matrix.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        What was quantised.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction, in the units of `X`.

    Returns
    -------
    float
        Mean of ``(X - X_rec) ** 2``, in squared units of `X`; 0 is perfect. Sums are
        taken in float64 whatever the dtype of the input.

    Raises
    ------
    ValueError
        If the shapes differ, or a matrix is empty, not 2-D or not finite.

    See Also
    --------
    explained_variance : The same error on a scale without units.

    Examples
    --------
    >>> from sk_rqvae.metrics import reconstruction_error
    >>> reconstruction_error([[0.0, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 1.0]])
    1.0
    """
    original, restored = check_reconstruction(X, X_rec)
    return _squared_error(original, restored) / original.size


def explained_variance(X: ArrayLike, X_rec: ArrayLike) -> float:
    """Share of the variance of `X` that the reconstruction keeps, 1 - SSE/SST.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        What was quantised.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction, in the units of `X`.

    Returns
    -------
    float
        At most 1, which is perfect; 0 is no better than the column means, and less
        is worse than them. Where every row of `X` is the same there is no variance to
        explain: the result is 1 if `X_rec` equals `X`, else 0.

    Raises
    ------
    ValueError
        If the shapes differ, or a matrix is empty, not 2-D or not finite.

    See Also
    --------
    reconstruction_error : The error itself.

    Notes
    -----
    SSE is the sum of ``(X - X_rec) ** 2``, SST that of ``(X - X.mean(axis=0)) ** 2``.
    Sums run over all entries, so wide columns count for more. It is
    ``sklearn.metrics.r2_score`` with ``multioutput="variance_weighted"``, and not
    scikit-learn's ``explained_variance_score``, which forgives a constant offset.

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
    # Deviations from the first row rather than from zero: constant columns come out
    # as exact zeros, and a large common offset costs no digits.
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
