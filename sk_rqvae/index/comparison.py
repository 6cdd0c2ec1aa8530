"""Compare the IDs of two indexes."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from sk_rqvae._checks.codes import IntArray, n_distinct, row_keys
from sk_rqvae.index.state import IndexState


class ChurnReport(TypedDict):
    """The report of `SemanticIDIndex.churn`, described there."""

    n_common: int
    n_added: int
    n_removed: int
    n_changed: list[int]
    changed_share: list[float]
    prefixes_gone: list[int]
    prefixes_new: list[int]
    n_reused: int


def churn(before: IndexState, after: IndexState) -> ChurnReport:
    """Compare the IDs of the items of two indexes."""
    rows = before.store.live_rows()
    partners = after.rows_of(before.items.take(rows))
    common = partners >= 0
    n_columns = max(before.store.n_columns, after.store.n_columns)
    old = _padded(before.store.ids_of(rows), n_columns)
    new = _padded(after.store.ids_of(after.store.live_rows()), n_columns)
    matched = _padded(after.store.ids_of(partners[common]), n_columns)
    same = np.cumprod(old[common] == matched, axis=1).astype(bool)
    changed = (~same).sum(axis=0)
    gone, fresh = [], []
    for depth in range(1, n_columns + 1):
        old_keys, new_keys = _keys(old[:, :depth], new[:, :depth])
        n_old, n_new = n_distinct(old_keys), n_distinct(new_keys)
        n_either = n_distinct(np.concatenate([old_keys, new_keys]))
        gone.append(n_either - n_new)
        fresh.append(n_either - n_old)
    n_common = int(common.sum())
    return ChurnReport(
        n_common=n_common,
        n_added=after.store.n_live - n_common,
        n_removed=before.store.n_live - n_common,
        n_changed=changed.tolist(),
        changed_share=(changed / max(1, n_common)).tolist(),
        prefixes_gone=gone,
        prefixes_new=fresh,
        n_reused=_n_reused(before, after, n_columns),
    )


def _n_reused(before: IndexState, after: IndexState, n_columns: int) -> int:
    """Count the IDs that no item of the earlier index keeps, but another item has now.

    The items of an ID are those that have it. If all of them were removed, they still
    count, because logs have the ID.
    """
    rows = np.arange(len(before.store))
    is_live = np.isin(rows, before.store.live_rows())
    old = _padded(before.store.ids_of(rows), n_columns)
    new = _padded(after.store.ids_of(after.store.live_rows()), n_columns)
    old_keys, new_keys = _keys(old, new)
    partners = after.rows_of(before.items.take(rows))
    found = partners >= 0
    same = _padded(after.store.ids_of(partners[found]), n_columns) == old[found]
    decides = is_live | ~np.isin(old_keys, old_keys[is_live])
    kept_keys = old_keys[found][same.all(axis=1) & decides[found]]
    return len(np.setdiff1d(np.intersect1d(old_keys, new_keys), kept_keys))


def _keys(one: IntArray, other: IntArray) -> tuple[IntArray, IntArray]:
    keys = row_keys(np.concatenate([one, other]))
    return keys[: len(one)], keys[len(one) :]


def _padded(ids: IntArray, n_columns: int) -> IntArray:
    """Shift codes by one and fill columns that an index does not have with 0."""
    missing = n_columns - ids.shape[1]
    return np.pad(ids + 1, ((0, 0), (0, missing)))
