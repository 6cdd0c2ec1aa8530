"""TIGER's extra code: the rank of an item among those with the same codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.store import IDStore


def with_suffix(codes: IntArray, store: IDStore) -> tuple[IntArray, IntArray]:
    """Append to the codes of each item how many came before with the same codes.

    Parameters
    ----------
    codes : ndarray of shape (n, n_layers)
        In order of arrival.
    store : IDStore
        Items that came before, with keys that have room for `codes`.

    Returns
    -------
    ids : ndarray of shape (n, n_layers + 1)
    order : ndarray of shape (n,)
        What sorts them.

    References
    ----------
    .. [1] Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023,
       sec. 3.1, arXiv 2305.05065.
    """
    order = store.order(codes)
    keys = store.keys(codes)[order]
    ranks, starts, group = _ranks(keys)
    suffixes = np.empty(len(codes), dtype=np.int64)
    suffixes[order] = ranks + store.key_counts(keys[starts])[group]
    return np.column_stack([codes, suffixes]), order


def checked_order(ids: IntArray, store: IDStore) -> IntArray:
    """Sort IDs, and check that the suffixes of equal codes are 0, 1, 2 and so on."""
    keys = store.keys(ids[:, :-1])
    order = np.lexsort((ids[:, -1], keys))
    ranks, _, _ = _ranks(keys[order])
    wrong = np.flatnonzero(ids[order, -1] != ranks)
    if len(wrong):
        row = order[wrong[0]]
        raise ValueError(
            "ids must have suffixes that count from 0 among items with the same codes. "
            f"Got {tuple(ids[row].tolist())} in row {row}, expected suffix "
            f"{ranks[wrong[0]]}. Read such IDs with policy='none'."
        )
    return order


def _ranks(keys: NDArray[Any]) -> tuple[IntArray, IntArray, IntArray]:
    """For sorted keys the rank among equal ones, starts of groups, and group a key."""
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(begins)
    group = np.cumsum(begins) - 1
    return np.arange(len(keys)) - starts[group], starts, group
