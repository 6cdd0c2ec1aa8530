"""The state of a fitted index."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._checks.scalars import check_choice, check_int
from sk_rqvae.index.code_model import Route, checked_sizes
from sk_rqvae.index.engine.growing import GrowingArray
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.fingerprint import FINGERPRINT_VERSION, fingerprint
from sk_rqvae.index.history import Event, recorded
from sk_rqvae.index.items import ItemIds, checked_item_ids
from sk_rqvae.index.lineage import Base, Lineage
from sk_rqvae.index.policies.moves import Moves
from sk_rqvae.index.policies.suffix import check_suffixes

POLICIES = ("none", "suffix", "reassign")
OVERFLOWS = ("raise", "reassign")


class Rules(NamedTuple):
    """The rules by which items get IDs: the parameters of the index, checked.

    Attributes
    ----------
    policy : {"none", "suffix", "reassign"}
    capacity : int or None
        How many items may have the same codes. None is any number.
    overflow : {"raise", "reassign"}
        What happens to an item beyond that.
    """

    policy: str
    capacity: int | None
    overflow: str

    @property
    def items_per_id(self) -> int | None:
        """How many items may share an ID. None is any number."""
        return 1 if self.policy == "suffix" else self.capacity

    @property
    def shared(self) -> bool:
        """Whether an ID can be that of several items."""
        return self.items_per_id != 1

    @property
    def reassigns(self) -> bool:
        """Whether items move to other codes."""
        return self.overflow == "reassign"


def checked_rules(policy: str, capacity: int | None, overflow: str) -> Rules:
    """Check the parameters of an index."""
    check_choice("policy", policy, POLICIES)
    check_choice("overflow", overflow, OVERFLOWS)
    if capacity is not None:
        capacity = check_int("capacity", capacity, minimum=1)
    if policy == "reassign":
        return Rules(policy, capacity or 1, "reassign")
    if overflow == "reassign" and (policy == "none" or capacity is None):
        raise ValueError(
            "overflow='reassign' needs policy='suffix' and a capacity. Got "
            f"policy={policy!r}, capacity={capacity!r}. To share IDs and move what "
            "does not fit, use policy='reassign' with a capacity."
        )
    return Rules(policy, capacity, overflow)


class IndexState(NamedTuple):
    """All that a fitted index holds. Never changes: every change makes a new one.

    Attributes
    ----------
    rules : Rules
    codebook_size : int, tuple of int or None
        The parameter that the index was fitted with.
    store : IDStore
    items : ItemIds
    weights : GrowingArray or None
        Rank of items that share an ID, one number per row. None if no item has one.
    fingerprint : str or None
        That of the model.
    fingerprint_version : int
    moves : Moves
        Items whose ID is not what their model gave them.
    digests : GrowingArray or None
        Hashes of the rows of X. None if some items came without.
    history : tuple of Event
    lineage : Lineage
        The saved files that this state descends from.
    """

    rules: Rules
    codebook_size: int | tuple[int, ...] | None
    store: IDStore
    items: ItemIds
    weights: GrowingArray | None
    fingerprint: str | None
    fingerprint_version: int
    moves: Moves
    digests: GrowingArray | None
    history: tuple[Event, ...]
    lineage: Lineage

    @property
    def revision(self) -> int:
        """Changes since the index was made, that included."""
        return self.history[-1].revision

    def ids(self) -> IntArray:
        """IDs of the items that are not removed, in order of arrival."""
        return self.store.live_ids()

    def live_items(self) -> NDArray[Any]:
        """Items that are not removed, in order of arrival."""
        if len(self.store.removed) == 0:
            return self.items.all()
        items = self.items.take(self.store.live_rows())
        items.flags.writeable = False
        return items

    def rows_of(self, items: NDArray[Any]) -> IntArray:
        """Return the row of each item, or -1; items as `checked_item_ids` has them."""
        return self.items.rows_of(items, self.store.is_removed)

    def known_rows(self, item_ids: Any) -> IntArray:
        """Return the row of each item; one that the index does not have is an error."""
        items = checked_item_ids(item_ids)
        rows = self.rows_of(items)
        if (rows < 0).any():
            raise KeyError(f"no item {items[rows < 0].tolist()[0]!r}")
        return rows

    def extended_weights(
        self, n_new: int, weights: NDArray[Any] | None
    ) -> GrowingArray | None:
        """Append the weights of new rows; items without a weight have 0."""
        if weights is None and self.weights is None:
            return None
        before = self.weights
        if before is None:
            before = GrowingArray(np.zeros(len(self.store)))
        return before.appended(np.zeros(n_new) if weights is None else weights)

    def weights_of(self, rows: IntArray) -> NDArray[Any]:
        """Return the weights of some rows, which are 0 if no item has one."""
        if self.weights is None:
            return np.zeros(len(rows))
        return self.weights.values[rows]

    def with_weights(self, rows: IntArray, weights: NDArray[Any]) -> IndexState:
        """Replace the weights of some rows."""
        if len(rows) == 0:
            return self
        before = self.weights
        values = np.zeros(len(self.store)) if before is None else before.values.copy()
        values[rows] = weights
        return self._replace(weights=GrowingArray(values))

    def as_base(self, name: str) -> Base:
        """Return what a file called `name` holds if it holds this state."""
        store = self.store
        return Base(
            name,
            len(store),
            store.removed,
            self.moves,
            self.digests,
            self.history,
            self.weights,
        )

    def after(self, action: str, n_changed: int, *, above: int = 0) -> IndexState:
        """Record a change in the history, with a revision greater than `above`."""
        return self._replace(
            history=recorded(
                self.history,
                action,
                above=above,
                n_changed=n_changed,
                n_items=self.store.n_live,
                fingerprint=self.fingerprint,
            )
        )


def parameters_of_state(state: IndexState) -> dict[str, Any]:
    """Return the parameters that a state was fitted with."""
    rules, size = state.rules, state.codebook_size
    parameters: dict[str, Any] = {
        "policy": rules.policy,
        "codebook_size": list(size) if isinstance(size, tuple) else size,
    }
    if rules.policy != "reassign":
        return parameters | {"capacity": rules.capacity, "overflow": rules.overflow}
    return parameters | {"capacity": None if rules.capacity == 1 else rules.capacity}


def plain_size(codebook_size: Any) -> int | tuple[int, ...] | None:
    """Copy a valid parameter `codebook_size`, which may be an array, as integers."""
    if codebook_size is None:
        return None
    size = np.asarray(codebook_size).tolist()
    return tuple(size) if isinstance(size, list) else size


def empty_state(
    rules: Rules, codebook_size: Any, n_layers: int, route: Route | None
) -> IndexState:
    """Make the state of an index without items."""
    quantizer = None if route is None else route.quantizer
    sizes = checked_sizes(codebook_size, quantizer, n_layers)
    return IndexState(
        rules=rules,
        codebook_size=plain_size(codebook_size),
        store=IDStore.empty(n_layers, sizes, numbered=rules.policy == "suffix"),
        items=ItemIds.of(None, 0),
        weights=None,
        fingerprint=None if route is None else fingerprint(route),
        fingerprint_version=FINGERPRINT_VERSION,
        moves=Moves.none(n_layers),
        digests=GrowingArray(np.empty(0, dtype=np.int64)),
        history=(),
        lineage=Lineage.none(),
    )


def state_of_ids(
    rules: Rules,
    codebook_size: Any,
    ids: Any,
    item_ids: Any,
    route: Route | None = None,
    *,
    allow_gaps: bool = False,
) -> IndexState:
    """Make the state of items that have IDs already."""
    ids = check_codes(ids, name="ids")
    numbered = rules.policy == "suffix"
    n_layers = ids.shape[1] - numbered
    if n_layers == 0:
        raise ValueError(
            "ids must have one column per level and one for the suffix with "
            "policy='suffix'. Got 1 column."
        )
    state = empty_state(rules, codebook_size, n_layers, route)
    codes = check_codes(ids[:, :n_layers], state.store.sizes, name="ids")
    if numbered:
        check_suffixes(ids, allow_gaps=allow_gaps)
        _check_largest_suffix(ids[:, -1], rules)
    elif rules.capacity is not None:
        _, counts = np.unique(codes, axis=0, return_counts=True)
        _check_capacity(int(counts.max(initial=0)), rules)
    return state._replace(
        store=state.store.covering(ids).appended(ids),
        items=ItemIds.of(item_ids, len(ids)),
        digests=None,
    ).after("read", len(ids))


def _check_largest_suffix(suffixes: IntArray, rules: Rules) -> None:
    if rules.capacity is None or suffixes.max(initial=-1) < rules.capacity:
        return
    row = int(suffixes.argmax())
    raise ValueError(
        f"ids must have suffixes below capacity={rules.capacity}. Got {suffixes[row]} "
        f"in row {row}."
    )


def _check_capacity(found: int, rules: Rules) -> None:
    if rules.capacity is None or found <= rules.capacity:
        return
    if rules.policy == "reassign" and rules.capacity == 1:
        raise ValueError(
            f"ids must be unique with policy='reassign'. Got one {found} times."
        )
    raise ValueError(
        f"ids must have at most capacity={rules.capacity} items for the same codes. "
        f"Got {found}."
    )
