"""Add, remove and change items. Each function makes a new state."""

from __future__ import annotations

from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae.index.code_model import (
    CodeModel,
    Route,
    RowCandidates,
    RowDistances,
    added_errors,
    checked_sizes,
    route_of,
)
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.fingerprint import FINGERPRINT_VERSION, fingerprint
from sk_rqvae.index.items import checked_item_ids, first_occurrences
from sk_rqvae.index.policies.candidates import reassign_by_candidates
from sk_rqvae.index.policies.duplicates import row_digests
from sk_rqvae.index.policies.moves import MovedRows
from sk_rqvae.index.policies.reassign import (
    Room,
    ranks_of_equals,
    reassign,
    reassign_by_rank,
)
from sk_rqvae.index.policies.suffix import with_suffix
from sk_rqvae.index.state import IndexState, Rules, empty_state


class NewItems(NamedTuple):
    """Codes of some items, as they come from the user.

    Attributes
    ----------
    codes : array-like of shape (n, n_layers)
    item_ids : array-like of shape (n,) or None
    X : array-like of shape (n, n_features) or None
    model : CodeModel or None
    alternatives : array-like of shape (n, n_alternatives, n_layers) or None
    weights : array-like of shape (n,) or None
    """

    codes: Any
    item_ids: Any = None
    X: Any = None
    model: Any = None
    alternatives: Any = None
    weights: Any = None


class UpdateReport(TypedDict):
    """The report of `SemanticIDIndex.update`, described there."""

    ids: IntArray
    moved: NDArray[np.bool_]
    n_changed: int
    n_moved: int


class _Checked(NamedTuple):
    """`NewItems` that fit the index."""

    codes: IntArray
    items: NDArray[Any]
    X: NDArray[Any] | None
    model: CodeModel | None
    alternatives: IntArray | None
    weights: NDArray[np.float64] | None

    def some(self, rows: NDArray[np.bool_]) -> _Checked:
        """Return part of the items."""

        def part(values: NDArray[Any] | None) -> Any:
            return None if values is None else values[rows]

        return _Checked(
            self.codes[rows],
            self.items[rows],
            part(self.X),
            self.model,
            part(self.alternatives),
            part(self.weights),
        )


def fitted(rules: Rules, codebook_size: Any, new: NewItems) -> IndexState:
    """Make the state of an index of some items."""
    route = None if new.model is None else route_of(new.model)
    n_layers = check_codes(new.codes).shape[1]
    empty = empty_state(rules, codebook_size, n_layers, route)
    checked = _checked(empty, new, route)
    state = _with_items(empty, checked, numbered=new.item_ids is None)
    return state.after("fit", len(checked.codes))


def added(
    state: IndexState, new: NewItems, *, skip_known: bool
) -> tuple[IndexState, IntArray]:
    """Add items, and return the IDs of all items of the call."""
    route = _checked_route(state, new.model)
    checked = _checked(state, new, route)
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
    rows = state.known_rows(item_ids)
    again = ~first_occurrences(items)
    if again.any():
        raise ValueError(
            f"item_ids must be unique. Got {items[again].tolist()[0]!r} more than once."
        )
    if len(rows) == 0:
        return state
    store = state.store.with_retired(rows, reuse=reuse)
    return state._replace(store=store).after("remove", len(rows))


def updated(
    state: IndexState, new: NewItems, *, move: bool
) -> tuple[IndexState, UpdateReport]:
    """Give known items new codes, and say which ones moved.

    Without `move` they keep their IDs. With it, an item whose ID has other codes gets a
    new ID.
    """
    route = _checked_route(state, new.model)
    rows = state.known_rows(new.item_ids)
    items = state.items.take(rows)
    if not first_occurrences(items).all():
        again = items[~first_occurrences(items)].tolist()[0]
        raise ValueError(f"item_ids must be unique. Got {again!r} more than once.")
    checked = _checked(state, new, route, items=items)
    ids = state.store.ids_of(rows)[:, : state.store.n_layers]
    changed = (checked.codes != state.moves.given(rows, ids)).any(axis=1)
    leaving = np.zeros(len(rows), dtype=bool)
    if move:
        leaving = _leaving(state, checked.codes, ids, changed)
    if leaving.any():
        state = _moved(state, checked.some(leaving), rows[leaving])
        rows[leaving] = np.arange(len(state.store) - leaving.sum(), len(state.store))
    staying = changed & ~leaving
    if staying.any():
        new_codes, X = checked.codes[staying], checked.some(staying).X
        moves = _moves(new_codes, ids[staying], rows[staying], X, checked.model)
        kept = state.moves.without(rows[staying])
        state = state._replace(moves=kept.followed_by(moves))
    state = _with_digests(state, rows[~leaving], checked.some(~leaving).X)
    if staying.any() and checked.X is None:
        state = state._replace(digests=None)
    report = UpdateReport(
        ids=state.store.ids_of(rows),
        moved=leaving,
        n_changed=int(changed.sum()),
        n_moved=int(leaving.sum()),
    )
    return state.after("update", len(rows)), report


def rebound(state: IndexState, model: Any) -> IndexState:
    """Let later items come from another model."""
    route = route_of(model)
    checked_sizes(state.store.sizes, route.quantizer, state.store.n_layers)
    return state._replace(
        fingerprint=fingerprint(route), fingerprint_version=FINGERPRINT_VERSION
    ).after("rebind", 0)


