"""Collisions: items that share an ID. Duplicate rows can be counted separately."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.metrics._checks import (
    check_item_codes,
    check_matrix,
    check_same_length,
)
from sk_rqvae.metrics._duplicate_rows import first_of_equal_rows


def collision_rate(codes: ArrayLike, X: ArrayLike | None = None) -> float:
    """Collision rate of the IDs, ``1 - n_distinct_ids / n_items``.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    X : array-like of shape (n_items, n_features), default=None
        The rows that were quantised. If given, rows that are exactly equal count as
        one item, which has the ID of the first of them. No quantizer can give equal
        rows different IDs. `duplicate_rate` measures how many there are.

    Returns
    -------
    float
        Between 0 (all IDs are different) and ``1 - 1 / n_items``.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row per item.
    TypeError
        If `codes` does not hold integers.

    See Also
    --------
    colliding_share : Counts every item that shares its ID with another one.

    References
    ----------
    .. [1] B. Zheng et al. Adapting Large Language Models by Integrating
       Collaborative Semantics for Recommendation. ICDE 2024. arXiv:2311.09049.
       (LC-Rec, whose code selects models by this rate.)

    Examples
    --------
    >>> from sk_rqvae.metrics import collision_rate
    >>> collision_rate([[0, 1], [0, 1], [0, 1], [2, 0]])
    0.5
    >>> collision_rate([[0, 1], [0, 1], [0, 1], [2, 0]], X=[[5], [5], [5], [7]])
    0.0
    """
    sizes = _bucket_sizes(codes, X)
    return float(1.0 - len(sizes) / sizes.sum())


def colliding_share(codes: ArrayLike, X: ArrayLike | None = None) -> float:
    """Share of the items whose ID at least one other item has.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    X : array-like of shape (n_items, n_features), default=None
        The rows that were quantised. If given, rows that are exactly equal count as
        one item, which has the ID of the first of them.

    Returns
    -------
    float
        Between 0 and 1, from `collision_rate` to twice `collision_rate`.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row per item.
    TypeError
        If `codes` does not hold integers.

    See Also
    --------
    collision_rate : ``1 - n_distinct_ids / n_items``.
    worst_bucket_size : The largest number of items with one ID.

    References
    ----------
    .. [1] J. Ding, H. Chang, H. Qin and T. Liu. SIDInspector: A Mapping-First
       Diagnostic Resource for Semantic-ID Tokenizers. 2026. arXiv:2606.10375.
       (Full-code aliasing rate.)

    Examples
    --------
    >>> from sk_rqvae.metrics import colliding_share
    >>> colliding_share([[0, 1], [0, 1], [0, 1], [2, 0]])
    0.75
    """
    sizes = _bucket_sizes(codes, X)
    return float(sizes[sizes > 1].sum() / sizes.sum())


def worst_bucket_size(codes: ArrayLike, X: ArrayLike | None = None) -> int:
    """Largest number of items that have the same ID.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    X : array-like of shape (n_items, n_features), default=None
        The rows that were quantised. If given, rows that are exactly equal count as
        one item, which has the ID of the first of them.

    Returns
    -------
    int
        Between 1 and `n_items`. TIGER [1]_ appends a code that makes IDs unique. It
        needs this many values.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row per item.
    TypeError
        If `codes` does not hold integers.

    References
    ----------
    .. [1] S. Rajput et al. Recommender Systems with Generative Retrieval. NeurIPS
       2023. arXiv:2305.05065.

    Examples
    --------
    >>> from sk_rqvae.metrics import worst_bucket_size
    >>> worst_bucket_size([[0, 1], [0, 1], [0, 1], [2, 0]])
    3
    """
    return int(_bucket_sizes(codes, X).max())


def duplicate_rate(X: ArrayLike) -> float:
    """Share of the rows that are exact copies of an earlier row.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        The rows to quantise.

    Returns
    -------
    float
        ``1 - n_distinct_rows / n_items``, between 0 and ``1 - 1 / n_items``. It is a
        lower bound on the `collision_rate` of any function of the rows.

    Raises
    ------
    ValueError
        If `X` is empty, not 2-D or not finite.

    See Also
    --------
    collision_rate : Pass `X` to count collisions among distinct rows only.

    Examples
    --------
    >>> from sk_rqvae.metrics import duplicate_rate
    >>> duplicate_rate([[5.0, 1.0], [5.0, 1.0], [5.0, 2.0], [7.0, 1.0]])
    0.25
    """
    matrix = check_matrix(X, name="X")
    return 1.0 - len(first_of_equal_rows(matrix)) / len(matrix)


def _bucket_sizes(codes: ArrayLike, X: ArrayLike | None) -> IntArray:
    checked = check_item_codes(codes)
    if X is not None:
        matrix = check_matrix(X, name="X")
        check_same_length(len(matrix), len(checked), name="X")
        checked = checked[first_of_equal_rows(matrix)]
    _, sizes = np.unique(row_keys(checked), return_counts=True)
    return sizes
