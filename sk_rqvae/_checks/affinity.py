"""Validation of `affinity`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, issparse
from sklearn.utils import check_array


def check_affinity(affinity: Any, n_rows: int) -> csr_array:
    """A symmetric matrix without a diagonal, of finite, non-negative numbers.

    Parameters
    ----------
    affinity : scipy sparse matrix of shape (n_rows, n_rows)
        One that is not symmetric is replaced by the mean of it and its transpose.
    n_rows : int

    Returns
    -------
    csr_array of shape (n_rows, n_rows), float64

    Raises
    ------
    TypeError
        If it is not sparse.
    ValueError
        If it has another shape, a value that is negative or not finite, or no positive
        value outside the diagonal.
    """
    if not issparse(affinity):
        raise TypeError(
            "affinity must be a scipy sparse matrix of shape (n_samples, n_samples). "
            f"Got {type(affinity).__name__}. Convert a dense matrix with "
            "scipy.sparse.csr_array."
        )
    _check_shape(affinity.shape, n_rows)
    matrix = csr_array(
        check_array(
            affinity, accept_sparse="csr", dtype=np.float64, input_name="affinity"
        )
    )
    check_not_negative(matrix.data)
    halves = matrix / 2  # halved before the sum, which could overflow
    return positive_pairs((halves + halves.T).tocoo()).tocsr()


def check_not_negative(values: NDArray[np.float64]) -> None:
    """Check the values of an affinity."""
    if values.size and values.min() < 0:
        raise ValueError(f"affinity must not be negative. Got {values.min()}.")


def positive_pairs(affinity: coo_array) -> coo_array:
    """The positive values outside the diagonal; an error if there is none."""
    chosen = (affinity.row != affinity.col) & (affinity.data > 0)
    if not chosen.any():
        raise ValueError(
            "affinity must have a positive value outside the diagonal. Got none."
        )
    positions = affinity.row[chosen], affinity.col[chosen]
    return coo_array((affinity.data[chosen], positions), shape=affinity.shape)


def _check_shape(shape: tuple[int, ...], n_rows: int) -> None:
    if shape == (n_rows, n_rows):
        return
    advice = ""
    if len(shape) == 2 and shape[0] == n_rows:
        advice = (
            " It seems that its rows were cut, as cross-validation does, but not its "
            "columns. Pass affinity[rows][:, rows] to fit in a loop of your own."
        )
    raise ValueError(
        f"affinity must have shape (n_samples, n_samples), ({n_rows}, {n_rows}). Got "
        f"{shape}.{advice}"
    )
