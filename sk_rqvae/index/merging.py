"""Two states that descend from one, made into one state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.history import changes_since
from sk_rqvae.index.lineage import Base
from sk_rqvae.index.policies.moves import changed_rows
from sk_rqvae.index.state import IndexState

_KINDS = {"row": "numbers of rows", "int": "integers", "str": "strings"}


class _Changes(NamedTuple):
    """What happened to the rows of a base. All arrays of rows ascend.

    Attributes
    ----------
    gone : rows of items that were removed or moved.
    moved : those of them whose item has another row now.
    retired : those of `gone` whose ID must not be given again.
    updated : rows of items that got new codes, embeddings or weights, and kept their
        IDs.
    """

    gone: IntArray
    moved: IntArray
    retired: IntArray
    updated: IntArray

    @property
    def forgotten(self) -> IntArray:
        return np.setdiff1d(self.gone, self.retired)

    @property
    def removed(self) -> IntArray:
        return np.setdiff1d(self.gone, self.moved)


def merged_states(theirs: IndexState, mine: IndexState, path: PathLike) -> IndexState:
    """Apply to `theirs` what `mine` changed since their last common state.

    IDs were handed out by both, so none may change: the states merge if no ID and no
    item was added by both, and no item was changed by both in different ways.

    Parameters
    ----------
    theirs : IndexState
        What a file holds. It descends from a state that `mine` was saved as or loaded
        from.
    mine : IndexState
    path : str or path-like
        Of the file.

    Raises
    ------
    ValueError
        If the states have no such common ancestor, are not of one model, number their
        items by row, name items in different ways, or both have added an ID or an item
        or changed one in different ways.
    """
    base = mine.lineage.base_of(theirs.lineage, path)
    if base is None:
        raise ValueError(
            "the file must descend from the state that this index was loaded from or "
            "saved as to be merged. It does not: it is an older one, or another index, "
            "or this index or that of the file was fitted again. Save with "
            "on_conflict='overwrite', or to another file."
        )
    if (mine.rules, mine.fingerprint) != (theirs.rules, theirs.fingerprint):
        raise ValueError("the file must have the same model and policy to be merged.")
    _check_kinds(theirs, mine, base)
    my_changes, their_changes = _changes(mine, base), _changes(theirs, base)
    _check_one_change(theirs, mine, my_changes, their_changes)
    state = _with_removals(theirs, my_changes)
    updated = np.setdiff1d(my_changes.updated, their_changes.gone)
    state = _with_updates(state, mine, updated)
    state, n_added = _with_additions(state, mine, base)
    n_removed = len(np.setdiff1d(my_changes.removed, their_changes.gone))
    n_changed = n_added + n_removed + len(updated)
    history = (*theirs.history, *changes_since(base.history, mine.history))
    state = state._replace(
        history=history, lineage=mine.lineage.merged_into(theirs.lineage)
    )
    return state.after("merge", n_changed, above=theirs.revision)


def _check_kinds(theirs: IndexState, mine: IndexState, base: Base) -> None:
    """Check that additions have names of their own, of the kind that the file has."""
    if len(mine.store) == base.n_rows:
        return
    if mine.items.kind == "row":
        raise ValueError(
            "items must have item_ids for additions to be merged. Both this index and "
            "the file numbered new items from the same number."
        )
    if len(theirs.store) and theirs.items.kind != mine.items.kind:
        raise ValueError(
            "item_ids must be of one kind to be merged. Got "
            f"{_KINDS[mine.items.kind]} in this index and {_KINDS[theirs.items.kind]} "
            "in the file."
        )


def _changes(state: IndexState, base: Base) -> _Changes:
    """Find what happened to the rows of a base in a state that begins with them."""
    removed = state.store.removed.as_one().keys
    gone = np.setdiff1d(removed[removed < base.n_rows], base.removed.as_one().keys)
    has_another = state.rows_of(state.items.take(gone)) >= 0
    updated = changed_rows(base.moves, state.moves)
    if base.digests is not None and state.digests is not None:
        before, after = base.digests.values, state.digests.values[: base.n_rows]
        updated = np.union1d(updated, np.flatnonzero(before != after))
    if state.weights is not None:
        after = state.weights.values[: base.n_rows]
        before = np.zeros_like(after) if base.weights is None else base.weights.values
        updated = np.union1d(updated, np.flatnonzero(before != after))
    updated = updated[updated < base.n_rows]
    return _Changes(
        gone=gone,
        moved=gone[has_another],
        retired=np.intersect1d(gone, state.store.retired.as_one().rows),
        updated=np.setdiff1d(updated, removed),
    )


def _check_one_change(
    theirs: IndexState, mine: IndexState, my_changes: _Changes, their_changes: _Changes
) -> None:
    """Check that no item was changed by both sides in ways that exclude each other."""
    for one, other in ((my_changes, their_changes), (their_changes, my_changes)):
        _check_none(mine, np.intersect1d(one.moved, other.removed), "moved", "removed")
        _check_none(mine, np.intersect1d(one.moved, other.updated), "moved", "updated")
    both = np.intersect1d(my_changes.updated, their_changes.updated)
    ids = mine.store.ids_of(both)[:, : mine.store.n_layers]
    differs = (mine.moves.given(both, ids) != theirs.moves.given(both, ids)).any(axis=1)
    if mine.digests is not None and theirs.digests is not None:
        differs |= mine.digests.values[both] != theirs.digests.values[both]
    differs |= mine.weights_of(both) != theirs.weights_of(both)
    _check_none(mine, both[differs], "updated", "updated")


def _check_none(mine: IndexState, rows: IntArray, one: str, other: str) -> None:
    if len(rows):
        raise ValueError(
            f"items must not be {one} by one side and {other} by the other to be "
            f"merged. Got {mine.items.take(rows).tolist()[0]!r}. Load the file and "
            "make the change again."
        )


def _with_removals(state: IndexState, changes: _Changes) -> IndexState:
    """Repeat my removals, and retire the IDs that I retired and the file released."""
    store = state.store
    removed = store.removed.as_one().keys
    again = np.intersect1d(changes.retired, removed)
    again = np.setdiff1d(again, store.retired.as_one().rows)
    if len(again):
        _check_free(
            state,
            store.ids_of(again),
            "retired by one side and given again by the other",
        )
        store = store.with_retired(again)
    store = store.with_removed(np.setdiff1d(changes.retired, removed), reuse=False)
    store = store.with_removed(np.setdiff1d(changes.forgotten, removed), reuse=True)
    return state._replace(store=store)


def _with_updates(state: IndexState, mine: IndexState, rows: IntArray) -> IndexState:
    """Take over what is recorded of some rows of my items that kept their IDs."""
    if state.digests is None or mine.digests is None:
        state = state._replace(digests=None)
    elif len(rows):
        digests = state.digests.values.copy()
        digests[rows] = mine.digests.values[rows]
        state = state._replace(digests=GrowingArray(digests))
    if mine.weights is not None:
        state = state.with_weights(rows, mine.weights.values[rows])
    moved = mine.moves.of(rows)
    moved = moved._replace(rows=rows[moved.rows])
    return state._replace(moves=state.moves.without(rows).followed_by(moved))


def _with_additions(
    state: IndexState, mine: IndexState, base: Base
) -> tuple[IndexState, int]:
    """Append my rows, and return how many of them have an item."""
    fresh = np.arange(base.n_rows, len(mine.store))
    n_before = len(state.store)
    live = fresh[~mine.store.is_removed(fresh)]
    items = mine.items.take(live)
    both = state.rows_of(items) >= 0
    if both.any():
        raise ValueError(
            "items must not be added by both sides to be merged. Got "
            f"{items[both].tolist()[0]!r}."
        )
    gone = np.setdiff1d(fresh, live)
    retired = np.intersect1d(gone, mine.store.retired.as_one().rows)
    forgotten = np.setdiff1d(gone, retired)
    taken = mine.store.ids_of(np.setdiff1d(fresh, forgotten))
    _check_free(state, taken, "added by both sides")
    ids = mine.store.ids_of(fresh)
    moved = mine.moves.of(fresh)
    digests = state.digests
    if digests is not None and mine.digests is not None:
        digests = digests.appended(mine.digests.values[fresh])
    store = state.store.covering(ids).appended(ids)
    moved_by = n_before - base.n_rows
    store = store.with_removed(retired + moved_by, reuse=False)
    store = store.with_removed(forgotten + moved_by, reuse=True)
    merged = state._replace(
        store=store,
        items=state.items.with_rows(mine.items.take(fresh)),
        moves=state.moves.followed_by(moved._replace(rows=moved.rows + n_before)),
        digests=digests,
        weights=state.extended_weights(
            len(fresh), None if mine.weights is None else mine.weights.values[fresh]
        ),
    )
    return merged, len(live)


def _check_free(state: IndexState, ids: IntArray, what: str) -> None:
    """Check that no ID is given to more items than may share it."""
    limit = state.rules.items_per_id
    if limit is None or len(ids) == 0:
        return
    distinct, counts = np.unique(ids, axis=0, return_counts=True)
    taken = counts + state.store.counts(distinct) > limit
    if taken.any():
        raise ValueError(
            f"IDs must not be {what} to be merged. Got "
            f"{tuple(distinct[taken][0].tolist())} in both. Load the file and add the "
            "items again."
        )
