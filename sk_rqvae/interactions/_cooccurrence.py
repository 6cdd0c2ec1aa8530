"""Co-occurrence matrix of items in histories."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from sk_rqvae._checks.scalars import check_choice, check_int
from sk_rqvae.interactions._histories import Interactions, check_histories

FloatArray = NDArray[np.float64]

# An entry takes 12 bytes in a block of the product and 24 while pairs are sorted.
_BLOCK_ENTRIES = 2**24
_BLOCK_PAIRS = _BLOCK_ENTRIES // 4


def cooccurrence(
    histories: Any,
    n_items: int,
    window: int | None = None,
    weighting: str = "ppmi",
    *,
    min_count: int = 1,
) -> csr_array:
    """Count how often two items occur in the same history, and weight the counts.

    Parameters
    ----------
    histories : sequence of sequences, pair of arrays, or sparse matrix
        What each user did, in one of three forms:

        - a sequence with one sequence of item indices per user, oldest first, such as a
          list of lists;
        - a *tuple* of two 1-D arrays ``(user, item)`` with one entry per interaction,
          in the order of time;
        - a sparse matrix of shape ``(n_users, n_items)``, whose stored non-zero entries
          are interactions.
    n_items : int
        Number of items. Item indices are in ``[0, n_items)``.
    window : int, default=None
        If given, two items co-occur only if they are at most this many positions apart
        in a history. Needs histories with an order, so no sparse matrix. If None, all
        pairs of items of a history co-occur.
    weighting : {"ppmi", "cosine", "count"}, default="ppmi"
        How counts become weights, see Notes. "ppmi" is the logarithm of how much more
        often two items co-occur than by chance.
    min_count : int, default=1
        Pairs that co-occur in fewer histories have a weight of 0. Raise it to save
        memory, and because PPMI overestimates rare pairs.

    Returns
    -------
    scipy.sparse.csr_array of shape (n_items, n_items), dtype float32
        Symmetric and non-negative, with a zero diagonal and sorted indices. Items
        without interactions have empty rows.

    Raises
    ------
    ValueError
        If an item index or a shape is out of range, a user is missing, the two arrays
        of a pair have different lengths, a sparse matrix has NaN, or an option is
        invalid.
    TypeError
        If item indices or `n_items` are not integers.

    See Also
    --------
    sk_rqvae.metrics.affinity_lift : Whether such items share ID prefixes.

    Notes
    -----
    Let ``C[i, j]`` be the number of histories in which items ``i != j`` co-occur. A
    history counts once per pair, however often it contains the two items.

    - "count" is ``C[i, j]``.
    - "cosine" is ``C[i, j] / sqrt(n[i] * n[j])``, where ``n[i]`` is the number of
      histories with item ``i``. Without a window, it is the cosine of the columns of
      the binary user-item matrix [1]_.
    - "ppmi" is ``max(0, log(C[i, j] * total / (c[i] * c[j])))``, where ``c`` are the
      row sums of ``C`` and ``total`` is the sum of all its entries: the positive
      pointwise mutual information [2]_, as used for word vectors [3]_. The sums include
      pairs below `min_count`.

    The matrix is computed in blocks of rows without a window, and in blocks of
    interactions with one. Temporary memory is a few hundred megabytes, plus about the
    size of the result, plus several copies of the item pairs of the longest history, of
    24 bytes each. Entries below `min_count` or with a weight of 0 are not stored.

    References
    ----------
    .. [1] B. Sarwar, G. Karypis, J. Konstan and J. Riedl. Item-Based Collaborative
       Filtering Recommendation Algorithms. WWW 2001.
    .. [2] K. W. Church and P. Hanks. Word Association Norms, Mutual Information, and
       Lexicography. Computational Linguistics 16, 1990.
    .. [3] O. Levy and Y. Goldberg. Neural Word Embedding as Implicit Matrix
       Factorization. NeurIPS 2014.

    Examples
    --------
    >>> from sk_rqvae.interactions import cooccurrence
    >>> histories = [[0, 1, 2], [0, 1], [2, 3], [3, 2, 2]]
    >>> cooccurrence(histories, n_items=4, weighting="count").toarray()
    array([[0., 2., 1., 0.],
           [2., 0., 1., 0.],
           [1., 1., 0., 2.],
           [0., 0., 2., 0.]], dtype=float32)
    >>> cooccurrence(histories, n_items=4, window=1).toarray().round(2)
    array([[0.  , 1.2 , 0.  , 0.  ],
           [1.2 , 0.  , 0.11, 0.  ],
           [0.  , 0.11, 0.  , 1.2 ],
           [0.  , 0.  , 1.2 , 0.  ]], dtype=float32)
    """
    n_items = check_int("n_items", n_items, minimum=1)
    if window is not None:
        window = check_int("window", window, minimum=1)
    weighting = check_choice("weighting", weighting, ["ppmi", "cosine", "count"])
    min_count = check_int("min_count", min_count, minimum=1)
    interactions = check_histories(histories, n_items, ordered=window is not None)

    incidence = _incidence(interactions, n_items)
    n_histories = np.bincount(incidence.indices, minlength=n_items).astype(np.float64)
    if window is None:
        lengths = np.diff(incidence.indptr).astype(np.float64)
        row_sums = incidence.T @ (lengths - 1)
        blocks = _row_blocks(incidence)
    else:
        counts = _count_in_windows(interactions, n_items, window)
        row_sums = counts.sum(axis=1).astype(np.float64)
        blocks = iter([(0, counts)])
    marginals = n_histories if weighting == "cosine" else row_sums
    weighted = [
        _weight(block, first_row, marginals, weighting, min_count)
        for first_row, block in blocks
    ]
    result = csr_array(vstack(weighted, format="csr"))
    result.sort_indices()
    return result


def _incidence(interactions: Interactions, n_items: int) -> csr_array:
    """Binary matrix of users and items."""
    n_users = interactions.n_users
    ones = np.ones(len(interactions.user), dtype=np.int32)
    positions = (interactions.user, interactions.item)
    incidence = csr_array((ones, positions), shape=(n_users, n_items))  # sums repeats
    incidence.data[:] = 1
    return incidence


def _row_blocks(incidence: csr_array) -> Iterator[tuple[int, csr_array]]:
    """Yield blocks of rows of the count matrix, each with its first row."""
    n_items = incidence.shape[1]
    by_item = incidence.T.tocsr()
    # An upper bound on the number of entries of each row.
    entries = np.minimum(by_item @ np.diff(incidence.indptr).astype(np.int64), n_items)
    block_of_row = (np.cumsum(entries) - 1).clip(min=0) // _BLOCK_ENTRIES
    starts = np.flatnonzero(np.diff(block_of_row, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], n_items], strict=True):
        block = by_item[start:stop] @ incidence
        yield int(start), _without_diagonal(csr_array(block), int(start))


def _without_diagonal(block: csr_array, first_row: int) -> csr_array:
    rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)) + first_row
    return _keep(block, rows != block.indices)


def _count_in_windows(
    interactions: Interactions, n_items: int, window: int
) -> csr_array:
    """Number of histories in which two items are at most `window` positions apart."""
    shape = (n_items, n_items)
    upper = csr_array(shape, dtype=np.int64)
    for user, item in _user_blocks(interactions, window):
        keys: list[NDArray[np.int64]] = []
        n_pairs = n_distinct = 0
        longest = int(_lengths(user).max())
        for distance in range(1, min(window, longest - 1) + 1):
            one, other = item[:-distance], item[distance:]
            pairs = (user[:-distance] == user[distance:]) & (one != other)
            low = np.minimum(one, other)[pairs].astype(np.int64)
            high = np.maximum(one, other)[pairs].astype(np.int64)
            keys.append(np.stack([user[:-distance][pairs], low, high]))
            n_pairs += keys[-1].shape[1]
            # One very long history has more. At least as many new pairs as there are
            # distinct ones keep the time of sorting in proportion.
            if n_pairs > max(_BLOCK_PAIRS, 2 * n_distinct):
                keys = [_distinct(np.concatenate(keys, axis=1))]
                n_pairs = n_distinct = keys[0].shape[1]
        if keys:
            upper = upper + _count_pairs(np.concatenate(keys, axis=1), shape)
    return csr_array(upper + upper.T)


def _distinct(triples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Different columns of ``(3, n)`` triples, sorted."""
    triples = triples[:, np.lexsort(triples)]
    is_first = np.ones(triples.shape[1], dtype=bool)
    is_first[1:] = (triples[:, 1:] != triples[:, :-1]).any(axis=0)
    return triples[:, is_first]


