"""Compare the IDs of two indexes."""

from __future__ import annotations

from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, n_distinct, row_keys
from sk_rqvae.index.state import IndexState

BoolArray: TypeAlias = NDArray[np.bool_]


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
    n_columns = max(before.store.n_columns, after.store.n_columns)
    rows = np.arange(len(before.store))  # removed items included
    old = _padded(before.store.ids_of(rows), n_columns)
    new = _padded(after.store.ids_of(after.store.live_rows()), n_columns)
    is_live = np.isin(rows, before.store.live_rows())
    partners = after.rows_of(before.items.take(rows))
    found = partners >= 0
    same = np.zeros(old.shape, dtype=bool)
    matched = _padded(after.store.ids_of(partners[found]), n_columns)
    same[found] = np.cumprod(old[found] == matched, axis=1)
    common = found & is_live
    changed = (~same[common]).sum(axis=0)
    gone, fresh = [], []
    for depth in range(1, n_columns + 1):
        old_keys, new_keys = _keys(old[is_live, :depth], new[:, :depth])
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
        n_reused=_n_reused(old, new, is_live=is_live, is_kept=same[:, -1]),
    )


def _n_reused(
    old: IntArray, new: IntArray, *, is_live: BoolArray, is_kept: BoolArray
) -> int:
    """Count the IDs that no item of the earlier index keeps, but another item has now.

    The items of an ID are those that have it. If all of them were removed, they still
    count, because logs have the ID.
    """
    old_keys, new_keys = _keys(old, new)
    decides = is_live | ~np.isin(old_keys, old_keys[is_live])
    kept_keys = old_keys[is_kept & decides]
    return len(np.setdiff1d(np.intersect1d(old_keys, new_keys), kept_keys))


def _keys(one: IntArray, other: IntArray) -> tuple[IntArray, IntArray]:
    keys = row_keys(np.concatenate([one, other]))
    return keys[: len(one)], keys[len(one) :]


def _padded(ids: IntArray, n_columns: int) -> IntArray:
    """Shift codes by one and fill columns that an index does not have with 0."""
    missing = n_columns - ids.shape[1]
    return np.pad(ids + 1, ((0, 0), (0, missing)))
