"""How many of an item's nearest neighbours are also near it in code space."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.metrics._checks import (
    check_count,
    check_item_codes,
    check_matrix,
    check_reconstruction,
    check_same_length,
)
from sk_rqvae.metrics._nearest import neighborhoods


def prefix_neighbor_recall(
    X: ArrayLike,
    codes: ArrayLike,
    *,
    k: int = 10,
    n_queries: int = 1000,
    random_state: Any = None,
) -> float:
    """Recall@k of neighbours by the longest common prefix of their IDs.

    Of the `k` items nearest to an item by Euclidean distance in `X`, how many are among
    the `k` whose IDs share the longest prefix with its own?

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        What was quantised. For cosine neighbours, normalise its rows first.
    codes : array-like of shape (n_items, n_layers)
        Its IDs, one code a layer.
    k : int, default=10
        Number of neighbours, below `n_items`.
    n_queries : int, default=1000
        Number of items to look from, drawn without replacement; all if there are
        fewer. Neighbours are always sought among all items.
    random_state : int, RandomState instance or None, default=None
        Draws the queries. Pass an int for the same queries every time.

    Returns
    -------
    float
        Between 0 and 1. IDs drawn at random give about ``k / (n_items - 1)``.

    Raises
    ------
    ValueError
        If `X` is not a finite matrix with one row an item, a code is fractional or
        negative, or `k` or `n_queries` is out of range.
    TypeError
        If `codes`, `k` or `n_queries` is not of whole numbers.

    See Also
    --------
    decoded_neighbor_recall : Asks what the codes know, not only their order.

    Notes
    -----
    Prefix length has few values, so nearly all of the order is ties. Where the k-th
    place falls within a tie, the exact mean over all orders of the tied items is
    taken [1]_: no order is favoured and nothing is drawn at random. In `X`, an item as
    near as the k-th neighbour (to one part in 1e9) counts as a neighbour too [2]_.

    The time goes to ``n_queries * n_items * n_features`` multiplications, in single
    precision unless `X` is more precise, and memory to one copy of `X`. Prefixes add
    one sort of the items a layer.

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
    k = check_count(k, name="k", at_most=len(matrix) - 1)
    queries = _draw_queries(len(matrix), n_queries, random_state)

    sharing = _items_sharing(checked)
    hits = 0.0
    near = neighborhoods(matrix, queries, k)
    for query, nearby in zip(queries, near, strict=True):
        neighbors = np.concatenate(nearby)
        shared = _common_prefix(checked[neighbors], checked[query])
        hits += _chance_of_place(sharing[:, query], k)[shared].sum()
    return float(hits / (k * len(queries)))


def decoded_neighbor_recall(
    X: ArrayLike,
    X_rec: ArrayLike,
    *,
    k: int = 10,
    n_queries: int = 1000,
    random_state: Any = None,
) -> float:
    """Recall@k of neighbours by the distance of their reconstructions.

    Of the `k` items nearest to an item by Euclidean distance in `X`, how many are among
    the `k` whose reconstructions are nearest to its own?

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        What was quantised. For cosine neighbours, normalise the rows of both.
    X_rec : array-like of shape (n_items, n_features)
        Its reconstruction from the codes.
    k : int, default=10
        Number of neighbours, below `n_items`.
    n_queries : int, default=1000
        Number of items to look from, drawn without replacement; all if there are
        fewer. Neighbours are always sought among all items.
    random_state : int, RandomState instance or None, default=None
        Draws the queries. Pass an int for the same queries every time.

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
    Both ends of each distance are reconstructions, the symmetric distance of [1]_: what
    can be known from IDs alone. Items of one ID are tied. Where the k-th place falls
    within a tie, the exact mean over all orders of the tied items is taken [2]_. In
    `X`, an item as near as the k-th neighbour (to one part in 1e9) counts as a
    neighbour too [3]_.

    The time goes to ``2 * n_queries * n_items * n_features`` multiplications, in single
    precision unless a matrix is more precise, and memory to one copy of each matrix.

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
    k = check_count(k, name="k", at_most=len(original) - 1)
    queries = _draw_queries(len(original), n_queries, random_state)

    hits = 0.0
    near = neighborhoods(original, queries, k)
    decoded_near = neighborhoods(restored, queries, k)
    for nearby, decoded in zip(near, decoded_near, strict=True):
        neighbors = np.concatenate(nearby)
        chance_if_tied = (k - len(decoded.closer)) / len(decoded.tied)
        hits += np.isin(decoded.closer, neighbors).sum()
        hits += np.isin(decoded.tied, neighbors).sum() * chance_if_tied
    return float(hits / (k * len(queries)))


def _draw_queries(n_items: int, n_queries: int, random_state: Any) -> IntArray:
    n_queries = check_count(n_queries, name="n_queries")
    if n_queries >= n_items:
        return np.arange(n_items)
    random = check_random_state(random_state)
    return random.choice(n_items, size=n_queries, replace=False)


def _items_sharing(codes: IntArray) -> IntArray:
    """Count, for each item, the others that share at least 0, 1, ... codes with it.

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


def _chance_of_place(sharing: IntArray, k: int) -> NDArray[np.float64]:
    """Chance of a place among the first k, by the number of codes shared.

    Parameters
    ----------
    sharing : ndarray of shape (n_layers + 1,)
        Number of items that share at least 0, 1, ... codes.
    k : int

    Returns
    -------
    ndarray of shape (n_layers + 1,)
    """
    closer = np.append(sharing[1:], 0)
    tied = sharing - closer
    # Nothing looks up the chance of a tie that no item is in.
    return np.clip((k - closer) / np.maximum(tied, 1), 0.0, 1.0)
