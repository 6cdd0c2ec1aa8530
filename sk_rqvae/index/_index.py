"""The index of semantic IDs."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index._contents import Contents, NewItems
from sk_rqvae.index._files import IndexFiles
from sk_rqvae.index._items import checked_item_ids
from sk_rqvae.index._model import CodeModel
from sk_rqvae.index._store import IDStore
from sk_rqvae.index._summary import IndexSummary, summarized
from sk_rqvae.index._text import IndexText

_RAISE = object()


class SemanticIDIndex(IndexFiles, IndexText):
    """Semantic IDs in use: unique, reversible, stable, exportable.

    Takes the codes a model gave to items, makes IDs of them, and finds items by their
    IDs. Items can be added at any time; the IDs of those before never change.

    Parameters
    ----------
    policy : {"none", "suffix", "reassign"}, default="suffix"
        What happens to an item whose codes are taken. Items are placed in order of
        arrival, so an ID depends on earlier items only, not on how items are divided
        over calls.

        - ``"none"``: items share an ID.
        - ``"suffix"``: IDs have one more code, which counts the items with the same
          codes from 0, as in TIGER [1]_. Every ID has it.
        - ``"reassign"``: the item gets the nearest free code at the last level under
          its prefix; where none is free, it goes one level up, as far as it has to, and
          down again to the nearest free ID. Needs `X` and `model`, or `alternatives`.
    codebook_size : int or sequence of int, default=None
        Number of codes, one for all levels or one a level. None takes those of the
        model; without a model any code may come.

    Attributes
    ----------
    ids_ : ndarray of shape (n_items, n_columns), int64
        Row i is the ID of item i. Read-only. ``n_columns`` is ``n_layers_``, and one
        more with ``policy="suffix"``.
    item_ids_ : ndarray of shape (n_items,)
        Items in order of arrival: int64, or strings in an object array.
    n_layers_ : int
        Levels of the codes.
    fingerprint_ : str or None
        A hash of the parameters and codebooks of the model; None without a model.

    See Also
    --------
    RQVAETransformer : Learns the codes.

    Notes
    -----
    The codes of an ID are the digits of a mixed-radix number. These numbers are kept in
    two sorted arrays, one long and one short for what came last, and all queries are
    binary searches. With ``policy="suffix"`` the rank of a row among rows of equal
    numbers is its suffix. Adding m items to n costs ``O(m log n + m sqrt(n))``.

    Every operation either succeeds or leaves the index as it was.

    References
    ----------
    .. [1] Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023,
       arXiv 2305.05065.

    Examples
    --------
    >>> from sk_rqvae import SemanticIDIndex
    >>> codes = [[0, 1], [0, 1], [2, 0]]
    >>> index = SemanticIDIndex(policy="suffix").fit(codes, ["ant", "bee", "cat"])
    >>> index.ids_
    array([[0, 1, 0],
           [0, 1, 1],
           [2, 0, 0]])
    >>> index.add([[0, 1]], ["dog"])
    array([[0, 1, 2]])
    >>> index.lookup([[0, 1, 1], [0, 1, 2]])
    array(['bee', 'dog'], dtype=object)
    >>> index.items_with_prefix([0])
    array(['ant', 'bee', 'dog'], dtype=object)
    >>> index.allowed_next([]), index.allowed_next([0, 1])
    (array([0, 2]), array([0, 1, 2]))
    >>> index.tokens([[0, 1, 2]])
    ['<a_0><b_1><c_2>']
    """

    def fit(
        self,
        codes: ArrayLike,
        item_ids: Any = None,
        *,
        X: ArrayLike | None = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
    ) -> SemanticIDIndex:
        """Make IDs for the first items. What the index held before is gone.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            Codes of the items, as `RQVAETransformer.transform` gives them.
        item_ids : array-like of shape (n_items,), default=None
            Integers or strings, each once. None numbers the items by row, here and in
            `add`.
        X : array-like of shape (n_items, n_features), default=None
            What the model made the codes from. ``policy="reassign"`` needs it, and with
            it `summary` counts exact duplicates.
        model : fitted transformer, default=None
            What made the codes. The index carries its fingerprint, and every later
            `add` has to name the same model.
        alternatives : array-like of shape (n_items, n_alternatives, n_layers), \
default=None
            For ``policy="reassign"``: other codes for each item, best first, instead of
            the nearest ones that the model finds.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `codes` or `item_ids` are of a wrong type, or `model` has not the
            methods that the policy needs.
        ValueError
            If a code is out of range, an item comes twice, lengths differ, the policy
            is unknown or lacks what it needs, or there are more items than IDs.
        """
        new = NewItems(codes, item_ids, X, model, alternatives)
        self._contents = Contents.first(self.policy, self.codebook_size, new)
        return self

    def add(
        self,
        codes: ArrayLike,
        item_ids: Any = None,
        *,
        X: ArrayLike | None = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
    ) -> IntArray:
        """Make IDs for new items. No ID that exists changes.

        Parameters
        ----------
        codes : array-like of shape (n_new, n_layers)
        item_ids : array-like of shape (n_new,), default=None
            Items the index does not have yet. None where `fit` numbered the items.
        X : array-like of shape (n_new, n_features), default=None
        model : fitted transformer, default=None
            The model that `fit` had; None if it had none.
        alternatives : array-like of shape (n_new, n_alternatives, n_layers), \
