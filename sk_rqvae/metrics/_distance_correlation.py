"""Rank correlation of distances between items and distances between their IDs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import check_random_state

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.scalars import check_int
from sk_rqvae.metrics._checks import (
    Matrix,
    check_item_codes,
    check_matrix,
    check_reconstruction,
    check_same_length,
    row_blocks,
)


def prefix_distance_correlation(
    X: ArrayLike,
    codes: ArrayLike,
    *,
    n_pairs: int = 100_000,
    random_state: Any = None,
) -> float:
    """Rank correlation of distances in `X` with distances of IDs in the prefix tree.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised. For cosine distances, normalise them first.
    codes : array-like of shape (n_items, n_layers)
        Its IDs, one code per level.
    n_pairs : int, default=100_000
        Number of pairs of items, drawn with replacement. If there are at most this many
        pairs, each is used once.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw. Pass an int for reproducible results.

    Returns
    -------
    float
        Spearman's rank correlation, between -1 and 1. Ties get their mean rank. NaN,
        with an ``UndefinedMetricWarning``, if all distances of one kind are equal.

    Raises
    ------
    ValueError
        If there are fewer than two items, `X` is not a finite matrix with one row per
        item, a code is fractional or negative, or `n_pairs` is below 1.
    TypeError
        If `codes` or `n_pairs` does not hold integers.

    See Also
    --------
    decoded_distance_correlation : Uses distances of reconstructions.
    prefix_neighbor_recall : Looks at nearest neighbours only.

    Notes
    -----
    The distance of two IDs is the number of levels minus the length of their longest
    common prefix. That is the height of their lowest common ancestor in the prefix
    tree, so the result is a rank version of the cophenetic correlation [1]_. Most pairs
    have no common prefix. Their distances are tied, and values are small even for good
    IDs. Compare values only between IDs with the same number of levels and codes.

    This is not the distance correlation of Székely et al., a test of independence.

    References
    ----------
    .. [1] R. R. Sokal and F. J. Rohlf. The comparison of dendrograms by objective
       methods. Taxon 11, 1962.

    Examples
    --------
    >>> from sk_rqvae.metrics import prefix_distance_correlation
    >>> X = [[0.0], [1.0], [10.0], [11.0]]
    >>> codes = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> round(prefix_distance_correlation(X, codes), 3)
    0.853
    """
    matrix = check_matrix(X, name="X")
    checked = check_item_codes(codes)
    check_same_length(len(matrix), len(checked), name="X")
    left, right = _draw_pairs(len(matrix), n_pairs, random_state)
    shared = np.cumprod(checked[left] == checked[right], axis=1).sum(axis=1)
    return _rank_correlation(_distances(matrix, left, right), -shared)


def decoded_distance_correlation(
    X: ArrayLike,
    X_rec: ArrayLike,
    *,
    n_pairs: int = 100_000,
    random_state: Any = None,
) -> float:
    """Rank correlation of distances in `X` with distances of the reconstructions.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised. For cosine distances, normalise the rows of
        `X` and `X_rec` first.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction from the codes.
    n_pairs : int, default=100_000
        Number of pairs of items, drawn with replacement. If there are at most this many
        pairs, each is used once.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw. Pass an int for reproducible results.

    Returns
    -------
    float
        Spearman's rank correlation of Euclidean distances, between -1 and 1. Ties get
        their mean rank. NaN, with an ``UndefinedMetricWarning``, if all distances of
        one kind are equal.

    Raises
    ------
    ValueError
        If there are fewer than two items, the shapes differ, a matrix is empty, not 2-D
        or not finite, or `n_pairs` is below 1.
    TypeError
        If `n_pairs` is not an int.

    See Also
    --------
    prefix_distance_correlation : Needs no decoder.

    Notes
    -----
    The literature on dimension reduction calls this value the goodness of the Shepard
    diagram [1]_. It is not the distance correlation of Székely et al., a test of
    independence.

    References
    ----------
    .. [1] M. Espadoto, R. M. Martins, A. Kerren, N. S. T. Hirata and A. C. Telea.
       Toward a Quantitative Survey of Dimension Reduction Techniques. IEEE TVCG 27,
       2021.

    Examples
    --------
    >>> from sk_rqvae.metrics import decoded_distance_correlation
    >>> X = [[0.0], [1.0], [3.0], [7.0]]
    >>> round(decoded_distance_correlation(X, [[0.0], [2.0], [6.0], [14.0]]), 3)
    1.0
    """
    original, restored = check_reconstruction(X, X_rec)
    left, right = _draw_pairs(len(original), n_pairs, random_state)
    return _rank_correlation(
        _distances(original, left, right), _distances(restored, left, right)
    )


def _draw_pairs(
    n_items: int, n_pairs: int, random_state: Any
) -> tuple[IntArray, IntArray]:
    """Draw pairs of different items uniformly."""
    n_pairs = check_int("n_pairs", n_pairs, minimum=1)
    if n_items < 2:
        raise ValueError(f"X must have at least two rows. Got {n_items}.")
    if n_items * (n_items - 1) // 2 <= n_pairs:
        left, right = np.triu_indices(n_items, k=1)
        return left, right
    random = check_random_state(random_state)
    left = random.randint(n_items, size=n_pairs)
    step = random.randint(1, n_items, size=n_pairs)
    return left, (left + step) % n_items


def _distances(X: Matrix, left: IntArray, right: IntArray) -> NDArray[np.float64]:
    """Distances in a unit, a power of two, whose squares neither over- nor underflow.

    Their ranks are those of the distances.
    """
    distances = np.empty(len(left))
    exponent = _exponent_of_span(X)
    for block in row_blocks((len(left), X.shape[1])):
        halved = _halved(X[left[block]]) - _halved(X[right[block]])
        difference = np.ldexp(halved, 1 - exponent)
        distances[block] = np.linalg.norm(difference, axis=1)
    return distances


def _exponent_of_span(X: Matrix) -> int:
    """Exponent of a power of two near the largest difference in a column."""
    spans = _halved(X.max(axis=0)) - _halved(X.min(axis=0))
    return int(np.frexp(spans.max())[1])


def _halved(values: Matrix) -> NDArray[np.float64]:
    """Half of the values, so that a difference of the largest does not overflow."""
    return np.ldexp(values.astype(np.float64), -1)


def _rank_correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        warnings.warn(
            "The correlation is not defined, because all pairs have the same distance "
            "in one of the two spaces. NaN is returned.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return float("nan")
    return float(spearmanr(a, b).statistic)
