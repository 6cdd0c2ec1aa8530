"""Rename the codes of a retrained model so that most IDs are kept."""

from __future__ import annotations

import importlib
import math
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray, check_code_maps, check_codes
from sk_rqvae.index.code_model import (
    route_of,
    sizes_for_index,
    without_column_names,
)
from sk_rqvae.index.fingerprint import fingerprint
from sk_rqvae.index.items import check_each_once, checked_item_ids
from sk_rqvae.index.parameters import default_tags
from sk_rqvae.index.state import IndexState

# Bounds the time. A sweep that improves no level is the last one; on 600 made-up items,
# a third sweep found nothing more to improve.
_MAX_SWEEPS = 10


class RealignmentReport(TypedDict):
    """The report of `SemanticIDIndex.realign`, described there."""

    code_maps: list[IntArray]
    model: Any
    n_items: int
    n_common: int
    kept: list[float]
    kept_without: list[float]


class RealignedModel:
    """A fitted quantizer whose codes are renamed.

    `SemanticIDIndex.realign` makes it of quantizers without a method `rename_codes`,
    which `RQVAETransformer` has. Use it in place of the quantizer from then on. To save
    it, save the quantizer and the maps, and make it again of both.

    Parameters
    ----------
    model : fitted quantizer
        Not a Pipeline: of one, this is the last step.
    code_maps : list of ndarray of shape (codebook_size,)
        ``code_maps[level][code]`` is the new name of a code. The report of `realign`
        has them.

    Raises
    ------
    ValueError
        If the maps are not permutations of the codes of the model.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae.index import RealignedModel
    >>> maps = [np.array([1, 0]), np.array([0, 1])]
    >>> class Model:
    ...     codebooks_ = [np.zeros((2, 1)), np.zeros((2, 1))]
    ...
    ...     def transform(self, X):
    ...         return np.array([[0, 1], [1, 1]])
    >>> RealignedModel(Model(), maps).transform([[0.5], [2.0]])
    array([[1, 1],
           [0, 1]])
    """

    def __init__(self, model: Any, code_maps: list[IntArray]) -> None:
        sizes = [len(book) for book in model.codebooks_]
        self.model = model
        self.code_maps = check_code_maps(code_maps, sizes)

    @property
    def codebooks_(self) -> list[NDArray[Any]]:
        """The codebooks, in the order of the new names."""
        books = zip(self.model.codebooks_, self.code_maps, strict=True)
        return [np.asarray(book)[np.argsort(names)] for book, names in books]

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns, if `model` has any."""
        names: NDArray[Any] = self.model.feature_names_in_
        return names

    @feature_names_in_.deleter
    def feature_names_in_(self) -> None:
        self.model = without_column_names(self.model)

    def __sklearn_tags__(self) -> Any:
        return default_tags()

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Any, y: Any = None) -> RealignedModel:
        """Raise an error: the model is fitted already."""
        raise TypeError(
            "a RealignedModel cannot be fitted. Fit a model and realign its codes."
        )

    def id_state(self) -> dict[str, Any]:
        """Return what decides the codes."""
        inner = fingerprint(route_of(self.model))
        return {"model": inner, "code_maps": self.code_maps}

    def transform(self, X: Any) -> IntArray:
        """Return the renamed codes of rows, ``(n, n_layers)``."""
        return renamed(np.asarray(self.model.transform(X)), self.code_maps)

    def inverse_transform(self, X: Any) -> Any:
        """Reconstruct renamed codes, or prefixes of them.

        Raises
        ------
        ValueError
            If a code is not in the codebook, or there are more columns than levels.
        """
        return self.model.inverse_transform(self._names_of_model(X, "X"))

    def next_code_distances(self, X: Any, prefix: Any) -> Any:
        """Return the distances of `model`, with prefixes and columns renamed."""
        codes = self._names_of_model(prefix, "prefix")
        distances = np.asarray(self.model.next_code_distances(X, codes))
        return distances[:, np.argsort(self.code_maps[codes.shape[1]])]

    @property
    def candidates(self) -> Any:
        """A method like that of `model`, if it has one: the `k` best IDs of rows."""
        candidates = self.model.candidates

        def of_rows(X: Any, k: int = 5) -> tuple[IntArray, NDArray[Any]]:
            codes, errors = candidates(X, k)
            flat = np.asarray(codes).reshape(-1, len(self.code_maps))
            return renamed(flat, self.code_maps).reshape(np.shape(codes)), errors

        return of_rows

    def _names_of_model(self, codes: Any, name: str) -> IntArray:
        sizes = [len(names) for names in self.code_maps]
        codes = np.asarray(codes)
        depth = codes.shape[-1]
        if depth > len(sizes):
            raise ValueError(
                f"{name} must have at most {len(sizes)} columns, one for each level. "
                f"Got {depth}."
            )
        if depth:
            codes = check_codes(codes, sizes[:depth], name=name)
        return renamed(codes, [np.argsort(names) for names in self.code_maps])


def renamed(codes: IntArray, code_maps: list[IntArray]) -> IntArray:
    """Rename codes of any number of levels."""
    columns = [names[column] for names, column in zip(code_maps, codes.T, strict=False)]
    return np.array(columns, dtype=np.int64).T.reshape(codes.shape)


def realigned(
    state: IndexState, new_codes: ArrayLike, item_ids: Any, model: Any
) -> tuple[IntArray, RealignmentReport]:
    """Rename new codes so that most items keep the leading codes of their IDs."""
    codes = check_codes(new_codes, name="new_codes")
    items = _items_of(state, item_ids, len(codes))
    check_each_once(items)
    n_layers = state.store.n_layers
    if codes.shape[1] != n_layers:
        raise ValueError(
            f"new_codes must have the {n_layers} levels of the index. Got "
            f"{codes.shape[1]}."
        )
    sizes = state.store.sizes
    route = None if model is None else route_of(model)
    if route is not None:
        sizes = sizes_for_index(state.store, route.quantizer)
    check_codes(codes, sizes, name="new_codes")
    rows = state.rows_of(items)
    old = state.store.ids_of(rows[rows >= 0])[:, :n_layers]
    new = codes[rows >= 0]
    if sizes is None:
        largest = np.maximum(codes.max(axis=0, initial=0), old.max(axis=0, initial=0))
        sizes = tuple((largest + 1).tolist())
    code_maps = best_maps(new, old, sizes)
    report = RealignmentReport(
        code_maps=code_maps,
        model=None if model is None else _realigned_model(model, code_maps),
        n_items=len(codes),
        n_common=len(new),
        kept=shares_kept(renamed(new, code_maps), old),
        kept_without=shares_kept(new, old),
    )
    return renamed(codes, code_maps), report


def _items_of(state: IndexState, item_ids: Any, n_items: int) -> NDArray[Any]:
    if item_ids is not None:
        items = checked_item_ids(item_ids, n_items)
        state.items.check_kind(items)
        return items
    if state.items.kind != "row":
        raise ValueError(
            "item_ids must be given for an index that was fitted with item_ids. Got "
            "None."
        )
    return np.arange(n_items)


def best_maps(new: IntArray, old: IntArray, sizes: tuple[int, ...]) -> list[IntArray]:
    """Find a permutation of the codes of each level that keeps most leading codes.

    It maximises the number of leading codes that stay, summed over items. With all
    other levels fixed, each level is a linear assignment problem. These are solved from
    the first level to the last, again and again until no level can be improved. The
    first sweep counts the codes of the level alone. If that ends below the present
    names, these are improved instead.

    Parameters
    ----------
    new, old : ndarray of shape (n, n_layers)
        Codes of the same items.
    sizes : tuple of int

    Returns
    -------
    list of ndarray
        For each level the new name of each code.
    """
    same_names = [np.arange(size) for size in sizes]
    alone = list(same_names)
    for level in range(len(sizes)):
        same = renamed(new, alone) == old
        open_ = same[:, :level].all(axis=1)
        alone[level] = _assignment(
            new[open_, level], old[open_, level], np.ones(open_.sum()), sizes[level]
        )
    maps = _improved(alone, new, old)
    if _n_kept(maps, new, old) < _n_kept(same_names, new, old):
        maps = _improved(same_names, new, old)
    return maps


def _improved(maps: list[IntArray], new: IntArray, old: IntArray) -> list[IntArray]:
    """Solve level after level, until none keeps more codes."""
    total = _n_kept(maps, new, old)
    for _ in range(_MAX_SWEEPS):
        before = total
        for level, names in enumerate(maps):
            same = renamed(new, maps) == old
            open_ = same[:, :level].all(axis=1)
            gains = 1 + np.cumprod(same[open_, level + 1 :], axis=1).sum(axis=1)
            changed = list(maps)
            changed[level] = _assignment(
                new[open_, level], old[open_, level], gains, len(names)
            )
            kept = _n_kept(changed, new, old)
            # Names that keep as many codes could let other levels improve again.
            if kept > total:
                maps, total = changed, kept
        if total == before:
            break
    return maps


def _n_kept(maps: list[IntArray], new: IntArray, old: IntArray) -> int:
    """Number of leading codes that stay, summed over items."""
    return int(np.cumprod(renamed(new, maps) == old, axis=1).sum())


def shares_kept(new: IntArray, old: IntArray) -> list[float]:
    """Return the share of items whose first one, two, ... codes are the same.

    It is NaN if there are no items.
    """
    if len(new) == 0:
        return [math.nan] * old.shape[1]
    same: NDArray[Any] = np.cumprod(new == old, axis=1)
    return same.mean(axis=0).tolist()


def _assignment(new: IntArray, old: IntArray, gains: IntArray, size: int) -> IntArray:
    """Assign to each new code the old one with which items gain most in total."""
    pairs = new * size + old
    gain = np.bincount(pairs, weights=gains, minlength=size * size)
    # Codes that no item decides keep their names.
    score = gain.reshape(size, size) + np.eye(size) / (2 * size)
    # Imported here because a service that looks IDs up does not need SciPy.
    optimize = importlib.import_module("scipy.optimize")
    _, columns = optimize.linear_sum_assignment(score, maximize=True)
    return np.asarray(columns, dtype=np.int64)


def _realigned_model(model: Any, code_maps: list[IntArray]) -> Any:
    """Rename the codes of a model; in a Pipeline, of its last step."""
    route = route_of(model)
    quantizer = route.quantizer
    if hasattr(quantizer, "rename_codes"):
        quantizer = quantizer.rename_codes(code_maps)
    else:
        quantizer = RealignedModel(quantizer, code_maps)
    if not route.before:
        return quantizer
    pipeline = importlib.import_module("sklearn.pipeline")
    return pipeline.make_pipeline(*route.before, quantizer)
