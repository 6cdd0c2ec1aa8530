"""Making a trie of the state of an index."""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_rqvae.index.decoding.trie import IDTrie
from sk_rqvae.index.decoding.trie_arrays import TrieArrays
from sk_rqvae.index.state import IndexState


def trie_of(state: IndexState, subset: Any = None) -> IDTrie:
    """Make a trie of the IDs of all items, or of some."""
    rows = state.store.under(())
    if len(rows) == 0:
        raise ValueError("the index must have items to decode. Got none.")
    if state.weights is not None:
        rows = rows[_by_weight(state, rows)]
    if subset is not None:
        rows = rows[np.isin(rows, state.known_rows(subset))]
        if len(rows) == 0:
            raise ValueError("subset must have at least one item. Got none.")
    width = max(state.store.widths(state.rules.capacity))
    ids = state.store.rows.values[rows]
    arrays, items = TrieArrays.of_sorted(ids), state.items.take(rows)
    return IDTrie(arrays, items, width, shared=state.rules.shared)


def _by_weight(state: IndexState, rows: Any) -> Any:
    """Sort rows that are in order of their IDs by weight among those of one ID."""
    assert state.weights is not None
    ids = state.store.rows.values[rows]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    return np.lexsort((-state.weights.values[rows], np.cumsum(begins)))