def _count_pairs(triples: NDArray[np.int64], shape: tuple[int, int]) -> csr_array:
    """Count the distinct users of each pair of items."""
    _, low, high = _distinct(triples)
    counts = csr_array((np.ones(len(low), dtype=np.int64), (low, high)), shape=shape)
    counts.sum_duplicates()
    return counts


def _user_blocks(
    interactions: Interactions, window: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Yield blocks of complete histories with a bounded number of pairs."""
    user, item = interactions.user, interactions.item
    if not len(user):
        return
    starts = _starts(user)
    lengths = _lengths(user)
    n_pairs = np.cumsum(lengths * np.minimum(lengths, window))
    block = n_pairs // _BLOCK_PAIRS
    first = starts[np.flatnonzero(np.diff(block, prepend=-1))]
    for start, stop in zip(first, [*first[1:], len(user)], strict=True):
        yield user[start:stop], item[start:stop]


def _starts(user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the history of each user begins."""
    return np.flatnonzero(np.diff(user, prepend=-1))


def _lengths(user: NDArray[np.int64]) -> NDArray[np.int64]:
    """Interactions of each user's history."""
    return np.diff(np.append(_starts(user), len(user)))


def _weight(
    counts: csr_array,
    first_row: int,
    marginals: FloatArray,
    weighting: str,
    min_count: int,
) -> csr_array:
    frequent = counts.data >= min_count
    counts = counts if frequent.all() else _keep(counts, frequent)
    if weighting == "count":
        return counts.astype(np.float32)
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)) + first_row
    product = marginals[rows] * marginals[counts.indices]
    if weighting == "cosine":
        weights = counts.data / np.sqrt(product)
    else:
        weights = np.log(counts.data * (marginals.sum() / product))
    positive = weights > 0
    kept = _keep(counts, positive)
    kept.data = weights[positive].astype(np.float32)
    return kept


def _keep(matrix: csr_array, chosen: NDArray[np.bool_]) -> csr_array:
    """Keep some stored entries of a CSR matrix, given by a mask over its data."""
    n_before = np.append(0, np.cumsum(chosen))
    return csr_array(
        (matrix.data[chosen], matrix.indices[chosen], n_before[matrix.indptr]),
        shape=matrix.shape,
    )
