"""Validation of `affinity`."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_array


def check_affinity(affinity: Any, n_rows: int) -> csr_array:
    """A symmetric matrix without a diagonal, of finite, non-negative numbers.

    Parameters
    ----------
    affinity : sparse matrix or array of shape (n_rows, n_rows)
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
    if matrix.nnz and matrix.data.min() < 0:
        raise ValueError(f"affinity must not be negative. Got {matrix.data.min()}.")
    halves = matrix / 2  # halved before the sum, which could overflow
    pairs = (halves + halves.T).tocoo()
    different = (pairs.row != pairs.col) & (pairs.data > 0)
    if not different.any():
        raise ValueError(
            "affinity must have a positive value outside the diagonal. Got none."
        )
    positions = pairs.row[different], pairs.col[different]
    return csr_array((pairs.data[different], positions), shape=matrix.shape)


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
