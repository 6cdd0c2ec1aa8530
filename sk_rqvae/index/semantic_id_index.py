"""The index of semantic IDs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import index as as_index
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae.index.code_model import CodeModel
from sk_rqvae.index.decoding.prefix_function import PrefixAllowedTokens
from sk_rqvae.index.engine.store import IDStore
from sk_rqvae.index.formats.json import read_json, write_json
from sk_rqvae.index.formats.state_file import read_state, write_state
from sk_rqvae.index.formats.table import (
    PathLike,
    as_integers,
    read_table,
    write_table,
)
from sk_rqvae.index.formats.tokens import level_tokens, parsed, token_rows
from sk_rqvae.index.items import checked_item_ids
from sk_rqvae.index.parameters import (
    default_tags,
    described,
    documentation_link,
    html_form,
    not_fitted_error,
    parameters_of,
    set_parameters,
)
from sk_rqvae.index.state import IndexState, NewItems
from sk_rqvae.index.summary import IndexSummary, summarized

_RAISE = object()


class SemanticIDIndex:
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

    _state: IndexState

    def __init__(self, *, policy: str = "suffix", codebook_size: Any = None) -> None:
        self.policy = policy
        self.codebook_size = codebook_size

    def fit(
        self,
        codes: ArrayLike,
        item_ids: Any = None,
        *,
        X: ArrayLike | None = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
    ) -> Self:
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
        self._state = IndexState.first(self.policy, self.codebook_size, new)
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
        self._state = before.extended(new)
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
        state = self._fitted()
        ids = self._checked_ids(ids)
        if state.policy == "none":
            return self._lookup_all(ids, default)
        rows = state.store.find(ids)
        missing = np.flatnonzero(rows < 0)
        if len(missing) == 0:
            return state.items.take(rows)
        if default is _RAISE:
            raise _no_such_id(ids, missing[0])
        items = state.items.take(np.maximum(rows, 0)) if len(state.store) else rows
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
        state = self._fitted()
        rows = state.store.under(_checked_prefix(prefix, state.store))
        return state.items.take(rows.copy())

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
        state = self._fitted()
        items = checked_item_ids(item_ids)
        rows = state.items.rows_of(items)
        if (rows < 0).any():
            raise KeyError(f"no item {items[rows < 0].tolist()[0]!r}")
        return state.store.ids[rows]

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
        state = self._fitted()
        store, digests = state.store, state.digests
        return summarized(
            state.policy,
            store.ids[:, : store.n_layers],
            state.moves,
            None if digests is None else digests.values,
        )

    def tokens(self, ids: ArrayLike) -> list[str]:
        """Write IDs as text: a token a code, a letter a level.

        Parameters
        ----------
        ids : array-like of shape (n, n_columns)
            IDs, whether or not they exist.

        Returns
        -------
        list of str
            Such as ``"<a_12><b_3><c_250>"``. After ``z`` come ``aa``, ``ab`` and so on.
        """
        self._fitted()
        return ["".join(tokens) for tokens in token_rows(self._checked_codes(ids))]

    def parse_tokens(self, texts: Iterable[str]) -> IntArray:
        """Read IDs from text, the inverse of `tokens`.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        ndarray of shape (n, n_columns), int64
            IDs, whether or not they exist.

        Raises
        ------
        ValueError
            If a text is not one token a level, in order, or a code is out of range.
        """
        return self._checked_codes(parsed(texts, self._fitted().store.n_columns))

    def vocabulary(self) -> list[str]:
        """List all tokens that IDs can have, level by level.

        A level has as many as its codebook has codes. Where that is not known, and for
        the suffix, it has as many as the largest code so far asks for.

        Returns
        -------
        list of str
        """
        widths = self._fitted().store.widths
        return [
            name
            for level, width in enumerate(widths)
            for name in level_tokens(level, width)
        ]

    def prefix_allowed_tokens_fn(
        self,
        token_to_id: Mapping[str, int],
        *,
        eos_token_id: int,
        prompt_length: int,
    ) -> PrefixAllowedTokens:
        """Make the callable that holds a text decoder to IDs that exist.

        Parameters
        ----------
        token_to_id : mapping of str to int
            Has every token of `vocabulary`; ``tokenizer.get_vocab()``.
        eos_token_id : int
            The one token that may follow a whole ID.
        prompt_length : int
            How many tokens come before the ID in what `generate` passes on: for a
            decoder-only model the length of its input, ``input_ids.shape[1]``, padding
            included; for an encoder-decoder model 1, the start token.

        Returns
        -------
        callable
            For ``model.generate(..., prefix_allowed_tokens_fn=...)``, with any number
            of beams. Its method ``ids(sequences)`` gives the IDs in what was generated.
            `generate` needs room for the tokens of an ID and the end:
            ``max_new_tokens=n_columns + 1``. The callable reads this index as it is at
            the time of each call.

        Raises
        ------
        ValueError
            If the index is empty, or a token has no id.

        References
        ----------
        .. [1] De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021, arXiv
           2010.00904: decoding held to a prefix tree.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_rqvae import SemanticIDIndex
        >>> index = SemanticIDIndex(policy="none").fit([[0, 1], [0, 2], [2, 0]])
        >>> token_to_id = {"</s>": 0}
        >>> for number, token in enumerate(index.vocabulary(), start=1):
        ...     token_to_id[token] = number
        >>> allowed = index.prefix_allowed_tokens_fn(
        ...     token_to_id, eos_token_id=0, prompt_length=1
        ... )
        >>> beam = np.array([0, token_to_id["<a_0>"]])
        >>> [index.vocabulary()[number - 1] for number in allowed(0, beam)]
        ['<b_1>', '<b_2>']
        """
        store = self._fitted().store
        if len(store) == 0:
            raise ValueError("the index must have items to decode. Got none.")
        return PrefixAllowedTokens(
            lambda prefix: self._fitted().store.next_codes(prefix),
            store.widths,
            token_to_id,
            eos_token_id=eos_token_id,
            prompt_length=prompt_length,
        )

    def save(self, path: PathLike) -> None:
        """Write the index to a file.

        The file holds a JSON header, raw arrays and a checksum; no pickle. It is
        written beside `path` and renamed, so a crash leaves what was there before.

        Parameters
        ----------
        path : str or path-like

        See Also
        --------
        load : Read it back.
        """
        write_state(path, self._fitted(), self.codebook_size)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read an index that `save` wrote.

        Loading runs no code from the file: one from a stranger can at worst be refused.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not an index, was written by a newer version, is truncated or
            changed, or its state do not fit together.
        """
        state, codebook_size = read_state(path)
        index = cls(policy=state.policy, codebook_size=codebook_size)
        index._state = state
        return index

    def to_json(self, path: PathLike) -> None:
        """Write ``{item: ["<a_1>", "<b_2>", ...]}``.

        LC-Rec [1]_, LETTER [2]_ and MiniOneRec [3]_ read such files. Items that are
        integers become strings, as JSON has no other keys.

        Parameters
        ----------
        path : str or path-like
            Replaced in one step.

        References
        ----------
        .. [1] Zheng et al., "Adapting Large Language Models by Integrating
           Collaborative Semantics for Recommendation", ICDE 2024, arXiv 2311.09049.
        .. [2] Wang et al., "Learnable Item Tokenization for Generative
           Recommendation", CIKM 2024, arXiv 2405.07314.
        .. [3] Kong et al., "MiniOneRec: An Open-Source Framework for Scaling Generative
           Recommendation", 2025, arXiv 2510.24431.
        """
        state = self._fitted()
        write_json(path, state.store.ids, state.items.values)

    @classmethod
    def from_json(
        cls,
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        item_type: type = str,
        model: CodeModel | None = None,
    ) -> Self:
        """Read ``{item: ["<a_1>", "<b_2>", ...]}``. IDs are kept as they are.

        Parameters
        ----------
        path : str or path-like
        policy : {"none", "suffix", "reassign"}, default="suffix"
            How items that are added will be treated. With ``"suffix"`` the last token
            of every item is the suffix.
        codebook_size : int or sequence of int, default=None
        item_type : {str, int}, default=str
            What the items are.
        model : fitted transformer, default=None
            The model of the codes; the index will carry its fingerprint.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item comes twice, or IDs do not fit the
            policy.
        """
        ids, items = read_json(path)
        return cls._of_ids(policy, codebook_size, ids, items, item_type, model, path)

    def to_table(self, path: PathLike) -> None:
        """Write a table with the column ``item_id`` and one column a level.

        The levels are ``level_1``, ``level_2`` and so on; that of the suffix is
        ``suffix``.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv`` or ``.parquet``. Parquet needs pyarrow or polars. Replaced
            in one step.
        """
        state = self._fitted()
        store = state.store
        columns = [f"level_{level + 1}" for level in range(store.n_layers)]
        columns += ["suffix"] * store.numbered
        write_table(path, store.ids, state.items.values, columns)

    @classmethod
    def from_table(
        cls,
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        item_type: type | None = None,
        model: CodeModel | None = None,
    ) -> Self:
        """Read a table of IDs, which are kept as they are.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv`` or ``.parquet``. The first column holds the items, the
            others the levels in order, whatever their names.
        policy : {"none", "suffix", "reassign"}, default="suffix"
            How items that are added will be treated. With ``"suffix"`` the last column
            is the suffix.
        codebook_size : int or sequence of int, default=None
        item_type : {str, int}, default=None
            What the items are. None takes them as they are stored, which in a CSV file
            is as strings.
        model : fitted transformer, default=None
            The model of the codes; the index will carry its fingerprint.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item comes twice, or IDs do not fit the
            policy.
        """
        ids, items = read_table(path)
        return cls._of_ids(policy, codebook_size, ids, items, item_type, model, path)

    @classmethod
    def _of_ids(
        cls,
        policy: str,
        codebook_size: Any,
        ids: Any,
        items: Any,
        item_type: type | None,
        model: CodeModel | None,
        path: PathLike,
    ) -> Self:
        if item_type not in (None, int, str):
            raise ValueError(f"item_type must be int or str. Got {item_type!r}.")
        if item_type is int:
            items = as_integers(items, path)
        elif item_type is str:
            items = list(map(str, items))
        index = cls(policy=policy, codebook_size=codebook_size)
        index._state = IndexState.of_ids(policy, codebook_size, ids, items, model)
        return index

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor parameters by name."""
        return parameters_of(self)

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters. They apply from the next `fit` on."""
        set_parameters(self, params)
        return self

    def __repr__(self) -> str:
        return described(self)

    def _repr_html_(self) -> str:
        return html_form(self)

    def _get_doc_link(self) -> str:
        return documentation_link(self)

    def __sklearn_tags__(self) -> Any:
        return default_tags()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_state")

    def _fitted(self) -> IndexState:
        try:
            return self._state
        except AttributeError:
            raise not_fitted_error(self) from None

    def _checked_ids(self, ids: ArrayLike) -> IntArray:
        ids = check_codes(ids, name="ids")
        expected = self._fitted().store.n_columns
        if ids.shape[1] != expected:
            raise ValueError(
                f"ids must have {expected} columns. Got {ids.shape[1]} columns."
            )
        return ids

    def _checked_codes(self, ids: ArrayLike) -> IntArray:
        ids = self._checked_ids(ids)
        store = self._fitted().store
        if store.sizes is not None:
            check_codes(ids[:, : store.n_layers], store.sizes, name="ids")
        return ids

    def _lookup_all(self, ids: IntArray, default: Any) -> list[Any]:
        state = self._fitted()
        rows, counts = state.store.find_all(ids)
        missing = np.flatnonzero(counts == 0)
        if len(missing) and default is _RAISE:
            raise _no_such_id(ids, missing[0])
        items = state.items.take(rows)
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
