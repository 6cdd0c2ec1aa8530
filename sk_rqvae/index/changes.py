"""Add, remove and change items. Each function makes a new state."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.code_model import (
    CodeModel,
    RowCandidates,
    RowDistances,
    added_errors,
    route_of,
    sizes_for_index,
)
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.fingerprint import FINGERPRINT_VERSION, fingerprint
from sk_rqvae.index.items import (
    check_each_once,
    checked_item_ids,
    first_occurrences,
)
from sk_rqvae.index.new_items import (
    CheckedItems,
    NewItems,
    checked_items,
    checked_route,
    own_codes,
)
from sk_rqvae.index.policies.candidates import reassign_by_candidates
from sk_rqvae.index.policies.duplicates import row_digests
from sk_rqvae.index.policies.moves import MovedRows
from sk_rqvae.index.policies.reassign import (
    Room,
    ranks_of_equals,
    reassign,
    reassign_by_rank,
)
from sk_rqvae.index.policies.retired import retired_note
from sk_rqvae.index.policies.suffix import with_suffix
from sk_rqvae.index.state import IndexState, Rules, empty_state


class UpdateReport(TypedDict):
    """The report of `SemanticIDIndex.update`, described there."""

    ids: IntArray
    moved: NDArray[np.bool_]
    n_changed: int
    n_moved: int


def fitted(rules: Rules, codebook_size: Any, new: NewItems) -> IndexState:
    """Make the state of an index of some items."""
    route = None if new.model is None else route_of(new.model)
    new = own_codes(new, route)
    empty = empty_state(rules, codebook_size, new.codes.shape[1], route)
    checked = checked_items(empty, new, route)
    state = _with_items(empty, checked, numbered=new.item_ids is None)
    return state.after("fit", len(checked.codes))


def added(
    state: IndexState, new: NewItems, *, skip_known: bool
) -> tuple[IndexState, IntArray]:
    """Add items, and return the IDs of all items of the call."""
    route = checked_route(state, new.model)
    new = own_codes(new, route)
    checked = checked_items(state, new, route)
    rows = state.rows_of(checked.items)
    fresh = np.ones(len(rows), dtype=bool)
    if skip_known:
        fresh = (rows < 0) & first_occurrences(checked.items)
    elif (rows >= 0).any():
        known = checked.items[rows >= 0].tolist()[0]
        raise ValueError(
            f"item_ids must be new to the index. Got {known!r}, which it has. Use "
            "on_duplicate='skip' to leave such items as they are."
        )
    joining = checked if fresh.all() else checked.some(fresh)
    n_before = len(state.store)
    state = _with_items(state, joining, numbered=new.item_ids is None)
    if len(joining.codes):
        state = state.after("add", len(joining.codes))
    rows[fresh] = np.arange(n_before, len(state.store))
    again = np.flatnonzero(rows < 0)
    rows[again] = state.rows_of(checked.items[again])
    return state, state.store.ids_of(rows)


def removed(state: IndexState, item_ids: Any, *, reuse: bool) -> IndexState:
    """Remove items."""
    items = checked_item_ids(item_ids)
    rows = state.known_rows(items)
    check_each_once(items)
    if len(rows) == 0:
        return state
    store = state.store.with_removed(rows, reuse=reuse)
    return state._replace(store=store).after("remove", len(rows))


def updated(
    state: IndexState, new: NewItems, *, move: bool
) -> tuple[IndexState, UpdateReport]:
    """Give known items new codes and weights, and say which ones moved.

    Without `move` they keep their IDs. With it, an item whose ID has other codes gets a
    new ID.
    """
    route = checked_route(state, new.model)
    new = own_codes(new, route)
    rows = state.known_rows(new.item_ids)
    items = state.items.take(rows)
    check_each_once(items)
    checked = checked_items(state, new, route, items=items)
    ids = state.store.ids_of(rows)[:, : state.store.n_layers]
    changed = (checked.codes != state.moves.given(rows, ids)).any(axis=1)
    leaving = np.zeros(len(rows), dtype=bool)
    if move:
        differs = (checked.codes != ids).any(axis=1)
        # The policy may have reassigned an item because its codes were taken. If they
        # did not change, it stays until they have room, after the others have theirs.
        waiting = differs & ~changed & ~state.moves.are_kept(rows)
        waiting &= state.rules.reassigns
        leaving = differs & ~waiting
        state = _moved(state, checked, rows, leaving)
        waiting[waiting] = _has_room(state, checked.codes[waiting])
        state = _moved(state, checked, rows, waiting)
        leaving |= waiting
    staying = changed & ~leaving
    if staying.any():
        new_codes, X = checked.codes[staying], checked.some(staying).X
        moves = _moves(new_codes, ids[staying], rows[staying], X, checked.model)
        moves = moves._replace(kept=np.full(len(moves.rows), True))
        kept = state.moves.without(rows[staying])
        state = state._replace(moves=kept.followed_by(moves))
    unmoved = checked.some(~leaving)
    state = _with_digests(state, rows[~leaving], unmoved.X)
    if unmoved.weights is not None:
        state = state.with_weights(rows[~leaving], unmoved.weights)
    if staying.any() and checked.X is None:
        state = state._replace(digests=None)
    report = UpdateReport(
        ids=state.store.ids_of(rows),
        moved=leaving,
        n_changed=int(changed.sum()),
        n_moved=int(leaving.sum()),
    )
    if len(rows):
        state = state.after("update", len(rows))
    return state, report


def rebound(state: IndexState, model: Any) -> IndexState:
    """Let later items come from another model."""
    route = route_of(model)
    sizes = sizes_for_index(state.store, route.quantizer)
    return state._replace(
        store=state.store.bounded(sizes),
        fingerprint=fingerprint(route),
        fingerprint_version=FINGERPRINT_VERSION,
    ).after("rebind", 0)


def _has_room(state: IndexState, codes: IntArray) -> NDArray[np.bool_]:
    """Which items could have their codes as IDs, if they get them in order."""
    taken = state.store.counts(codes) + ranks_of_equals(codes)
    capacity = state.rules.capacity
    return np.full(len(codes), True) if capacity is None else taken < capacity


def _moved(
    state: IndexState,
    new: CheckedItems,
    rows: IntArray,
    leaving: NDArray[np.bool_],
) -> IndexState:
    """Remove the rows of some items and give them new ones, put in place in `rows`."""
    if not leaving.any():
        return state
    left, joining = rows[leaving], new.some(leaving)
    if state.weights is not None and joining.weights is None:
        joining = joining._replace(weights=state.weights.values[left])
    store = state.store.with_removed(left, reuse=False)
    state = _with_items(state._replace(store=store), joining, numbered=False)
    rows[leaving] = np.arange(len(state.store) - len(left), len(state.store))
    return state


def _with_items(state: IndexState, new: CheckedItems, *, numbered: bool) -> IndexState:
    """Give items IDs and rows after the last."""
    n_before, rules = len(state.store), state.rules
    store = state.store.covering(new.codes)
    codes = new.codes
    if rules.reassigns:
        store, codes = _reassigned(new, store, rules)
    elif rules.policy == "none" and rules.capacity is not None:
        _check_shares(codes, store, rules.capacity)
    ids, order = codes, None
    if rules.policy == "suffix":
        ids, order = with_suffix(codes, store, rules.capacity)
    rows = np.arange(n_before, n_before + len(codes))
    moves = _moves(new.codes, codes, rows, new.X, new.model)
    return state._replace(
        store=store.covering(ids).appended(ids, order),
        items=state.items.extended(new.items, numbered=numbered),
        moves=state.moves.followed_by(moves),
        digests=_extended_digests(state, new),
        weights=state.extended_weights(len(codes), new.weights),
    )


def _reassigned(
    new: CheckedItems, store: IDStore, rules: Rules
) -> tuple[IDStore, IntArray]:
    capacity = rules.capacity
    assert capacity is not None, "rules that reassign have one"
    if len(new.codes) == 0:
        return store, new.codes
    if new.alternatives is not None:
        store = store.covering(new.alternatives.reshape(-1, store.n_layers))
        return store, reassign_by_rank(new.codes, store, new.alternatives, capacity)
    if new.model is None or new.X is None:
        raise ValueError(
            f"policy={rules.policy!r} that reassigns must have X and model, or "
            "alternatives, to know which IDs are near. Got neither."
        )
    sizes = store.sizes
    assert sizes is not None, "a model gives sizes"
    room = Room(sizes, capacity)
    distances = RowDistances(new.model, new.X, sizes)
    if not callable(getattr(new.model, "candidates", None)):
        return store, reassign(new.codes, store, room, distances)
    candidates = RowCandidates(new.model, new.X, sizes)
    codes = reassign_by_candidates(new.codes, store, room, candidates, distances)
    return store, codes


def _check_shares(codes: IntArray, store: IDStore, capacity: int) -> None:
    _, first, counts = np.unique(codes, axis=0, return_index=True, return_counts=True)
    total = counts + store.counts(codes[first])
    if (total > capacity).any():
        full = np.argmax(total > capacity)
        at = first[full]
        n_retired = store.retired_counts(codes[[at]])[0]
        raise ValueError(
            f"codes must have at most capacity={capacity} items each. Got "
            f"{total[full]} for {tuple(codes[at].tolist())}, in row {at}."
            + retired_note(n_retired)
        )


def _moves(
    codes: IntArray,
    ids: IntArray,
    rows: IntArray,
    X: NDArray[Any] | None,
    model: CodeModel | None,
) -> MovedRows:
    """Find the items that have other codes than their model gave them."""
    moved = np.flatnonzero((codes != ids).any(axis=1))
    if model is None or X is None:
        errors = np.full(len(moved), np.nan)
    else:
        errors = added_errors(model, X, moved, codes, ids)
    return MovedRows(rows[moved], codes[moved], errors, np.full(len(moved), False))


def _extended_digests(state: IndexState, new: CheckedItems) -> GrowingArray | None:
    if len(new.codes) == 0:
        return state.digests
    if state.digests is None or new.X is None:
        return None
    return state.digests.appended(row_digests(new.X))


def _with_digests(
    state: IndexState, rows: IntArray, X: NDArray[Any] | None
) -> IndexState:
    """Replace the hashes of some rows."""
    if state.digests is None or X is None or len(rows) == 0:
        return state
    digests = state.digests.values.copy()
    digests[rows] = row_digests(X)
    return state._replace(digests=GrowingArray(digests))
