"""What a fitted index holds, and how new items join it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae.index.code_model import (
    CodeModel,
    RowDistances,
    added_errors,
    checked_sizes,
    fingerprint,
)
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.items import ItemIds
from sk_rqvae.index.policies.duplicates import row_digests
from sk_rqvae.index.policies.moves import Moves
from sk_rqvae.index.policies.reassign import reassign, reassign_by_rank
from sk_rqvae.index.policies.suffix import checked_order, with_suffix

POLICIES = ("none", "suffix", "reassign")


class NewItems(NamedTuple):
    """Items that are to join, as they come from the user.

    Attributes
    ----------
    codes : array-like of shape (n, n_layers)
    item_ids : array-like of shape (n,) or None
    X : array-like of shape (n, n_features) or None
    model : CodeModel or None
    alternatives : array-like of shape (n, n_alternatives, n_layers) or None
    """

    codes: Any
    item_ids: Any = None
    X: Any = None
    model: CodeModel | None = None
    alternatives: Any = None


class IndexState(NamedTuple):
    """All that a fitted index holds. Never changes: adding items makes a new one.

    Attributes
    ----------
    policy : str
    store : IDStore
    items : ItemIds
    fingerprint : str or None
        That of the model.
    moves : Moves
    digests : GrowingArray or None
        Hashes of the rows of X. None if some items came without.
    """

    policy: str
    store: IDStore
    items: ItemIds
    fingerprint: str | None
    moves: Moves
    digests: GrowingArray | None

    @classmethod
    def first(cls, policy: str, codebook_size: Any, new: NewItems) -> IndexState:
        """IndexState of the items of a `fit`."""
        _check_policy(policy)
        n_layers = check_codes(new.codes).shape[1]
        sizes = checked_sizes(codebook_size, new.model, n_layers)
        return cls(
            policy=policy,
            store=IDStore.empty(n_layers, sizes, numbered=policy == "suffix"),
            items=ItemIds.of(None, 0),
            fingerprint=None if new.model is None else fingerprint(new.model),
            moves=Moves.none(n_layers),
            digests=GrowingArray(np.empty(0, dtype=np.int64)),
        ).extended(new)

    @classmethod
    def of_ids(
        cls,
        policy: str,
        codebook_size: Any,
        ids: Any,
        item_ids: Any,
        model: CodeModel | None = None,
    ) -> IndexState:
        """IndexState of items that have IDs already."""
        _check_policy(policy)
        numbered = policy == "suffix"
        ids = check_codes(ids, name="ids")
        n_layers = ids.shape[1] - numbered
        if n_layers == 0:
            raise ValueError(
                "ids must have a column a level and one for the suffix with "
                "policy='suffix'. Got 1 column."
            )
        sizes = checked_sizes(codebook_size, model, n_layers)
        codes = check_codes(ids[:, :n_layers], sizes, name="ids")
        store = IDStore.empty(n_layers, sizes, numbered=numbered).covering(codes)
        order = checked_order(ids, store) if numbered else store.order(ids)
        store = store.appended(ids, order)
        if policy == "reassign":
            _check_unique(store)
        return cls(
            policy=policy,
            store=store,
            items=ItemIds.of(item_ids, len(ids)),
            fingerprint=None if model is None else fingerprint(model),
            moves=Moves.none(n_layers),
            digests=None,
        )

    def extended(self, new: NewItems) -> IndexState:
        """With new items after the last."""
        codes = self._checked_codes(new.codes)
        self._check_fingerprint(new.model)
        X = _checked_rows(new.X, len(codes))
        items = self.items.extended(new.item_ids, len(codes))
        store = self.store.covering(codes)
        moves = Moves.none(store.n_layers)
        if new.alternatives is not None and self.policy != "reassign":
            raise ValueError(
                f"alternatives must be None with policy={self.policy!r}. Only "
                "'reassign' uses them."
            )
        if self.policy == "suffix":
            ids, order = with_suffix(codes, store)
        elif self.policy == "reassign":
            store, ids = self._reassigned(codes, store, X, new)
            order = store.order(ids)
            moves = _moves(codes, ids, len(store), X, new.model)
        else:
            ids, order = codes.copy(), store.order(codes)
        return self._replace(
            store=store.appended(ids, order),
            items=items,
            moves=self.moves.followed_by(moves),
            digests=self._extended_digests(X) if len(codes) else self.digests,
        )

    def _checked_codes(self, codes: Any) -> IntArray:
        codes = check_codes(codes)
        if codes.shape[1] != self.store.n_layers:
            raise ValueError(
                "codes must have as many columns as those the index was fitted with. "
                f"Got {codes.shape[1]}, expected {self.store.n_layers}."
            )
        return check_codes(codes, self.store.sizes)

    def _check_fingerprint(self, model: CodeModel | None) -> None:
        if self.fingerprint is None and model is not None:
            raise ValueError(
                "model must be None for an index that was made without a model: "
                "whether its codes are of the same model cannot be told. "
                f"Got {type(model).__name__}."
            )
        if self.fingerprint is None:
            return
        if model is None:
            raise ValueError(
                "model must be given for an index that was fitted with one, so that it "
                "can be told whether the codes are of the same model. Got None."
            )
        found = fingerprint(model)
        if found != self.fingerprint:
            raise ValueError(
                "model must be the one that the index was fitted with. Got fingerprint "
                f"{found[:12]}, expected {self.fingerprint[:12]}."
            )

    def _reassigned(
        self, codes: IntArray, store: IDStore, X: NDArray[Any] | None, new: NewItems
    ) -> tuple[IDStore, IntArray]:
        if new.alternatives is not None:
            alternatives = _checked_alternatives(new.alternatives, codes, store.sizes)
            store = store.covering(alternatives.reshape(-1, store.n_layers))
            return store, reassign_by_rank(codes, store, alternatives)
        if new.model is None or X is None:
            raise ValueError(
                "policy='reassign' must have X and model, or alternatives, to know "
                "which IDs are near. Got neither."
            )
        sizes = store.sizes
        assert sizes is not None, "a model gives sizes"
        distances = RowDistances(new.model, X, sizes)
        return store, reassign(codes, store, sizes, distances)

    def _extended_digests(self, X: NDArray[Any] | None) -> GrowingArray | None:
        if self.digests is None or X is None:
            return None
        return self.digests.appended(row_digests(X))


def _moves(
    codes: IntArray,
    ids: IntArray,
    first_row: int,
    X: NDArray[Any] | None,
    model: CodeModel | None,
) -> Moves:
    rows = np.flatnonzero((codes != ids).any(axis=1))
    if model is None or X is None:
        added = np.full(len(rows), np.nan)
    else:
        added = added_errors(model, X, rows, codes, ids)
    return Moves(rows + first_row, codes[rows], added)


def _check_policy(policy: str) -> None:
    if policy not in POLICIES:
        raise ValueError(f"policy must be one of {POLICIES}. Got {policy!r}.")


def _checked_rows(X: Any, n_rows: int) -> NDArray[Any] | None:
    if X is None:
        return None
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


def _check_unique(store: IDStore) -> None:
    counts = store.counts(store.ids)
    if (counts > 1).any():
        row = np.flatnonzero(counts > 1)[0]
        raise ValueError(
            "ids must be unique with policy='reassign'. Got "
            f"{tuple(store.ids[row].tolist())} {counts[row]} times."
        )
