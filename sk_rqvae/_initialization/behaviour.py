"""Learn to predict behaviour from rows, so that IDs can follow both."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array
from torch import Tensor

from sk_rqvae._inference.blocks import on_device
from sk_rqvae._inference.column_means import shares_of
from sk_rqvae._inference.row_subset import Matrix
from sk_rqvae._initialization.behaviour_vectors import behaviour_vectors
from sk_rqvae._model.behaviour_map import BehaviourMap, kernel
from sk_rqvae._model.columns import standardized
from sk_rqvae._ridge import ridge_by_gcv

Array = NDArray[np.float64]

# Bound of memory and time: items whose behaviour is remembered one by one.
_MAX_CENTRES = 4096
_ROWS_AT_ONCE = 8192
# Penalty of the kernel map, in similarities of a row with itself: so small that known
# items keep nearly all of their own behaviour, and large enough to solve for items with
# equal rows. On films of MovieLens-1M and MovieLens-100K (two seeds each), penalties of
# 0.0001, 0.001 and 0.01 gave known and new films the same lift, within its errors. With
# 0.1, known films had a lift of two codes that was 12 and 16% lower.
_KERNEL_RIDGE = 0.01


class BehaviourData(NamedTuple):
    """What a behaviour map is fitted to: the `m` rows with affinity.

    Attributes
    ----------
    X : ndarray or RowSubset of shape (n, n_features)
        All rows.
    mean, scale : Tensor of shape (n_features,)
        Standardise the rows.
    known : ndarray of shape (m,), int64
        Which rows have affinity.
    degree : ndarray of shape (m,)
        Sums of their affinity.
    vectors : ndarray of shape (m, n_vectors)
        Their behaviour.
    weights : ndarray of shape (m,)
        Their weights, 1 on average.
    """

    X: Matrix
    mean: Tensor
    scale: Tensor
    known: NDArray[np.int64]
    degree: Array
    vectors: Array
    weights: Array

    def rows(self, chosen: NDArray[np.int64]) -> Tensor:
        """Standardised rows, by their number among those with affinity."""
        block = on_device(self.X[self.known[chosen]], self.mean.device)
        return standardized(block, self.mean, self.scale)

    def centres(self) -> NDArray[np.int64]:
        """The rows to remember: all, or those of the largest affinity and weight."""
        rank = np.argsort(-self.degree * self.weights, kind="stable")
        return np.sort(rank[:_MAX_CENTRES])


def behaviour_data(
    X: Matrix,
    affinity: csr_array,
    weights: Array | None,
    mean: Tensor,
    scale: Tensor,
    rng: np.random.Generator,
) -> BehaviourData:
    """Find the vectors of the rows with affinity.

    Parameters
    ----------
    X : ndarray or RowSubset of shape (n, n_features)
    affinity : csr_array of shape (n, n)
    weights : ndarray of shape (n,) or None
        Positive weights of the rows.
    mean, scale : Tensor of shape (n_features,)
    rng : numpy.random.Generator
    """
    degree = np.asarray(affinity.sum(axis=1))
    known = np.flatnonzero(degree)
    of_known = np.ones(len(known))
    if weights is not None and len(known):
        of_known = shares_of(weights[known]) * len(known)
    vectors = behaviour_vectors(affinity, rng)[known]
    return BehaviourData(X, mean, scale, known, degree[known], vectors, of_known)


@torch.no_grad()
def new_behaviour_map(data: BehaviourData, weight: float) -> BehaviourMap | None:
    """Fit a map to the behaviour of items.

    1. Vectors of behaviour are centred and scaled, so that their variance is `weight`
       times that of the rows.
    2. Ridge regression on the rows gives the linear part, see `ridge_by_gcv`.
    3. Kernel ridge regression on the residuals of the centres gives the rest.

    Returns
    -------
    BehaviourMap or None
        None if all vectors are equal, or if none of the rows has affinity, so that
        there is nothing to predict.

    Warns
    -----
    UserWarning
        If there is nothing to predict.
    """
    targets = _scaled(data, weight)
    if targets is None:
        _warn_of_no_effect(data)
        return None
    linear = _ridge(data, targets)
    centres = data.centres()
    rows = data.rows(centres)
    residuals = targets[centres] - rows.double().cpu().numpy() @ linear
    fitted = BehaviourMap(rows.shape[1], len(centres), targets.shape[1])
    fitted.linear.copy_(torch.from_numpy(linear))
    _set_kernel(fitted, rows, _kernel_ridge(rows, residuals, data.weights[centres]))
    fitted.weight.fill_(weight)
    return fitted.to(rows.device)


@torch.no_grad()
def updated_behaviour_map(data: BehaviourData, earlier: BehaviourMap) -> BehaviourMap:
    """A map that also knows the items of `data`.

    Vectors of another affinity have other axes. They are rotated to agree with what
    `earlier` predicts. The residuals of these predictions are learnt by new centres,
    which replace the oldest if there are more than `_MAX_CENTRES`.

    Warns
    -----
    UserWarning
        If there is nothing to learn from `data`. The map then stays as it is.

    References
    ----------
    Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem".
    """
    targets = _scaled(data, float(earlier.weight))
    if targets is None:
        _warn_of_no_effect(data)
        return earlier
    centres = data.centres()
    rows = data.rows(centres)
    predicted = earlier(rows).double().cpu().numpy()
    left, _, right = np.linalg.svd(targets[centres].T @ predicted, full_matrices=False)
    residuals = targets[centres] @ (left @ right) - predicted
    coefficients = _kernel_ridge(rows, residuals, data.weights[centres])
    all_rows = torch.cat([earlier.centres, rows])[-_MAX_CENTRES:]
    kept = torch.cat([earlier.coefficients, coefficients.to(rows)])[-_MAX_CENTRES:]
    fitted = BehaviourMap(rows.shape[1], *kept.shape).to(rows.device)
    fitted.linear.copy_(earlier.linear)
    fitted.weight.copy_(earlier.weight)
    _set_kernel(fitted, all_rows, kept)
    return fitted


def _set_kernel(fitted: BehaviourMap, rows: Tensor, coefficients: Tensor) -> None:
    fitted.centres = rows.clone()
    fitted.coefficients = coefficients.to(rows).contiguous()


def _scaled(data: BehaviourData, weight: float) -> Array | None:
    """Centred vectors with `weight` times the variance of standardised rows."""
    if data.vectors.shape[1] == 0:
        return None
    centred = data.vectors - np.average(data.vectors, axis=0, weights=data.weights)
    power = np.average(np.square(centred).sum(axis=1), weights=data.weights)
    if power < np.finfo(np.float64).eps:
        return None
    scaled: Array = centred * np.sqrt(weight * data.X.shape[1] / power)
    return scaled


def _warn_of_no_effect(data: BehaviourData) -> None:
    reason = (
        "no items in it belong together more than others do, so that all have the same "
        "vector of behaviour."
    )
    if len(data.known) == 0:
        reason = (
            "it has no positive value for two rows that are trained on. Those held out "
            "for early stopping and rows of sample weight zero are not."
        )
    warnings.warn(f"affinity has no effect: {reason}", UserWarning, stacklevel=4)


def _ridge(data: BehaviourData, targets: Array) -> Array:
    """Weights of a linear regression on the rows, ``(n_features, n_outputs)``."""
    n_features = data.X.shape[1]
    squares = np.zeros((n_features, n_features))
    products = np.zeros((n_features, targets.shape[1]))
    for start in range(0, len(targets), _ROWS_AT_ONCE):
        part = np.arange(start, min(start + _ROWS_AT_ONCE, len(targets)))
        rows = data.rows(part).double().cpu().numpy()
        weighted = rows * data.weights[part, np.newaxis]
        squares += weighted.T @ rows
        products += weighted.T @ targets[part]
    power = float((data.weights[:, np.newaxis] * np.square(targets)).sum())
    return ridge_by_gcv(squares, products, power, len(targets))


def _kernel_ridge(rows: Tensor, targets: Array, weights: Array) -> Tensor:
    """Coefficients of the centres `rows`, which are fitted to `targets`."""
    similarity = kernel(rows, rows).double().cpu().numpy()
    similarity[np.diag_indices(len(similarity))] += _KERNEL_RIDGE / weights
    return torch.from_numpy(_solved(similarity, targets))


def _solved(matrix: Array, right: Array) -> Array:
    solution: Array = cho_solve(cho_factor(matrix, overwrite_a=True), right)
    return solution
