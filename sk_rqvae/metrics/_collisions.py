"""How many items share an ID, and how many only because they are the same item."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae.metrics._checks import (
    check_item_codes,
    check_matrix,
    check_same_length,
)
from sk_rqvae.metrics._rows import group_rows


def collision_rate(codes: ArrayLike, X: ArrayLike | None = None) -> float:
    """Share of items that need something beyond their ID, 1 - unique/n.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code a layer.
    X : array-like of shape (n_items, n_features), default=None
        What was quantised. If given, exact duplicates of a row count once (with
        the ID of the first): no quantizer can tell them apart, so what is left are
        collisions among distinct rows. `duplicate_rate` counts the duplicates.

    Returns
    -------
    float
        Between 0 (every item has an ID of its own) and ``1 - 1 / n_items``.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row an item.
    TypeError
        If `codes` is not of whole numbers.

    See Also
    --------
    colliding_share : Counts all items of a shared ID, not all but one.

    References
    ----------
    .. [1] B. Zheng et al. Adapting Large Language Models by Integrating
       Collaborative Semantics for Recommendation. ICDE 2024. arXiv:2311.09049.
       (LC-Rec; its code picks models by this rate.)

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
    """Share of items whose ID at least one other item has too.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code a layer.
    X : array-like of shape (n_items, n_features), default=None
        What was quantised. If given, exact duplicates of a row count once (with
        the ID of the first).

    Returns
    -------
    float
        Between 0 and 1. At least `collision_rate`, and at most twice that.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row an item.
    TypeError
        If `codes` is not of whole numbers.

    See Also
    --------
    collision_rate : 1 - unique/n.
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
        IDs, one code a layer.
    X : array-like of shape (n_items, n_features), default=None
        What was quantised. If given, exact duplicates of a row count once (with
        the ID of the first).

    Returns
    -------
    int
        Between 1 and `n_items`. A further code that tells items of one ID apart, as
        TIGER [1]_ appends, needs this many values.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, or `X` is not a
        finite matrix with one row an item.
    TypeError
        If `codes` is not of whole numbers.

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
    """Share of rows that repeat an earlier row exactly, 1 - distinct/n.

    Parameters
    ----------
    X : array-like of shape (n_items, n_features)
        What is to be quantised.

    Returns
    -------
    float
        Between 0 (all rows differ) and ``1 - 1 / n_items``. A quantizer that is a
        function of the row has at least this `collision_rate`.

    Raises
    ------
    ValueError
        If `X` is empty, not 2-D or not finite.

    See Also
    --------
    collision_rate : With `X`, counts collisions among distinct rows only.

    Examples
    --------
    >>> from sk_rqvae.metrics import duplicate_rate
    >>> duplicate_rate([[5.0, 1.0], [5.0, 1.0], [5.0, 2.0], [7.0, 1.0]])
    0.25
    """
    matrix = check_matrix(X, name="X")
    return 1.0 - len(group_rows(matrix).first) / len(matrix)


def _bucket_sizes(codes: ArrayLike, X: ArrayLike | None) -> IntArray:
    checked = check_item_codes(codes)
    if X is not None:
        matrix = check_matrix(X, name="X")
        check_same_length(len(matrix), len(checked), name="X")
        checked = checked[group_rows(matrix).first]
    _, sizes = np.unique(row_keys(checked), return_counts=True)
    return sizes
