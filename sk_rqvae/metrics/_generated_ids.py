"""Ranking metrics of generated ID lists, counted by item and by ID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray, row_keys
from sk_rqvae._checks.integers import joined_integers
from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae._checks.scalars import check_int
from sk_rqvae.metrics._checks import check_item_codes, check_same_length
from sk_rqvae.metrics._popularity import check_counts

FloatArray = NDArray[np.float64]


class GeneratedIDScores(NamedTuple):
    """Scores of each query, from `score_generated_ids`.

    All are between 0 and 1. Take means over queries, or over groups of queries.

    Attributes
    ----------
    hit_rate : ndarray of shape (n_queries,)
        Probability that at least one target is among the first `k` items.
    recall : ndarray of shape (n_queries,)
        Expected share of the targets that are among the first `k` items.
    ndcg : ndarray of shape (n_queries,)
        Expected NDCG of the first `k` items.
    id_hit_rate : ndarray of shape (n_queries,)
        1 if the ID of a target is among the first `k` generated IDs, else 0.
    id_recall : ndarray of shape (n_queries,)
        Share of the distinct IDs of the targets that are among the first `k` IDs.
    id_ndcg : ndarray of shape (n_queries,)
        NDCG of the first `k` IDs, where the distinct IDs of the targets are relevant.
    """

    hit_rate: FloatArray
    recall: FloatArray
    ndcg: FloatArray
    id_hit_rate: FloatArray
    id_recall: FloatArray
    id_ndcg: FloatArray


def score_generated_ids(
    generated: ArrayLike,
    codes: ArrayLike,
    targets: Sequence[Any] | NDArray[Any],
    *,
    k: int = 10,
    popularity: ArrayLike | None = None,
) -> GeneratedIDScores:
    """Hit rate, recall and NDCG of generated IDs, where an ID may have several items.

    Each generated ID is replaced by its items, in the order in which the IDs were
    generated. The result is a ranked list of items. Two items with the same ID are
    tied, unless `popularity` ranks them.

    Parameters
    ----------
    generated : array-like of shape (n_queries, n_generated, n_layers)
        Generated IDs of each query, best first. IDs that no item has, and repetitions
        of an ID, contribute no items. Pad short lists with rows of -1.
    codes : array-like of shape (n_items, n_layers)
        IDs of all items, one code per level.
    targets : array-like of shape (n_queries,) or sequence of n_queries sequences
        Index of the relevant item of each query, or the indices of all its relevant
        items.
    k : int, default=10
        Length of the ranked list of items, and of the list of IDs.
    popularity : array-like of shape (n_items,), default=None
        If given, items with the same ID are ranked by it, the highest first. Items that
        are still tied, or all items of an ID if None, are in random order.

    Returns
    -------
    GeneratedIDScores
        Named tuple of six arrays of shape (n_queries,). The item-level scores
        `hit_rate`, `recall` and `ndcg` are exact expected values over all orders of
        tied items. The scores `id_hit_rate`, `id_recall` and `id_ndcg` count IDs
        instead of items, as if every ID had one item.

    Raises
    ------
    ValueError
        If a shape is wrong, a code is fractional, a target is not an item, occurs
        twice in a query or is missing, or `popularity` is negative.
    TypeError
        If codes, targets or `k` are not integers.

    See Also
    --------
    popularity_groups : Head, torso and tail of a catalogue.

    Notes
    -----
    Counting a hit whenever the target's ID is generated overstates quality if IDs have
    several items, and can reverse the order of two kinds of IDs [1]_.

    If ``c`` items precede a group of ``s`` tied items, then each item of the group is
    among the first `k` with probability ``min(max(k - c, 0), s) / s``. Its expected
    gain is the mean gain of the ranks ``c + 1`` to ``c + s`` [2]_. The gain of rank
    ``r`` is ``1 / log2(r + 1)`` up to rank `k`, and 0 after it [3]_.

    References
    ----------
    .. [1] Q. Zhang, L. Szymanski, H. Zhang and J. D. Deng. How Reliable Are Semantic-ID
       Tokenizer Comparisons in Generative Recommendation? 2026. arXiv:2605.25330.
    .. [2] F. McSherry and M. Najork. Computing Information Retrieval Performance
       Measures Efficiently in the Presence of Tied Scores. ECIR 2008.
    .. [3] K. Järvelin and J. Kekäläinen. Cumulated Gain-Based Evaluation of IR
       Techniques. ACM TOIS 20, 2002.

    Examples
    --------
    Items 0 and 1 have the same ID, which is generated first:

    >>> from sk_rqvae.metrics import popularity_groups, score_generated_ids
    >>> codes = [[0, 0], [0, 0], [1, 2], [1, 3]]
    >>> generated = [[[0, 0], [1, 2]], [[0, 0], [1, 2]]]
    >>> scores = score_generated_ids(generated, codes, [0, 2], k=1)
    >>> scores.hit_rate, scores.id_hit_rate
    (array([0.5, 0. ]), array([1., 0.]))
    >>> counts = [5, 90, 3, 2]
    >>> score_generated_ids(generated, codes, [0, 2], k=1, popularity=counts).hit_rate
    array([0., 0.])

    Means by popularity of the targets:

    >>> groups = popularity_groups(counts)[[0, 2]]
    >>> scores = score_generated_ids(generated, codes, [0, 2], k=3)
    >>> float(scores.recall[groups == "tail"].mean())
    1.0
    """
    item_codes = check_item_codes(codes)
    k = check_int("k", k, minimum=1)
    lists = _check_generated(generated, item_codes.shape[1])
    target = _flatten_targets(targets, len(lists), len(item_codes))
    counts = np.zeros(len(item_codes)) if popularity is None else popularity
    counts = check_counts(counts)
    check_same_length(len(counts), len(item_codes), name="popularity")
    item_id, list_ids = _number_ids(item_codes, lists)
    position = _positions(list_ids, item_id[target.item], target.query)
    by_item = _score_items(list_ids, item_id, counts, target, position, k)
    return GeneratedIDScores(*by_item, *_score_ids(item_id, target, position, k))


class _Targets(NamedTuple):
    """Targets of all queries, one entry per pair of query and target."""

    query: IntArray
    item: IntArray
    per_query: IntArray


def _check_generated(generated: ArrayLike, n_layers: int) -> IntArray:
    check_unmasked(generated, "generated", instead="generated.filled(-1)")
    array = np.asarray(generated)
    if array.ndim != 3 or array.shape[2] != n_layers or 0 in array.shape:
        raise ValueError(
            "generated must have shape (n_queries, n_generated, n_layers), not be "
            f"empty, and have {n_layers} codes per ID, as codes has. Got shape "
            f"{array.shape}."
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"generated must hold integers. Got dtype {array.dtype}.")
    if array.min() < -1:
        raise ValueError(
            "generated must hold codes, or -1 as padding. Got a minimum of "
            f"{array.min()}."
        )
    return array.astype(np.int64, copy=False)


def _flatten_targets(targets: Any, n_queries: int, n_items: int) -> _Targets:
    if len(targets) != n_queries:
        raise ValueError(
            "targets and generated must have the same number of queries. Got "
            f"{len(targets)} and {n_queries}."
        )
    for row in targets:
        check_unmasked(row, "targets", instead="lists of the valid items")
    rows = [np.atleast_1d(np.asarray(row)) for row in targets]
    per_query = np.array([row.size for row in rows])
    if (per_query == 0).any():
        raise ValueError(
            f"targets must have at least one item per query. Got none for query "
            f"{per_query.argmin()}."
        )
    for row in rows:
        if row.dtype.kind not in "iu":
            raise TypeError(f"targets must be item indices. Got dtype {row.dtype}.")
    item = joined_integers(rows)
    if item.min() < 0 or item.max() >= n_items:
        raise ValueError(
            f"targets must be item indices in [0, {n_items - 1}]. Got values from "
            f"{item.min()} to {item.max()}."
        )
    query = np.repeat(np.arange(n_queries), per_query)
    if len(np.unique(query * n_items + item)) < len(item):
        raise ValueError("targets must name each item once per query.")
    return _Targets(query, item.astype(np.int64), per_query)


def _number_ids(codes: IntArray, lists: IntArray) -> tuple[IntArray, IntArray]:
    """Number the distinct IDs of items, and the generated IDs in the same way.

    Generated IDs that no item has, and repetitions within a list, are -1.
    """
    n_queries, n_generated, n_layers = lists.shape
    shifted = np.concatenate([codes, lists.reshape(-1, n_layers)]) + 1
    keys = row_keys(shifted)
    distinct, item_id = np.unique(keys[: len(codes)], return_inverse=True)
    generated = keys[len(codes) :]
    nearest = np.searchsorted(distinct, generated).clip(max=len(distinct) - 1)
    list_ids = np.where(distinct[nearest] == generated, nearest, -1)
    list_ids = list_ids.reshape(n_queries, n_generated)
    order = np.argsort(list_ids, axis=1, kind="stable")
    ordered = np.take_along_axis(list_ids, order, axis=1)
    repeated = np.zeros_like(ordered, dtype=bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    is_repetition = np.zeros_like(repeated)
    np.put_along_axis(is_repetition, order, repeated, axis=1)
    list_ids[is_repetition] = -1
    return item_id, list_ids


def _positions(list_ids: IntArray, wanted: IntArray, query: IntArray) -> IntArray:
    """Position of each wanted ID in the list of its query, -1 if it is not there."""
    found = list_ids[query] == wanted[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1), -1)


def _score_items(
    list_ids: IntArray,
    item_id: IntArray,
    popularity: FloatArray,
    target: _Targets,
    position: IntArray,
    k: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    more_popular, n_tied = _ties_within_ids(item_id, popularity)
    sizes = np.where(list_ids >= 0, np.bincount(item_id)[list_ids], 0)
    items_before = np.cumsum(sizes, axis=1) - sizes
    found = position >= 0
    start = items_before[target.query, position] + more_popular[target.item]
    tied = n_tied[target.item]
    n_inside = np.where(found, np.clip(k - start, 0, tied), 0)

    discounts = np.append(0.0, np.cumsum(_discounts(k)))
    first = np.minimum(start, k)
    gain = (discounts[np.minimum(first + n_inside, k)] - discounts[first]) / tied
    n_queries = len(list_ids)
    expected_found = np.bincount(target.query, n_inside / tied, n_queries)
    dcg = np.bincount(target.query, np.where(found, gain, 0.0), n_queries)
    ideal = discounts[np.minimum(target.per_query, k)]
    hit_rate = _hit_probability(n_inside, tied, target.query, n_queries)
    return hit_rate, expected_found / target.per_query, dcg / ideal


def _ties_within_ids(
    item_id: IntArray, popularity: FloatArray
) -> tuple[IntArray, IntArray]:
    """Number of items of the same ID that are more popular, and equally popular.

    The item itself counts as equally popular.
    """
    order = np.lexsort((-popularity, item_id))
    ids, values = item_id[order], popularity[order]
    new_id = np.append(True, ids[1:] != ids[:-1])
    new_tie = new_id | np.append(True, values[1:] != values[:-1])
    id_start = np.flatnonzero(new_id)[np.cumsum(new_id) - 1]
    tie_start = np.flatnonzero(new_tie)[np.cumsum(new_tie) - 1]
    tie_size = np.bincount(np.cumsum(new_tie) - 1)[np.cumsum(new_tie) - 1]
    more_popular, n_tied = np.empty_like(order), np.empty_like(order)
    more_popular[order] = tie_start - id_start
    n_tied[order] = tie_size
    return more_popular, n_tied


def _hit_probability(
    n_inside: IntArray, tied: IntArray, query: IntArray, n_queries: int
) -> FloatArray:
    """Probability that at least one target of each query is among the first k items.

    All targets of a query that are neither certain nor impossible belong to one group
    of ties, which contains rank k. The number of them among the first k items has a
    hypergeometric distribution.
    """
    certain = np.bincount(query, n_inside == tied, n_queries) > 0
    uncertain = (n_inside > 0) & (n_inside < tied)
    n_uncertain = np.bincount(query[uncertain], minlength=n_queries)
    n_outside, size = np.zeros(n_queries), np.ones(n_queries)
    n_outside[query[uncertain]] = (tied - n_inside)[uncertain]
    size[query[uncertain]] = tied[uncertain]
    miss = np.ones(n_queries)
    for drawn in range(int(n_uncertain.max())):
        factor = np.maximum(n_outside - drawn, 0) / np.maximum(size - drawn, 1)
        miss *= np.where(drawn < n_uncertain, factor, 1.0)
    return np.where(certain, 1.0, 1.0 - miss)


def _score_ids(
    item_id: IntArray, target: _Targets, position: IntArray, k: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    n_queries = len(target.per_query)
    pair = target.query * (int(item_id.max()) + 1) + item_id[target.item]
    _, first = np.unique(pair, return_index=True)
    query, position = target.query[first], position[first]
    inside = (position >= 0) & (position < k)
    discounts = _discounts(k)
    gain = np.where(inside, discounts[np.clip(position, 0, k - 1)], 0.0)
    n_relevant = np.bincount(query, minlength=n_queries)
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    n_found = np.bincount(query, inside, n_queries)
    dcg = np.bincount(query, gain, n_queries)
    return (n_found > 0).astype(np.float64), n_found / n_relevant, dcg / ideal


def _discounts(k: int) -> FloatArray:
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)))
