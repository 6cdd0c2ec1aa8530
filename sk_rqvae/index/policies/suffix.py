"""TIGER's extra code: it numbers the items that have the same codes."""

from __future__ import annotations

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.policies.retired import retired_note


def with_suffix(
    codes: IntArray, store: IDStore, capacity: int | None
) -> tuple[IntArray, IntArray]:
    """Append to the codes of each item the next suffix of those codes.

    It is 0 for the first item with some codes, and one more than the largest suffix so
    far for each item after it. If that reaches `capacity`, it is the smallest one whose
    ID was forgotten.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        In order of arrival.
    store : IDStore
        IDs that are taken, with keys that have room for `codes`.
    capacity : int or None
        Exclusive upper bound of the suffix.

    Returns
    -------
    ids : ndarray of shape (n, n_layers + 1)
    order : ndarray of shape (n,)
        What sorts them.

    Raises
    ------
    ValueError
        If a suffix reaches `capacity`.

    References
    ----------
    .. [1] Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023,
       sec. 3.1, arXiv 2305.05065.
    """
    order = store.order(codes)
    keys = store.prefix_keys(codes)[order]
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    ranks = np.arange(len(keys)) - starts[group]
    first = store.largest_next(codes[order[starts]]) + 1
    suffixes = np.empty(len(codes), dtype=np.int64)
    suffixes[order] = ranks + first[group]
    if capacity is None or (suffixes < capacity).all():
        return np.column_stack([codes, suffixes]), order
    stops = np.append(starts[1:], len(order))
    for full in np.unique(group[suffixes[order] >= capacity]):
        rows = order[starts[full] : stops[full]]
        _fill_gaps(codes, suffixes, rows, store, capacity)
    ids = np.column_stack([codes, suffixes])
    return ids, np.lexsort(ids.T[::-1])


def _fill_gaps(
    codes: IntArray, suffixes: IntArray, rows: IntArray, store: IDStore, capacity: int
) -> None:
    """Give items beyond the capacity the suffixes of IDs that were forgotten.

    `rows` are all rows of some codes, ascending.
    """
    prefix = tuple(codes[rows[0]].tolist())
    taken = np.concatenate([store.taken_next(prefix), suffixes[rows]])
    free = np.setdiff1d(np.arange(capacity), taken)
    waiting = rows[suffixes[rows] >= capacity]
    if len(waiting) > len(free):
        raise ValueError(
            f"codes must have at most capacity={capacity} items each. Got one more for "
            f"{prefix} in row {waiting[len(free)]}. Fit an index with "
            "overflow='reassign' to move such items."
            + retired_note(store.retired_counts(np.array([prefix]))[0])
        )
    suffixes[waiting] = free[: len(waiting)]


def check_suffixes(ids: IntArray, *, allow_gaps: bool) -> None:
    """Check that the suffixes of items with equal codes are 0, 1, 2 and so on.

    With `allow_gaps` it is enough that no two items have the same ID.
    """
    order = np.lexsort(ids.T[::-1])
    ordered = ids[order]
    again = (ordered[1:, :-1] == ordered[:-1, :-1]).all(axis=1)
    expected = np.zeros(len(ids), dtype=np.int64)
    expected[1:][again] = ordered[:-1, -1][again] + 1
    wrong = expected > ordered[:, -1] if allow_gaps else expected != ordered[:, -1]
    if wrong.any():
        at = np.flatnonzero(wrong)[0]
        rule = "differ" if allow_gaps else "count from 0"
        raise ValueError(
            f"ids must have suffixes that {rule} among items with the same codes. Got "
            f"{tuple(ordered[at].tolist())} in row {order[at]}, expected suffix "
            f"{expected[at]}{' or more' if allow_gaps else ''}. Use policy='none' if "
            "the last level is no suffix"
            + ("." if allow_gaps else ", or allow_gaps=True if items were removed.")
        )