default=None

        Returns
        -------
        ndarray of shape (n_new, n_columns), int64
            The IDs of the new items.

        Raises
        ------
        TypeError, ValueError
            As in `fit`, and if `model` is not the one of `fit`.
        """
        before = self._fitted()
        new = NewItems(codes, item_ids, X, model, alternatives)
        self._contents = before.extended(new)
        return self.ids_[len(before.store) :].copy()

    @property
    def ids_(self) -> IntArray:
        """IDs in order of arrival."""
        return self._fitted().store.ids

    @property
    def item_ids_(self) -> NDArray[Any]:
        """Items in order of arrival."""
        return self._fitted().items.values

    @property
    def n_layers_(self) -> int:
        """Levels of the codes."""
        return self._fitted().store.n_layers

    @property
    def fingerprint_(self) -> str | None:
        """A hash of the model's parameters and codebooks."""
        return self._fitted().fingerprint

    def lookup(
        self, ids: ArrayLike, default: Any = _RAISE
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """Find items by their IDs.

        Parameters
        ----------
        ids : array-like of shape (n, n_columns)
        default : object, optional
            What stands in for the item of an ID that does not exist.

        Returns
        -------
        ndarray of shape (n,), or list of n ndarrays
            The item of each ID; with ``policy="none"`` an array of all its items, in
            order of arrival.

        Raises
        ------
        KeyError
            If an ID does not exist and `default` is not given.
        """
        contents = self._fitted()
        ids = self._checked_ids(ids)
        if contents.policy == "none":
            return self._lookup_all(ids, default)
        rows = contents.store.find(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing) == 0:
            return contents.items.take(rows)
        if default is _RAISE:
            raise _no_such_id(ids, missing[0])
        items = (
            contents.items.take(np.maximum(rows, 0)) if len(contents.store) else rows
        )
        if type(default) is not int:
            items = items.astype(object)
        items[missing] = default
        return items

    def items_with_prefix(self, prefix: Sequence[int]) -> NDArray[Any]:
        """Find the items whose IDs begin with some codes, in order of their IDs.

        Parameters
        ----------
        prefix : sequence of int
            From no code to a whole ID.

        Returns
        -------
        ndarray of shape (n_found,)
            Items that share an ID are in order of arrival.
        """
        contents = self._fitted()
        rows = contents.store.under(_checked_prefix(prefix, contents.store))
        return contents.items.take(rows.copy())

    def allowed_next(self, prefix: Sequence[int]) -> IntArray:
        """Find the codes that continue a prefix to one of an ID that exists.

        Parameters
        ----------
        prefix : sequence of int
            From no code to a whole ID.

        Returns
        -------
        ndarray of shape (n_found,), int64
            Ascending. Empty if the prefix is of no ID, or a whole ID.
        """
        store = self._fitted().store
        return store.next_codes(_checked_prefix(prefix, store))

    def ids_of(self, item_ids: Any) -> IntArray:
        """Find the IDs of items.

        Parameters
        ----------
        item_ids : array-like of shape (n,)

        Returns
        -------
        ndarray of shape (n, n_columns), int64

        Raises
        ------
        KeyError
            If the index does not have an item.
        """
        contents = self._fitted()
        items = checked_item_ids(item_ids)
        rows = contents.items.rows_of(items)
        if (rows < 0).any():
            raise KeyError(f"no item {items[rows < 0].tolist()[0]!r}")
        return contents.store.ids[rows]

    def summary(self) -> IndexSummary:
        """Say how good the IDs are, and what the policy cost.

        Returns
        -------
        dict
            - ``policy``: the policy of `fit`;
            - ``n_items``: items;
            - ``n_unique``: distinct codes, as the model gave them;
            - ``colliding_share``: share of items that share those with another;
            - ``worst_bucket``: most items with the same codes;
            - ``exact_duplicates``: items whose row in `X` equals an earlier one, which
              no model can tell apart; None if some items came without `X`;
            - ``suffix_codes``: codes that the suffix needs; None for other policies;
            - ``n_moved``: items that were reassigned;
            - ``moved_at_level``: how many of them left their codes at each level,
              the first level first;
            - ``added_error``: by how much this raised the mean squared error of the
              reconstruction over all items, in squared units of `X`; None if some items
              were moved without a model.
        """
        contents = self._fitted()
        store, digests = contents.store, contents.digests
        return summarized(
            contents.policy,
            store.ids[:, : store.n_layers],
            contents.moves,
            None if digests is None else digests.values,
        )

    def _lookup_all(self, ids: IntArray, default: Any) -> list[Any]:
        contents = self._fitted()
        rows, counts = contents.store.find_all(ids)
        missing = np.flatnonzero(counts == 0)
        if len(missing) and default is _RAISE:
            raise _no_such_id(ids, missing[0])
        items = contents.items.take(rows)
        ends = np.cumsum(counts)
        found: list[Any] = [
            items[start:end]
            for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True)
        ]
        for place in missing:
            found[place] = default
        return found


def _checked_prefix(prefix: Sequence[int], store: IDStore) -> tuple[int, ...]:
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


def _no_such_id(ids: IntArray, row: int) -> KeyError:
    return KeyError(f"no item has ID {tuple(ids[row].tolist())} (row {row} of ids)")
