"""Leave rows out, before anything is learnt from the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._inference.row_subset import ArrayOrTensor, Matrix, RowSubset


def without_weightless(
    X: ArrayOrTensor, weights: NDArray[np.float64] | None
) -> tuple[Matrix, NDArray[np.float64] | None]:
    """Rows of positive weight, and their weights; None if these are all equal.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n, n_features)
    weights : ndarray of shape (n,) or None
        Not negative, one of them positive.

    Returns
    -------
    rows : ndarray or RowSubset of shape (m, n_features), m <= n
    weights : ndarray of shape (m,) or None
    """
    if weights is None:
        return X, None
    used = np.flatnonzero(weights)
    rows: Matrix = X if len(used) == len(X) else RowSubset(X, used)
    weights = weights[used]
    return rows, None if weights.min() == weights.max() else weights


def hold_out(
    X: Matrix, fraction: float, run_length: int, rng: np.random.Generator
) -> tuple[RowSubset, RowSubset]:
    """Divide the rows at random into those to train on and those held out.

    Both parts keep the order of the rows.

    Parameters
    ----------
    X : ndarray or RowSubset of shape (n, n_features)
    fraction : float
        Share of the rows to hold out, in (0, 1).
    run_length : int
        Consecutive rows that are held out together. A file is read faster in long runs.
    rng : numpy.random.Generator

    Returns
    -------
    training, held_out : RowSubset

    Raises
    ------
    ValueError
        If no rows would be left to train on.
    """
    n_runs = -(-len(X) // run_length)
    n_held_out = int(np.ceil(fraction * n_runs))
    if n_held_out >= n_runs:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} leaves no rows "
            f"to train on. Got {len(X)} rows."
        )
    is_held_out = np.zeros(n_runs, dtype=bool)
    is_held_out[rng.permutation(n_runs)[:n_held_out]] = True
    by_row = np.repeat(is_held_out, run_length)[: len(X)]
    return (
        RowSubset(X, np.flatnonzero(~by_row)),
        RowSubset(X, np.flatnonzero(by_row)),
    )