def _leaving(
    state: IndexState, codes: IntArray, ids: IntArray, changed: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which items of an update get a new ID.

    The policy may have reassigned an item because its codes were taken. If they did not
    change, it stays until they have room.
    """
    leaving: NDArray[np.bool_] = (codes != ids).any(axis=1)
    if state.rules.reassigns:
        wanted = codes[leaving]
        taken = state.store.counts(wanted) + ranks_of_equals(wanted)
        leaving[leaving] = changed[leaving] | (taken < (state.rules.capacity or 1))
    return leaving


def _moved(state: IndexState, new: _Checked, rows: IntArray) -> IndexState:
    """Retire some rows and give their items new IDs."""
    if state.weights is not None and new.weights is None:
        new = new._replace(weights=state.weights.values[rows])
    store = state.store.with_retired(rows, reuse=False)
    return _with_items(state._replace(store=store), new, numbered=False)


def _with_items(state: IndexState, new: _Checked, *, numbered: bool) -> IndexState:
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
        weights=_extended_weights(state, new),
    )


def _reassigned(
    new: _Checked, store: IDStore, rules: Rules
) -> tuple[IDStore, IntArray]:
    capacity = rules.capacity or 1
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
        at = first[np.argmax(total > capacity)]
        raise ValueError(
            f"codes must have at most capacity={capacity} items each. Got "
            f"{total.max()} for {tuple(codes[at].tolist())}, in row {at}."
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
    return MovedRows(rows[moved], codes[moved], errors)


def _extended_digests(state: IndexState, new: _Checked) -> GrowingArray | None:
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


def _extended_weights(state: IndexState, new: _Checked) -> GrowingArray | None:
    if new.weights is None and state.weights is None:
        return None
    weights = state.weights
    if weights is None:
        weights = GrowingArray(np.zeros(len(state.store)))
    fresh = np.zeros(len(new.codes)) if new.weights is None else new.weights
    return weights.appended(fresh)


def _checked(
    state: IndexState,
    new: NewItems,
    route: Route | None,
    items: NDArray[Any] | None = None,
) -> _Checked:
    codes = check_codes(new.codes)
    n_layers = state.store.n_layers
    if codes.shape[1] != n_layers:
        raise ValueError(
            "codes must have as many columns as those the index was fitted with. "
            f"Got {codes.shape[1]}, expected {n_layers}."
        )
    codes = check_codes(codes, state.store.sizes)
    alternatives = new.alternatives
    if alternatives is not None:
        if not state.rules.reassigns:
            raise ValueError(
                f"alternatives must be None with policy={state.rules.policy!r} and "
                f"overflow={state.rules.overflow!r}. Only items that are reassigned "
                "use them."
            )
        alternatives = _checked_alternatives(alternatives, codes, state.store.sizes)
    if items is None:
        items = state.items.checked(new.item_ids, len(codes))
    elif len(items) != len(codes):
        raise ValueError(
            "item_ids and codes must have the same length. "
            f"Got {len(items)} item_ids, expected {len(codes)}."
        )
    return _Checked(
        codes,
        items,
        _checked_rows(new.X, len(codes), route),
        None if route is None else route.quantizer,
        alternatives,
        _checked_weights(new.weights, len(codes), state.rules),
    )


def _checked_route(state: IndexState, model: Any) -> Route | None:
    """Check that codes are of the model of the index."""
    if state.fingerprint is None and model is not None:
        raise ValueError(
            "model must be None for an index that was made without a model: its codes "
            f"may be those of another one. Got {type(model).__name__}. Call "
            "rebind(model) if they are not."
        )
    if state.fingerprint is None:
        return None
    if model is None:
        raise ValueError(
            "model must be given for an index that was fitted with one, so that it can "
            "be checked that the codes are of the same model. Got None."
        )
    route = route_of(model)
    if state.fingerprint_version != FINGERPRINT_VERSION:
        raise ValueError(
            "the index has a fingerprint of another kind. Got version "
            f"{state.fingerprint_version}, expected {FINGERPRINT_VERSION}. Call "
            "rebind(model) with the model that made its codes."
        )
    found = fingerprint(route)
    if found != state.fingerprint:
        raise ValueError(
            "model must be the one that the index was fitted with. Got fingerprint "
            f"{found[:12]}, expected {state.fingerprint[:12]}. If it gives the same "
            "codes all the same, call rebind(model)."
        )
    return route


def _checked_rows(X: Any, n_rows: int, route: Route | None) -> NDArray[Any] | None:
    if X is None:
        return None
    if route is not None and route.before:
        X = route.rows(X)
    X = np.asarray(X)
    if X.ndim != 2 or X.dtype.kind not in "iufb":
        raise ValueError(
            "X must be a 2-D array of numbers, (n_items, n_features). "
            f"Got shape {X.shape}, dtype {X.dtype}."
        )
    if len(X) != n_rows:
        raise ValueError(
            f"X and codes must have the same length. Got {len(X)} rows in X, expected "
            f"{n_rows}."
        )
    return X


def _checked_weights(
    weights: Any, n_rows: int, rules: Rules
) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    if not rules.shared:
        raise ValueError(
            "weights rank items that share an ID, so they need policy='none', or "
            f"policy='reassign' with a capacity above 1. Got {rules}."
        )
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (n_rows,) or not np.isfinite(array).all():
        raise ValueError(
            f"weights must be {n_rows} finite numbers. Got shape {array.shape}."
        )
    return array


def _checked_alternatives(
    alternatives: Any, codes: IntArray, sizes: tuple[int, ...] | None
) -> IntArray:
    alternatives = np.asarray(alternatives)
    n_rows, n_layers = codes.shape
    shape = alternatives.shape
    if len(shape) != 3 or (shape[0], shape[2]) != (n_rows, n_layers):
        raise ValueError(
            "alternatives must be 3-D, (n_items, n_alternatives, n_layers), with "
            f"n_items {n_rows} and n_layers {n_layers}. Got shape {shape}."
        )
    flat = check_codes(alternatives.reshape(-1, n_layers), sizes, name="alternatives")
    return flat.reshape(shape)
