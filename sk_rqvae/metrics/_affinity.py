"""Measure whether items that belong together share ID prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array, issparse
from sklearn.utils import check_array

from sk_rqvae._checks.affinity import check_not_negative, positive_pairs
from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae.metrics._checks import check_item_codes, check_same_length


def affinity_lift(codes: ArrayLike, affinity: Any) -> NDArray[np.float64]:
    """How much more often items that belong together share an ID prefix than by chance.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    affinity : sparse matrix or array-like of shape (n_items, n_items)
        Non-negative weights of pairs of items, such as
        `sk_rqvae.interactions.cooccurrence` returns: how much two items belong
        together. The diagonal is ignored. A matrix that is not symmetric counts each
        pair with the mean of its two weights.

    Returns
    -------
    ndarray of shape (n_layers,)
        Entry ``l`` is the lift for prefixes of ``l + 1`` codes. It is 1 if IDs are
        independent of the affinity, and higher if items that belong together share
        prefixes. It is NaN if no two items have a common prefix of that length, as for
        the last level of unique IDs.

    Raises
    ------
    ValueError
        If there are no items, a code is fractional or negative, `affinity` has another
        shape, a value that is negative or not finite, or no positive value outside the
        diagonal.
    TypeError
        If `codes` does not hold integers.

    See Also
    --------
    prefix_neighbor_recall : Compares prefixes with distances of embeddings.
    prefix_label_agreement : Compares prefixes with labels of items.

    Notes
    -----
    Let ``S[l]`` be the set of pairs of different items with a common prefix of ``l``
    codes, and ``w`` the weights. Entry ``l - 1`` is::

        (w[S[l]].sum() / w.sum()) / (len(S[l]) / n_pairs)

    The numerator is the weighted share of the pairs that have a common prefix. The
    denominator is its expected value if the same IDs were assigned to items in random
    order. The ratio is the lift of an association rule [1]_. It has no upper bound:
    longer prefixes are shared by fewer pairs, so compare values only between IDs of
    similar codebook sizes. SIDInspector [2]_ reports co-occurrence probes of prefixes
    for the same purpose.

    References
    ----------
    .. [1] S. Brin, R. Motwani, J. D. Ullman and S. Tsur. Dynamic Itemset Counting and
       Implication Rules for Market Basket Data. SIGMOD 1997. (There called interest.)
    .. [2] J. Ding, H. Chang, H. Qin and T. Liu. SIDInspector: A Mapping-First
       Diagnostic Resource for Semantic-ID Tokenizers. 2026. arXiv:2606.10375.

    Examples
    --------
    Items 0 and 1 are often bought together, and so are items 2 and 3:

    >>> from sk_rqvae.metrics import affinity_lift
    >>> affinity = [[0, 8, 1, 0], [8, 0, 0, 1], [1, 0, 0, 8], [0, 1, 8, 0]]
    >>> affinity_lift([[0, 0], [0, 1], [1, 0], [1, 1]], affinity).round(3)
    array([2.667,   nan])
    >>> affinity_lift([[0, 0], [1, 0], [0, 1], [1, 1]], affinity).round(3)
    array([0.333,   nan])
    """
    checked = check_item_codes(codes)
    return lift_of_pairs(checked, weighted_pairs(affinity, len(checked)))


def lift_of_pairs(codes: IntArray, pairs: coo_array) -> NDArray[np.float64]:
    """`affinity_lift` of checked codes and of what `weighted_pairs` returned."""
    left, right, weights = pairs.row, pairs.col, pairs.data
    total = weights.sum()
    n_pairs = len(codes) * (len(codes) - 1)
    lifts = []
    for length in range(1, codes.shape[1] + 1):
        _, prefix = np.unique(row_keys(codes[:, :length]), return_inverse=True)
        # Pairs without a common prefix have no longer one either.
        common = prefix[left] == prefix[right]
        left, right, weights = left[common], right[common], weights[common]
        by_chance = _n_common(prefix) / n_pairs
        lifts.append(weights.sum() / total / by_chance if by_chance else np.nan)
    return np.array(lifts)


def weighted_pairs(affinity: Any, n_items: int) -> coo_array:
    """The pairs of different items with a positive weight, which is checked.

    Raises
    ------
    ValueError
        As in `affinity_lift`.
    """
    check_unmasked(affinity, "affinity", instead="affinity.filled(0)")
    matrix = check_array(
        affinity,
        accept_sparse=("coo", "csr", "csc"),
        dtype=np.float64,
        input_name="affinity",
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"affinity must have shape (n_items, n_items). Got {matrix.shape}."
        )
    check_same_length(matrix.shape[0], n_items, name="affinity")
    pairs = coo_array(matrix)
    if issparse(matrix):
        pairs.sum_duplicates()
    check_not_negative(pairs.data)
    pairs = positive_pairs(pairs)
    # Only their proportions count. The sum of the largest floats would overflow.
    _, exponent = np.frexp(pairs.data.max())
    pairs.data = np.ldexp(pairs.data, -exponent)
    return pairs


def _n_common(prefix: IntArray) -> int:
    """Number of ordered pairs of different items with equal prefixes."""
    sizes = np.bincount(prefix).astype(np.int64)
    return int((sizes * (sizes - 1)).sum())
