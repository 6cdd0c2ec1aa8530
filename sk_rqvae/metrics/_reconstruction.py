"""Reconstruction error and explained variance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae.metrics._checks import Matrix, check_reconstruction, row_blocks

# Of values below it, float64 has the sums of all rows that there can be. The unit is a
# power of two, by which division is exact.
_LARGEST_SUMMED = 2.0**900
_UNIT_OF_LARGEST = 2.0**100


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
    original, restored = _without_overflow(original, restored)
    mean = _mean(original)
    unit = _largest_deviation(original, mean)
    if unit == 0.0:
        return float(_squared_error(original, restored) == 0.0)
    error = _squared_error(original, restored, unit)
    return 1.0 - error / _squared_deviation(original, mean, unit)


def _without_overflow(original: Matrix, restored: Matrix) -> tuple[Matrix, Matrix]:
    """Both in a larger unit if differences or sums of the values could overflow."""
    matrices = original, restored
    largest = max(max(float(m.max()), -float(m.min())) for m in matrices)
    if largest < _LARGEST_SUMMED:
        return matrices
    return original / _UNIT_OF_LARGEST, restored / _UNIT_OF_LARGEST


def _squared_error(original: Matrix, restored: Matrix, unit: float = 1.0) -> float:
    """Sum of squared errors, in units of `unit`."""
    total = 0.0
    for block in row_blocks(original.shape):
        difference = (original[block].astype(np.float64) - restored[block]) / unit
        total += float(np.einsum("ij,ij->", difference, difference))
    return total


class _Mean(NamedTuple):
    """Means of columns, as differences from the first row.

    So constant columns have deviations of exactly zero, and a large common offset loses
    no digits.
    """

    first: NDArray[np.float64]
    offset: NDArray[np.float64]

    def deviations(self, rows: Matrix) -> NDArray[np.float64]:
        """Rows minus the means."""
        deviations: NDArray[np.float64] = (rows - self.first) - self.offset
        return deviations


def _mean(original: Matrix) -> _Mean:
    first = original[0].astype(np.float64)
    sums = np.zeros_like(first)
    for block in row_blocks(original.shape):
        sums += (original[block] - first).sum(axis=0)
    return _Mean(first, sums / len(original))


def _largest_deviation(original: Matrix, mean: _Mean) -> float:
    """A unit whose multiples have squares that neither overflow nor vanish."""
    return max(
        float(np.abs(mean.deviations(original[block])).max())
        for block in row_blocks(original.shape)
    )


def _squared_deviation(original: Matrix, mean: _Mean, unit: float) -> float:
    total = 0.0
    for block in row_blocks(original.shape):
        deviation = mean.deviations(original[block]) / unit
        total += float(np.einsum("ij,ij->", deviation, deviation))
    return total
