"""Queries of an index. Each function reads one state."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray, check_codes, row_keys
from sk_rqvae.index.decoding.trie_arrays import read_only
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.items import checked_item_ids, with_default
from sk_rqvae.index.state import IndexState

# Stands for a default that was not given; None is one that can be.
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "<required>"})()


def lookup(state: IndexState, ids: ArrayLike, default: Any) -> Any:
    """Find items by their IDs."""
    checked = checked_ids(state, ids)
    if state.rules.shared:
        return _lookup_shared(state, checked, default)
    rows = state.store.find(checked)
    missing = np.flatnonzero(rows < 0)
    if len(missing) == 0:
        return state.items.take(rows)
    if default is REQUIRED:
        raise _no_such_id(checked, missing[0])
    items = state.items.take(np.maximum(rows, 0)) if len(state.store) else rows
    if type(default) is int and -(2**63) <= default < 2**63:
        items[missing] = default
        return items
    return with_default(items, missing, default)


def items_with_prefix(state: IndexState, prefix: Sequence[int]) -> NDArray[Any]:
    """Find the items whose IDs begin with some codes."""
    rows = state.store.under(checked_prefix(prefix, state.store))
    return state.items.take(rows)


def allowed_next(state: IndexState, prefix: Sequence[int]) -> IntArray:
    """Find the codes that continue a prefix."""
    return state.store.next_codes(checked_prefix(prefix, state.store))


def ids_of(state: IndexState, item_ids: Any, default: Any) -> Any:
    """Find the IDs of items."""
    if default is REQUIRED:
        return state.store.ids_of(state.known_rows(item_ids))
    rows = state.rows_of(checked_item_ids(item_ids))
    ids = state.store.ids_of(np.maximum(rows, 0)) if len(state.store) else rows
    if (rows >= 0).all():
        return ids if len(ids) else np.empty((0, state.store.n_columns), np.int64)
    return [ids[at] if row >= 0 else default for at, row in enumerate(rows.tolist())]


def has_item(state: IndexState, item_id: object) -> bool:
    """Whether an item is in the index."""
    if isinstance(item_id, bool) or not isinstance(item_id, str | int | np.integer):
        return False
    if not isinstance(item_id, str) and not -(2**63) <= item_id < 2**63:
        return False
    return bool(state.rows_of(checked_item_ids([item_id]))[0] >= 0)


def checked_ids(state: IndexState, ids: ArrayLike) -> IntArray:
    """Check that IDs have as many codes as those of the index."""
    checked = check_codes(ids, name="ids")
    expected = state.store.n_columns
    if checked.shape[1] != expected:
        raise ValueError(
            f"ids must have {expected} columns. Got {checked.shape[1]} columns."
        )
    return checked


def checked_codes(state: IndexState, ids: ArrayLike) -> IntArray:
    """Check that the codes of IDs are in their codebooks."""
    checked = checked_ids(state, ids)
    store = state.store
    if store.sizes is not None:
        check_codes(checked[:, : store.n_layers], store.sizes, name="ids")
    return checked


def checked_prefix(prefix: Sequence[int], store: IDStore) -> tuple[int, ...]:
    """Check the codes of a prefix."""
    try:
        codes = tuple(map(as_index, prefix))
    except TypeError as error:
        raise TypeError(f"prefix must be a sequence of integers: {error}.") from error
    if len(codes) > store.n_columns:
        raise ValueError(
            f"prefix must have at most {store.n_columns} codes. Got {len(codes)}."
        )
    if codes and min(codes) < 0:
        raise ValueError(f"prefix must not have negative codes. Got {codes}.")
    return codes


def _lookup_shared(state: IndexState, ids: IntArray, default: Any) -> list[Any]:
    # Each ID once: a log can ask for a popular one, of many items, again and again.
    _, first, inverse = np.unique(row_keys(ids), return_index=True, return_inverse=True)
    rows, counts = state.store.find_all(ids[first])
    missing = np.flatnonzero(counts[inverse] == 0)
    if len(missing) and default is REQUIRED:
        raise _no_such_id(ids, missing[0])
    if state.weights is not None:
        group = np.repeat(np.arange(len(counts)), counts)
        rows = rows[np.lexsort((-state.weights.values[rows], group))]
    items = state.items.take(rows)
    if len(first) < len(ids):
        items = read_only(items)
    ends = np.cumsum(counts)
    parts = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    items_of_id = [items[start:end] for start, end in parts]
    found: list[Any] = [items_of_id[number] for number in inverse.tolist()]
    for at in missing:
        found[at] = default
    return found


def _no_such_id(ids: IntArray, row: int) -> KeyError:
    return KeyError(f"no item has ID {tuple(ids[row].tolist())} (row {row} of ids)")
