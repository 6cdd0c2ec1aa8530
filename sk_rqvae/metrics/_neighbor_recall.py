"""Recall of nearest neighbours by IDs and by reconstructions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae._checks.scalars import check_int
from sk_rqvae.metrics._checks import (
    check_item_codes,
    check_matrix,
    check_reconstruction,
    check_same_length,
)
from sk_rqvae.metrics._exact_neighbors import neighborhoods


def prefix_neighbor_recall(
    X: ArrayLike,
    codes: ArrayLike,
    *,
    k: int = 10,
    n_queries: int = 1000,
    random_state: Any = None,
) -> float:
    """Recall@k of nearest neighbours, retrieved by the longest common ID prefix.

    For each query item, take the `k` items nearest to it in `X` by Euclidean distance,
    and the `k` items with the longest common ID prefix. The recall is the share of the
    former that are among the latter.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised. For cosine neighbours, normalise them first.
    codes : array-like of shape (n_items, n_layers)
        Its IDs, one code per level.
    k : int, default=10
        Number of neighbours, below `n_items`.
    n_queries : int, default=1000
        Number of query items, drawn without replacement; all items if there are fewer.
        Neighbours are searched among all items.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw. Pass an int for reproducible results.

    Returns
    -------
    float
        Between 0 and 1. The expected value for random IDs is ``k / (n_items - 1)``.

    Raises
    ------
    ValueError
        If `X` is not a finite matrix with one row per item, a code is fractional or
        negative, or `k` or `n_queries` is out of range.
    TypeError
        If `codes`, `k` or `n_queries` does not hold integers.

    See Also
    --------
    decoded_neighbor_recall : Retrieves by distances of reconstructions.

    Notes
    -----
    Common prefixes have few different lengths, so most items are tied. Where rank `k`
    falls within a tie, the result is the exact mean over all orders of the tied
    items [1]_. In `X`, every item at the distance of the k-th neighbour (to one part in
    1e9) counts as a neighbour [2]_.

    Time: ``n_queries * n_items * n_features`` multiplications, in single precision if
    `X` is of single precision, and one sort of the items per level. Memory: one copy of
    `X`.

    References
    ----------
    .. [1] F. McSherry and M. Najork. Computing Information Retrieval Performance
       Measures Efficiently in the Presence of Tied Scores. ECIR 2008.
    .. [2] M. Aumüller, E. Bernhardsson and A. Faithfull. ANN-Benchmarks: A
       Benchmarking Tool for Approximate Nearest Neighbor Algorithms. Information
       Systems 87, 2020. arXiv:1807.05614.

    Examples
    --------
    >>> from sk_rqvae.metrics import prefix_neighbor_recall
    >>> X = [[0.0], [1.0], [10.0], [11.0]]
    >>> prefix_neighbor_recall(X, [[0, 0], [0, 1], [1, 0], [1, 1]], k=1)
    1.0
    >>> prefix_neighbor_recall(X, [[0, 0], [1, 0], [0, 1], [1, 1]], k=1)
    0.0
    """
    matrix = check_matrix(X, name="X")
    checked = check_item_codes(codes)
    check_same_length(len(matrix), len(checked), name="X")
    k = check_int("k", k, minimum=1, maximum=len(matrix) - 1)
    queries = _draw_queries(len(matrix), n_queries, random_state)

    sharing = _items_sharing(checked)
    hits = 0.0
    near = neighborhoods(matrix, queries, k)
    for query, nearby in zip(queries, near, strict=True):
        neighbors = np.concatenate(nearby)
        shared = _common_prefix(checked[neighbors], checked[query])
        hits += _probability_of_top_k(sharing[:, query], k)[shared].sum()
    return float(hits / (k * len(queries)))


def decoded_neighbor_recall(
    X: ArrayLike,
    X_rec: ArrayLike,
    *,
    k: int = 10,
    n_queries: int = 1000,
    random_state: Any = None,
) -> float:
    """Recall@k of nearest neighbours, retrieved by distances of reconstructions.

    For each query item, take the `k` items nearest to it in `X` by Euclidean distance,
    and the `k` items whose reconstructions are nearest to its own. The recall is the
    share of the former that are among the latter.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows that were quantised. For cosine neighbours, normalise the rows of
        `X` and `X_rec` first.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction from the codes.
    k : int, default=10
        Number of neighbours, below `n_items`.
    n_queries : int, default=1000
        Number of query items, drawn without replacement; all items if there are fewer.
        Neighbours are searched among all items.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw. Pass an int for reproducible results.

    Returns
    -------
    float
        Between 0 and 1; 1 if `X_rec` equals `X`.

    Raises
    ------
    ValueError
        If the shapes differ, a matrix is empty, not 2-D or not finite, or `k` or
        `n_queries` is out of range.
    TypeError
        If `k` or `n_queries` is not an int.

    See Also
    --------
    prefix_neighbor_recall : Needs no decoder.

    Notes
    -----
    Query and items are both replaced by their reconstructions (the symmetric distance
    of [1]_), so the result depends on the IDs alone. Items with the same ID are tied.
    Where rank `k` falls within a tie, the result is the exact mean over all orders of
    the tied items [2]_. In `X`, every item at the distance of the k-th neighbour (to
    one part in 1e9) counts as a neighbour [3]_.

    Time: ``2 * n_queries * n_items * n_features`` multiplications, in single precision
    if the matrices are of single precision. Memory: one copy of each matrix, and up to
    128 MiB of distances for each, or 256 MiB in double precision.

    References
    ----------
    .. [1] H. Jégou, M. Douze and C. Schmid. Product Quantization for Nearest Neighbor
       Search. IEEE TPAMI 33, 2011.
    .. [2] F. McSherry and M. Najork. Computing Information Retrieval Performance
       Measures Efficiently in the Presence of Tied Scores. ECIR 2008.
    .. [3] M. Aumüller, E. Bernhardsson and A. Faithfull. ANN-Benchmarks: A
       Benchmarking Tool for Approximate Nearest Neighbor Algorithms. Information
       Systems 87, 2020. arXiv:1807.05614.

    Examples
    --------
    >>> from sk_rqvae.metrics import decoded_neighbor_recall
    >>> X = [[0.0], [1.0], [10.0], [11.0]]
    >>> decoded_neighbor_recall(X, [[0.5], [0.5], [10.5], [10.5]], k=1)
    1.0
    """
    original, restored = check_reconstruction(X, X_rec)
    k = check_int("k", k, minimum=1, maximum=len(original) - 1)
    queries = _draw_queries(len(original), n_queries, random_state)

    hits = 0.0
    near = neighborhoods(original, queries, k)
    decoded_near = neighborhoods(restored, queries, k)
    for nearby, decoded in zip(near, decoded_near, strict=True):
        neighbors = np.concatenate(nearby)
        probability_if_tied = (k - len(decoded.closer)) / len(decoded.tied)
        hits += np.isin(decoded.closer, neighbors).sum()
        hits += np.isin(decoded.tied, neighbors).sum() * probability_if_tied
    return float(hits / (k * len(queries)))


def _draw_queries(n_items: int, n_queries: int, random_state: Any) -> IntArray:
    n_queries = check_int("n_queries", n_queries, minimum=1)
    if n_queries >= n_items:
        return np.arange(n_items)
    random = check_random_state(random_state)
    return random.choice(n_items, size=n_queries, replace=False)


def _items_sharing(codes: IntArray) -> IntArray:
    """Number of other items that share a prefix of length 0, 1, ... with each item.

    Returns
    -------
    ndarray of shape (n_layers + 1, n_items)
    """
    n_items, n_layers = codes.shape
    sharing = np.empty((n_layers + 1, n_items), dtype=np.int64)
    sharing[0] = n_items - 1
    for depth in range(1, n_layers + 1):
        _, bucket, sizes = np.unique(
            row_keys(codes[:, :depth]), return_inverse=True, return_counts=True
        )
        sharing[depth] = sizes[bucket] - 1
    return sharing


def _common_prefix(codes: IntArray, query_codes: IntArray) -> IntArray:
    return np.cumprod(codes == query_codes, axis=1).sum(axis=1)


def _probability_of_top_k(sharing: IntArray, k: int) -> NDArray[np.float64]:
    """Probability that an item is among the top k, by common prefix length.

    Parameters
    ----------
    sharing : ndarray of shape (n_layers + 1,)
        Number of items with a common prefix of length at least 0, 1, ...
    k : int

    Returns
    -------
    ndarray of shape (n_layers + 1,)
    """
    closer = np.append(sharing[1:], 0)
    tied = sharing - closer
    # Where no item is tied, the value is never used.
    return np.clip((k - closer) / np.maximum(tied, 1), 0.0, 1.0)
