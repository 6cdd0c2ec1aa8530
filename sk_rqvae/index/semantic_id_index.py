"""The index of semantic IDs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.scalars import check_choice
from sk_rqvae._process_lock import ProcessLock
from sk_rqvae.index import changes, queries
from sk_rqvae.index.code_model import CodeModel
from sk_rqvae.index.comparison import ChurnReport, churn
from sk_rqvae.index.decoding.build import trie_of
from sk_rqvae.index.decoding.prefix_function import PrefixAllowedTokens
from sk_rqvae.index.decoding.token_tables import token_ids_of_levels
from sk_rqvae.index.decoding.trie import IDTrie
from sk_rqvae.index.exclusive_work import ExclusiveWork
from sk_rqvae.index.formats.exchange import items_of_type, state_of_file
from sk_rqvae.index.formats.json import read_json, write_json
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.formats.state_file import CONFLICTS, read_state, save_state
from sk_rqvae.index.formats.table import read_table, write_table
from sk_rqvae.index.formats.tokens import level_tokens, parsed, token_rows
from sk_rqvae.index.new_items import NewItems
from sk_rqvae.index.parameters import (
    default_tags,
    described,
    documentation_link,
    html_form,
    not_fitted_error,
    parameters_of,
    set_parameters,
)
from sk_rqvae.index.queries import REQUIRED
from sk_rqvae.index.realignment import RealignmentReport, realigned
from sk_rqvae.index.state import IndexState, checked_rules, parameters_of_state
from sk_rqvae.index.summary import IndexSummary, summarized

Result = TypeVar("Result")


class SemanticIDIndex:
    """Semantic IDs of a catalogue: lookup in both directions, stable, exportable.

    Takes the codes that a model gave to items, makes IDs of them, and finds items by
    their IDs. Items can be added and removed at any time. The ID of an item never
    changes unless `update` is asked to change it.

    Parameters
    ----------
    policy : {"none", "suffix", "reassign"}, default="suffix"
        What happens to an item whose codes are taken. Items get IDs in order of
        arrival, so an ID depends on earlier items only, not on how items are divided
        over calls.

        - ``"none"``: items share an ID.
        - ``"suffix"``: IDs have one more code, which numbers the items with the same
          codes from 0, as in TIGER [1]_. Every ID has it.
        - ``"reassign"``: the item gets the best free one of the model's 32
          ``candidates``. If none of them is free, its last code changes to the nearest
          free one. If there is none either, earlier codes change too, as few as
          possible. Needs `X` and `model`, or `alternatives`.
    codebook_size : int or sequence of int, default=None
        Number of codes, one for all levels or one per level. None takes those of the
        model; without a model any code may come.
    capacity : int, default=None
        How many items may have the same codes. None is no bound. Items that had them
        and were removed or moved count too, unless `remove` had ``reuse=True``.

        - ``"none"``: one item more is an error. 1 makes IDs unique.
        - ``"suffix"``: suffixes stay below it, so the vocabulary is known in advance.
        - ``"reassign"``: no more items than that share an ID. None is 1.
    overflow : {"raise", "reassign"}, default="raise"
        What happens with ``policy="suffix"`` to an item whose codes have `capacity`
        items: an error, or the best of the model's candidates that has room, and the
        nearest codes that have room if there is none.

    Attributes
    ----------
    ids_ : ndarray of shape (n_items, n_columns), int64
        Row i is the ID of item i. Read-only. ``n_columns`` is ``n_layers_``, and one
        more with ``policy="suffix"``.
    item_ids_ : ndarray of shape (n_items,)
        Items in order of arrival: int64, or strings in an object array.
    item_type_ : type
        What the items are, int or str.
    n_layers_ : int
        Levels of the codes.
    fingerprint_ : str or None
        A hash of what decides the codes of the model; None without a model.
    revision_ : int
        Grows by one with every change; after a merge, it is one more than the greater
        of both sides.

    See Also
    --------
    RQVAETransformer : Learns the codes.

    Notes
    -----
    The codes of an ID are the digits of a mixed-radix number. These numbers are kept in
    a few sorted arrays of descending length, and all queries are binary searches.
    Adding or removing m items of n takes ``O(m log n)`` on average. An item that had k
    IDs before, and was removed each time, takes ``O(k log n)``.

    Every call either succeeds or leaves the index as it was. Threads may use an index
    at the same time: calls that change it take turns, and calls that read it never wait
    and see the index before or after a change, never in between.

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
    >>> index.remove(["bee"])
    >>> len(index), "bee" in index
    (3, False)
    """

    _state: IndexState

    def __init__(
        self,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        capacity: int | None = None,
        overflow: str = "raise",
    ) -> None:
        self.policy = policy
        self.codebook_size = codebook_size
        self.capacity = capacity
        self.overflow = overflow
        self._writers = ProcessLock(ExclusiveWork)

    def fit(
        self,
        codes: ArrayLike,
        item_ids: Any = None,
        *,
        X: Any = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
        weights: ArrayLike | None = None,
    ) -> Self:
        """Make IDs for the first items. Replaces all that the index held before.

        If the index was saved or loaded, `save` remains an error if others changed the
        file since. Their changes can no longer be merged.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            Codes of the items, as `RQVAETransformer.transform` gives them.
        item_ids : array-like of shape (n_items,), default=None
            Integers or strings, each once. None numbers the items by row, here and in
            `add`.
        X : array-like of shape (n_items, n_features), default=None
            What the model made the codes from. ``policy="reassign"`` needs it, and with
            it `summary` counts exact duplicates. A DataFrame must have the columns that
            the model was fitted on, in their order.
        model : fitted transformer or Pipeline, default=None
            What made the codes. The index carries its fingerprint, and every later
            `add` has to name the same model.
        alternatives : array-like of shape (n_items, n_alternatives, n_layers), \
