"""Two states that descend from one, made into one state."""

from __future__ import annotations

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.policies.moves import MovedRows
from sk_rqvae.index.state import IndexState

_KINDS = {"row": "numbers of rows", "int": "integers", "str": "strings"}


def merged_states(theirs: IndexState, mine: IndexState) -> IndexState:
    """Apply to one state the additions and removals that made another one.

    IDs were handed out by both, so none may change: the states merge if no ID and no
    item was added by both.

    Parameters
    ----------
    theirs : IndexState
        What a file holds. It descends from the state that `mine` was last saved as or
        loaded from.
    mine : IndexState

    Raises
    ------
    ValueError
        If the states have no such common ancestor, are not of one model, number their
        items by row, name items in different ways, or both have added an ID or an item.
    """
    if mine.saves[-1] not in theirs.saves:
        raise ValueError(
            "the file must descend from the state that this index was loaded from or "
            "saved as to be merged. It does not. Save with on_conflict='overwrite', or "
            "to another file."
        )
    if (mine.rules, mine.fingerprint) != (theirs.rules, theirs.fingerprint):
        raise ValueError("the file must have the same model and policy to be merged.")
    base = mine.n_saved
    fresh = np.arange(base, len(mine.store))
    if len(fresh) and mine.items.kind == "row":
        raise ValueError(
            "items must have item_ids for additions to be merged. Both this index and "
            "the file numbered new items from the same number."
        )
    if len(fresh) and len(theirs.store) and theirs.items.kind != mine.items.kind:
        raise ValueError(
            "item_ids must be of one kind to be merged. Got "
            f"{_KINDS[mine.items.kind]} in this index and {_KINDS[theirs.items.kind]} "
            "in the file."
        )
    gone = mine.store.removed.as_one().keys
    forgotten = np.setdiff1d(gone, mine.store.retired.as_one().rows)
    gone = np.setdiff1d(gone, forgotten)
    state = _without(theirs, gone[gone < base])
    state = _without(state, forgotten[forgotten < base], reuse=True)
    live = fresh[~mine.store.is_removed(fresh)]
    items = mine.items.take(live)
    both = state.rows_of(items) >= 0
    if both.any():
        raise ValueError(
            "items must not be added by both sides to be merged. Got "
            f"{items[both].tolist()[0]!r}."
        )
    ids = mine.store.ids_of(fresh)
    _check_free(state, mine.store.ids_of(np.setdiff1d(fresh, forgotten)))
    n_before = len(state.store)
    rows, codes, errors = mine.moves.of(fresh)
    digests = None
    if state.digests is not None and mine.digests is not None:
        digests = state.digests.appended(mine.digests.values[fresh])
    merged = state._replace(
        store=state.store.covering(ids).appended(ids),
        items=state.items.with_rows(mine.items.take(fresh)),
        moves=state.moves.followed_by(MovedRows(rows + n_before, codes, errors)),
        digests=digests,
        weights=state.extended_weights(
            len(fresh), None if mine.weights is None else mine.weights.values[fresh]
        ),
    )
    moved_by = n_before - base
    merged = _without(merged, gone[gone >= base] + moved_by)
    merged = _without(merged, forgotten[forgotten >= base] + moved_by, reuse=True)
    return merged.after("merge", len(fresh))


def _without(state: IndexState, rows: IntArray, *, reuse: bool = False) -> IndexState:
    rows = rows[~state.store.is_removed(rows)]
    if len(rows) == 0:
        return state
    return state._replace(store=state.store.with_removed(rows, reuse=reuse))


def _check_free(state: IndexState, ids: IntArray) -> None:
    """Check that no ID is given to more items than may share it."""
    limit = 1 if state.rules.policy == "suffix" else state.rules.capacity
    if limit is None or len(ids) == 0:
        return
    distinct, counts = np.unique(ids, axis=0, return_counts=True)
    taken = counts + state.store.counts(distinct) > limit
    if taken.any():
        raise ValueError(
            "IDs must not be added by both sides to be merged. Got "
            f"{tuple(distinct[taken][0].tolist())} in both. Load the file and add the "
            "items again."
        )