default=None
            If items are reassigned: other codes for each item, best first, instead of
            the nearest ones that the model finds.
        weights : array-like of shape (n_items,), default=None
            Ranks items that share an ID: `lookup` returns the greatest weight first.
            None is 0.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If `codes` or `item_ids` are of a wrong type, or `model` lacks the methods
            that the policy needs.
        ValueError
            If a code is out of range, an item comes twice, lengths differ, a parameter
            is unknown or lacks what it needs, or there are more items than IDs.
        """
        new = NewItems(codes, item_ids, X, model, alternatives, weights)
        self._writers.of_this_process().do(lambda: self._fit(new))
        return self

    def add(
        self,
        codes: ArrayLike,
        item_ids: Any = None,
        *,
        X: Any = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        on_duplicate: str = "raise",
    ) -> IntArray:
        """Make IDs for new items. No ID that exists changes.

        Parameters
        ----------
        codes : array-like of shape (n_new, n_layers)
        item_ids : array-like of shape (n_new,), default=None
            None where `fit` numbered the items.
        X : array-like of shape (n_new, n_features), default=None
        model : fitted transformer or Pipeline, default=None
            The model that `fit` had; None if it had none.
        alternatives : array-like of shape (n_new, n_alternatives, n_layers), \
default=None
        weights : array-like of shape (n_new,), default=None
        on_duplicate : {"raise", "skip"}, default="raise"
            What happens to an item that the index has or that comes twice: an error, or
            nothing.

        Returns
        -------
        ndarray of shape (n_new, n_columns), int64
            The IDs of the items, skipped ones included.

        Raises
        ------
        TypeError, ValueError
            As in `fit`, and if `model` is not the one of `fit`.
        """
        new = NewItems(codes, item_ids, X, model, alternatives, weights)
        choice = check_choice("on_duplicate", on_duplicate, ("raise", "skip"))
        return self._changed(
            lambda state: changes.added(state, new, skip_known=choice == "skip")
        )

    def remove(self, item_ids: Any, *, reuse: bool = False) -> None:
        """Remove items from lookups, prefixes and decoding.

        An item that is added again gets a new ID.

        Parameters
        ----------
        item_ids : array-like of shape (n,)
            Items of the index, each once.
        reuse : bool, default=False
            Whether their IDs may be given to other items. Logs and caches that still
            have such an ID would then mean another item. With ``policy="suffix"``, the
            last suffixes of some codes are given again, and earlier ones only if
            `capacity` leaves no other. Takes ``O(n)``.

        Raises
        ------
        KeyError
            If the index does not have an item.
        ValueError
            If an item comes twice.
        """
        self._changed(lambda state: (changes.removed(state, item_ids, reuse=reuse), 0))

    def update(
        self,
        codes: ArrayLike,
        item_ids: Any,
        *,
        X: Any = None,
        model: CodeModel | None = None,
        alternatives: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        on_change: str = "keep",
    ) -> changes.UpdateReport:
        """Give items new codes, for instance after their embeddings changed.

        Given the codes that they had before, it changes their weights alone.

        Parameters
        ----------
        codes : array-like of shape (n, n_layers)
            The new codes.
        item_ids : array-like of shape (n,)
            Items of the index, each once. Numbers of rows if `fit` had no `item_ids`.
        X : array-like of shape (n, n_features), default=None
        model : fitted transformer or Pipeline, default=None
        alternatives : array-like of shape (n, n_alternatives, n_layers), default=None
        weights : array-like of shape (n,), default=None
            The new weights of the items. None keeps them.
        on_change : {"keep", "move"}, default="keep"
            What happens to an item whose ID has other codes than the new ones.
            ``"keep"`` keeps its ID and records the difference for `summary`.
            ``"move"`` gives it a new ID by the policy and retires the old one; the item
            then comes last in `ids_`. An item that the policy reassigned, and whose
            codes did not change, moves only if its codes have room when the others have
            moved.

        Returns
        -------
        dict
            - ``ids``: ndarray of shape (n, n_columns), the IDs afterwards;
            - ``moved``: ndarray of shape (n,), bool, which items have a new ID;
            - ``n_changed``: items whose codes differ from those they had before;
            - ``n_moved``: items that have a new ID.

        Raises
        ------
        KeyError
            If the index does not have an item.
        TypeError, ValueError
            As in `add`.
        """
        new = NewItems(codes, item_ids, X, model, alternatives, weights)
        choice = check_choice("on_change", on_change, ("keep", "move"))
        return self._changed(
            lambda state: changes.updated(state, new, move=choice == "move")
        )

    def rebind(self, model: CodeModel) -> None:
        """Accept another model as the one that makes the codes.

        For a model that gives the same codes although its fingerprint differs, such as
        one that was converted, or for an index without a model. Nothing checks that the
        codes are the same. The codebooks of the model bound the codes from then on.

        Parameters
        ----------
        model : fitted transformer or Pipeline

        Raises
        ------
        ValueError
            If the codebooks of the model are not of the sizes of the index, or without
            `codebook_size` are smaller than its codes.
        """
        self._changed(lambda state: (changes.rebound(state, model), 0))

    def realign(
        self,
        new_codes: ArrayLike,
        item_ids: Any = None,
        *,
        model: CodeModel | None = None,
    ) -> tuple[IntArray, RealignmentReport]:
        """Rename the codes of a retrained model so that most IDs are kept.

        The codes of two models have nothing in common, even if the models are nearly
        the same. But the codes of a level are names, which can be exchanged without
        changing what the model does. This finds the one-to-one map of names for each
        level that keeps the most leading codes over all items. It does not change the
        index: give the result to `fit` of a new one.

        Parameters
        ----------
        new_codes : array-like of shape (n, n_layers)
            Codes of the new model, before renaming.
        item_ids : array-like of shape (n,), default=None
            Items of these codes. Those that the index does not have are renamed too.
            None are the numbers of the rows, where the items of the index are such.
        model : fitted transformer or Pipeline, default=None
            The new model. Its codebooks must have the sizes of the index.

        Returns
        -------
        codes : ndarray of shape (n, n_layers), int64
            The renamed codes.
        report : dict
            - ``code_maps``: for each level an ndarray, the new name of each code;
            - ``model``: `model` with renamed codes, to use in its place from now on;
              None without `model`;
            - ``n_items``, ``n_common``: items of the call, and those in the index;
            - ``kept``: share of common items that keep the first one, two, ... codes,
              NaN if there are none;
            - ``kept_without``: the same without renaming.

        Raises
        ------
        ValueError
            If there are other levels or sizes than those of the index, or items have
            names and `item_ids` is None.

        Notes
        -----
        Each level is a linear assignment problem, solved in turn until no level can be
        improved: a local optimum. It takes ``8 * codebook_size ** 2`` bytes.

        Examples
        --------
        >>> index = SemanticIDIndex(policy="none").fit([[0, 1], [0, 2], [1, 0]])
        >>> codes, report = index.realign([[1, 2], [1, 0], [0, 1]], [0, 1, 2])
        >>> codes
        array([[0, 1],
               [0, 2],
               [1, 0]])
        >>> report["kept"], report["kept_without"]
        ([1.0, 1.0], [0.0, 0.0])
        """
        return realigned(self._fitted(), new_codes, item_ids, model)

    def churn(self, other: SemanticIDIndex) -> ChurnReport:
        """Compare the IDs of the same items in a later index.

        Parameters
        ----------
        other : SemanticIDIndex
            The later one.

        Returns
        -------
        dict
            Lists have one entry for the first code, the first two, and so on.

            - ``n_common``, ``n_added``, ``n_removed``: items in both, only in `other`
              and only in this index;
            - ``n_changed``, ``changed_share``: common items whose prefix changed. These
              invalidate what is stored for an item by its prefix, such as features;
            - ``prefixes_gone``: prefixes of this index that `other` does not have. What
              is stored for them, such as embeddings, is not used any more;
            - ``prefixes_new``: prefixes that only `other` has, which models that were
              trained on this index have not seen;
            - ``n_reused``: IDs of `other` that this index had given to other items
              alone, also to removed ones. Logs with such an ID now mean another item.

        Raises
        ------
        TypeError
            If `other` is no `SemanticIDIndex`.
        """
        if not isinstance(other, SemanticIDIndex):
            raise TypeError(
                f"other must be a SemanticIDIndex. Got {type(other).__name__}."
            )
        return churn(self._fitted(), other._fitted())

    @property
    def ids_(self) -> IntArray:
        """IDs in order of arrival."""
        return self._fitted().ids()

    @property
    def item_ids_(self) -> NDArray[Any]:
        """Items in order of arrival."""
        return self._fitted().live_items()

    @property
    def item_type_(self) -> type:
        """What the items are, int or str."""
        return str if self._fitted().items.kind == "str" else int

    @property
    def n_layers_(self) -> int:
        """Levels of the codes."""
        return self._fitted().store.n_layers

    @property
    def fingerprint_(self) -> str | None:
        """A hash of what decides the codes of the model."""
        return self._fitted().fingerprint

    @property
    def revision_(self) -> int:
        """Number of changes, `fit` included."""
        return self._fitted().revision

    def history(self) -> list[dict[str, Any]]:
        """List what changed the index, the oldest change first.

        Returns
        -------
        list of dict
            Each with ``action``, ``first_revision``, ``revision``, ``n_changed`` (items
            that were added, removed or updated), ``n_items`` (items afterwards),
            ``time`` (ISO 8601, UTC), ``fingerprint`` and ``version`` (release of this
            package). Additions of the same hour are one entry, and so are removals and
            updates. The changes of both sides come before a ``"merge"``, each with the
            revisions that its side had.
        """
        return [event._asdict() for event in self._fitted().history]

    def __len__(self) -> int:
        return self._fitted().store.n_live

    def __contains__(self, item_id: object) -> bool:
        return queries.has_item(self._fitted(), item_id)

    def lookup(
        self, ids: ArrayLike, default: Any = REQUIRED
    ) -> NDArray[Any] | list[NDArray[Any]]:
        """Find items by their IDs.

        Parameters
        ----------
        ids : array-like of shape (n, n_columns)
        default : object, optional
            What is returned for an ID that does not exist.

        Returns
        -------
        ndarray of shape (n,), or list of n ndarrays
            The item of each ID. If items share IDs, an array of all items of each, by
            descending weight, then in order of arrival. It is read-only if an ID is
            asked for twice.

        Raises
        ------
        KeyError
            If an ID does not exist and `default` is not given.
        ValueError
            If `ids` does not have `n_columns` columns, or a code is fractional or
            negative.
        """
        return queries.lookup(self._fitted(), ids, default)

    def items_with_prefix(self, prefix: Sequence[int]) -> NDArray[Any]:
        """Find the items whose IDs begin with some codes, in order of their IDs.

        Parameters
        ----------
        prefix : sequence of int
            From no code to a complete ID.

        Returns
        -------
        ndarray of shape (n_found,)
            Items that share an ID are in order of arrival. Empty if no ID has the
            prefix.

        Raises
        ------
        TypeError
            If the prefix is not a sequence of integers.
        ValueError
            If the prefix is longer than an ID, or a code is negative.
        """
        return queries.items_with_prefix(self._fitted(), prefix)

    def allowed_next(self, prefix: Sequence[int]) -> IntArray:
        """Find the codes that follow a prefix in the IDs that exist.

        Parameters
        ----------
        prefix : sequence of int
            From no code to a complete ID.

        Returns
        -------
        ndarray of shape (n_found,), int64
            Ascending. Empty if no ID has the prefix, or if it is a complete ID.

        Raises
        ------
        TypeError
            If the prefix is not a sequence of integers.
        ValueError
            If the prefix is longer than an ID, or a code is negative.
        """
        return queries.allowed_next(self._fitted(), prefix)

    def ids_of(self, item_ids: Any, default: Any = REQUIRED) -> Any:
        """Find the IDs of items.

        Parameters
        ----------
        item_ids : array-like of shape (n,)
        default : object, optional
            What is returned for an item that the index does not have.

        Returns
        -------
        ndarray of shape (n, n_columns), int64; or list of n
            With `default` and an unknown item, a list of IDs, each an ndarray, and of
            `default`.

        Raises
        ------
        KeyError
            If the index does not have an item and `default` is not given.
        """
        return queries.ids_of(self._fitted(), item_ids, default)

    def summary(self) -> IndexSummary:
        """Describe how unique the IDs are, and what the policy cost.

        Returns
        -------
        dict
            - ``policy``: the policy of `fit`;
            - ``n_items``: items;
            - ``n_unique``: distinct codes, as the model gave them;
            - ``colliding_share``: share of items that share those with another;
            - ``worst_bucket``: largest number of items with the same codes;
            - ``exact_duplicates``: items whose row in `X` equals an earlier one, which
              no model can separate; None if some items came without `X`;
            - ``suffix_codes``: codes that the suffix needs; None for other policies;
            - ``n_moved``: items whose ID does not have the codes of the model;
            - ``moved_at_level``: how many of them left their codes at each level,
              the first level first;
            - ``added_error``: by how much this raised the mean squared error of the
              reconstruction over all items, in squared units of the model's input; None
              if some items were moved without a model.
        """
        return summarized(self._fitted())

    def tokens(self, ids: ArrayLike) -> list[str]:
        """Write IDs as text: one token per code, with one letter per level.

        Parameters
        ----------
        ids : array-like of shape (n, n_columns)
            IDs, whether or not they exist.

        Returns
        -------
        list of str
            Such as ``"<a_12><b_3><c_250>"``. After ``z`` come ``aa``, ``ab`` and so on.
        """
        checked = queries.checked_codes(self._fitted(), ids)
        return ["".join(tokens) for tokens in token_rows(checked)]

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
        state = self._fitted()
        return queries.checked_codes(state, parsed(texts, state.store.n_columns))

    def vocabulary(self) -> list[str]:
        """List all tokens that IDs can have, level by level.

        A level has as many as its codebook has codes. Where that is not known, and for
        the suffix, it has as many as the largest code so far asks for.

        Returns
        -------
        list of str
        """
        state = self._fitted()
        widths = state.store.widths(state.rules.capacity)
        return [
            name
            for level, width in enumerate(widths)
            for name in level_tokens(level, width)
        ]

    def trie(self, subset: Any = None) -> IDTrie:
        """Make the tree of all IDs, for constrained decoding in batches.

        Parameters
        ----------
        subset : array-like of items, default=None
            The items whose IDs the tree has; None is all. To restrict items for each
            request, make one tree and use its `restricted_to`, which is faster.

        Returns
        -------
        IDTrie
            Of the items that the index has now.

        Raises
        ------
        KeyError
            If the index does not have an item.
        ValueError
            If there is no item.
        """
        return trie_of(self._fitted(), subset)

    def logits_processor(
        self,
        token_ids: Mapping[str, int] | Sequence[ArrayLike],
        prompt_length: int,
        subset: Any = None,
        *,
        eos_token_id: int | None = None,
    ) -> Any:
        """Make the logits processor that lets `generate` produce existing IDs only.

        Parameters
        ----------
        token_ids : mapping of str to int, or sequence of array-like of int
            ``tokenizer.get_vocab()`` with every token of `vocabulary`; or for each
            level the token ids of its codes.
        prompt_length : int
            How many tokens come before the ID in what `generate` passes on: for a
            decoder-only model the length of its input, ``input_ids.shape[1]``, padding
            included; for an encoder-decoder model 1, the start token.
        subset : array-like of items, default=None
            Items that may be generated; None is all.
        eos_token_id : int, default=None
            The one token that may follow a complete ID. None allows any.

        Returns
        -------
        transformers.LogitsProcessor
            For ``model.generate(..., logits_processor=[...])``, with any number of
            beams, greedy or sampled. It handles a batch at once and can be pickled. Its
            methods ``ids(sequences)`` and ``items(sequences)`` read what was generated.
            It allows the items that the index has now.

        Raises
        ------
        ImportError
            If `transformers` is not installed.
        TypeError
            If `prompt_length` or `eos_token_id` is no int.
        ValueError
            If there is no item, a code has no token id, or a number is negative.
        """
        state = self._fitted()
        widths = state.store.widths(state.rules.capacity)
        tokens = token_ids_of_levels(token_ids, widths, name="token_ids")
        # Imported here because it imports PyTorch.
        module = importlib.import_module("sk_rqvae.index.decoding.transformers")
        return module.SemanticIDLogitsProcessor(
            trie_of(state, subset),
            tokens,
            prompt_length=prompt_length,
            eos_token_id=eos_token_id,
        )

    def prefix_allowed_tokens_fn(
        self,
        token_to_id: Mapping[str, int],
        *,
        eos_token_id: int,
        prompt_length: int,
    ) -> PrefixAllowedTokens:
        """Make the function that lets `generate` produce existing IDs only.

        `logits_processor` does the same for a batch at once, which is faster. This one
        also allows items that are added later, as long as `vocabulary` had their tokens
        when it was made.

        Parameters
        ----------
        token_to_id : mapping of str to int
            ``tokenizer.get_vocab()`` with every token of `vocabulary`.
        eos_token_id : int
            The one token that may follow a complete ID.
        prompt_length : int
            As in `logits_processor`.

        Returns
        -------
        callable
            For ``model.generate(..., prefix_allowed_tokens_fn=...)``, with any number
            of beams [1]_. Its method ``ids(sequences)`` gives the IDs in what was
            generated. `generate` needs room for the tokens of an ID and the end:
            ``max_new_tokens=n_columns + 1``.

        Raises
        ------
        TypeError
            If `prompt_length` or `eos_token_id` is no int.
        ValueError
            If there is no item, a token has no id, or a number is negative.

        References
        ----------
        .. [1] De Cao et al., "Autoregressive Entity Retrieval", ICLR 2021, arXiv
           2010.00904.
        """
        state = self._fitted()
        if state.store.n_live == 0:
            raise ValueError("the index must have items to decode. Got none.")
        return PrefixAllowedTokens(
            lambda prefix: self._fitted().store.next_codes(prefix),
            state.store.widths(state.rules.capacity),
            token_to_id,
            eos_token_id=eos_token_id,
            prompt_length=prompt_length,
        )

    def save(self, path: PathLike, *, on_conflict: str = "raise") -> None:
        """Write the index to a file.

        The file holds a JSON header, raw arrays and checksums; no pickle. It is written
        beside `path` and renamed, so a crash leaves what was there before. Processes
        that save to one path take turns. A save that is interrupted after the file was
        replaced counts as done.

        Parameters
        ----------
        path : str or path-like
        on_conflict : {"raise", "merge", "overwrite"}, default="raise"
            What happens if this index was loaded or saved before, and the file at
            `path` now has changes that the index does not have:

            - ``"raise"``: an `IndexConflictError`;
            - ``"merge"``: this index and the file get the additions, removals and
              updates of both, and no ID changes. An item that one side removed stays
              removed, even if the other side updated it;
            - ``"overwrite"``: the file gets this index, and loses its other changes.

            An older file at a path where the index has seen a newer one counts as
            changed. An index that was never loaded or saved replaces any file, and
            cannot be merged into one.

        Raises
        ------
        IndexConflictError
            If there is a conflict, and `on_conflict` is ``"raise"``.
        ValueError
            If the changes cannot be merged. That is so if both sides added the same
            item or ID, changed an item in different ways or name items in different
            ways. It is also so if the file does not descend from one that this index
            was loaded from or saved as since it was fitted.
            If the IDs have more than 4096 levels, or their keys more than 4096 bytes.
        """
        choice = check_choice("on_conflict", on_conflict, CONFLICTS)

        def keep(state: IndexState) -> None:
            self._state = state

        self._writers.of_this_process().do(
            lambda: save_state(path, self._fitted(), choice, keep)
        )

    @classmethod
    def load(cls, path: PathLike, *, mmap_mode: str | None = None) -> Self:
        """Read an index that `save` wrote.

        Loading runs no code from the file: a malicious file can at worst be refused.

        Parameters
        ----------
        path : str or path-like
        mmap_mode : {None, "r"}, default=None
            None reads the file and checks all of it. ``"r"`` maps it into memory: it is
            read when it is used, and processes share it. Only its header, the sizes of
            its arrays and some of its keys are checked then. The index can be changed;
            changes are in memory until `save`.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not an index, was written by a newer version, is truncated or
            changed, or its parts do not fit together.
        """
        if mmap_mode not in (None, "r"):
            raise ValueError(f"mmap_mode must be None or 'r'. Got {mmap_mode!r}.")
        state = read_state(path, mapped=mmap_mode == "r")
        index = cls(**parameters_of_state(state))
        index._state = state
        return index

    def to_json(self, path: PathLike) -> None:
        """Write ``{item: ["<a_1>", "<b_2>", ...]}``.

        LC-Rec, LETTER and MiniOneRec (arXiv 2311.09049, 2405.07314, 2510.24431) read
        such files. Items that are integers become strings, as JSON has no other keys.

        Parameters
        ----------
        path : str or path-like
            Replaced in one step.

        Raises
        ------
        ValueError
            If there is no item, or JSON would give an item back as another string: one
            with surrogates that are a pair.
        """
        state = self._fitted()
        write_json(path, state.ids(), state.live_items())

    @classmethod
    def from_json(
        cls,
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        capacity: int | None = None,
        overflow: str = "raise",
        item_type: type = str,
        model: CodeModel | None = None,
        allow_gaps: bool = False,
    ) -> Self:
        """Read ``{item: ["<a_1>", "<b_2>", ...]}``. IDs are kept as they are.

        Parameters
        ----------
        path : str or path-like
        policy, codebook_size, capacity, overflow
            Parameters of the new index. They apply to items that are added. With
            ``policy="suffix"`` the last token of every item is the suffix.
        item_type : {str, int}, default=str
            What the items are.
        model : fitted transformer or Pipeline, default=None
            The model of the codes; the index will carry its fingerprint.
        allow_gaps : bool, default=False
            Whether suffixes of items with equal codes may skip numbers, as they do
            after `remove`. An error otherwise, because the last token of such a file is
            probably no suffix.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item comes twice, or IDs do not fit the
            policy.
        """
        index = cls(
            policy=policy,
            codebook_size=codebook_size,
            capacity=capacity,
            overflow=overflow,
        )
        ids, items = read_json(path)
        return index._filled(path, ids, items, item_type, model, allow_gaps=allow_gaps)

    def to_table(self, path: PathLike) -> None:
        """Write a table with the column ``item_id`` and one column a level.

        The levels are ``level_1``, ``level_2`` and so on, and the suffix is ``suffix``.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv`` or ``.parquet``. Parquet needs pyarrow or polars. Replaced
            in one step.

        Raises
        ------
        ValueError
            If `path` ends in something else, an item has lone surrogates, or an item of
            a CSV file is empty or too long.
        """
        state = self._fitted()
        numbered = state.store.numbered
        write_table(path, state.ids(), state.live_items(), numbered=numbered)

    @classmethod
    def from_table(
        cls,
        path: PathLike,
        *,
        policy: str = "suffix",
        codebook_size: Any = None,
        capacity: int | None = None,
        overflow: str = "raise",
        item_type: type | None = None,
        model: CodeModel | None = None,
    ) -> Self:
        """Read a table of IDs, which are kept as they are.

        Columns ``level_1``, ``level_2`` and so on are the levels, and ``suffix`` is the
        suffix. The items are in ``item_id``, or in the one other column. Without a
        column ``level_1``, the first column has the items and the others the levels.

        Parameters
        ----------
        path : str or path-like
            Ends in ``.csv``, with a line of column names, or in ``.parquet``.
        policy, codebook_size, capacity, overflow
            Parameters of the new index. They apply to items that are added. With
            ``policy="suffix"`` there must be a suffix. Codes that have none, such as
            those that ``sk-rqvae transform`` writes, are read with ``policy="none"``.
        item_type : {str, int}, default=None
            What the items are. None takes them as they are stored, which in a CSV file
            is as strings.
        model : fitted transformer or Pipeline, default=None
            The model of the codes; the index will carry its fingerprint.

        Returns
        -------
        SemanticIDIndex

        Raises
        ------
        ValueError
            If the file is not of this form, an item is missing or comes twice, or IDs
            do not fit the policy.
        """
        index = cls(
            policy=policy,
            codebook_size=codebook_size,
            capacity=capacity,
            overflow=overflow,
        )
        ids, items, has_suffix = read_table(path, policy)
        # A column called suffix is one, whether or not it has gaps.
        return index._filled(path, ids, items, item_type, model, allow_gaps=has_suffix)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor parameters by name."""
        return parameters_of(self)

    def set_params(self, **params: Any) -> Self:
        """Set constructor parameters. They apply from the next `fit` on."""
        set_parameters(self, params)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: v for name, v in vars(self).items() if name != "_writers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _writers=ProcessLock(ExclusiveWork))

    def __repr__(self) -> str:
        if not hasattr(self, "_state"):
            return described(self)
        state = self._state
        return described(
            self, f"{state.store.n_live} items", f"revision {state.revision}"
        )

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

    def _filled(
        self,
        path: PathLike,
        ids: Any,
        items: Any,
        item_type: type | None,
        model: CodeModel | None,
        *,
        allow_gaps: bool,
    ) -> Self:
        """Take IDs that were read from a file."""
        rules = checked_rules(self.policy, self.capacity, self.overflow)
        items = items_of_type(items, item_type, path)
        self._state = state_of_file(
            path, rules, self.codebook_size, ids, items, model, allow_gaps=allow_gaps
        )
        return self

    def _fit(self, new: NewItems) -> None:
        rules = checked_rules(self.policy, self.capacity, self.overflow)
        state = changes.fitted(rules, self.codebook_size, new)
        if hasattr(self, "_state"):
            lineage = self._state.lineage.fitted_again()
            state = state._replace(lineage=lineage)
        self._state = state

    def _changed(
        self, change: Callable[[IndexState], tuple[IndexState, Result]]
    ) -> Result:
        """Replace the state by a changed one, one thread at a time."""

        def work() -> Result:
            self._state, result = change(self._fitted())
            return result

        return self._writers.of_this_process().do(work)
