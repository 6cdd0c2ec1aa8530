"""The interface of a fitted transformer that the index needs."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import IntArray, check_codes, layer_sizes
from sk_rqvae._checks.own_copy import own_copy
from sk_rqvae.index.engine.store import IDStore

FloatArray: TypeAlias = NDArray[np.floating]
Model = TypeVar("Model")

_ROWS_AT_ONCE = 4096
# What a Pipeline, a search, and a frozen estimator have of the estimators in them.
_INNER = ("steps", "best_estimator_", "estimator")
# That an item can move to. A bound of time, not measured: `transform` decodes ten.
_CANDIDATES = 32


class CodeModel(Protocol):
    """A fitted quantizer, as far as the index needs one.

    Attributes
    ----------
    codebooks_ : list of ndarray of shape (codebook_size, embed_dim)
        One per level.
    """

    codebooks_: list[NDArray[Any]]

    def inverse_transform(self, X: Any) -> ArrayLike:
        """Reconstruct ``(n, n_layers)`` codes, in the units of the input."""

    def next_code_distances(self, X: Any, prefix: IntArray) -> ArrayLike:
        """Measure how far rows are from their prefixes continued by every code.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Rows as `transform` takes them.
        prefix : ndarray of shape (n, depth), int64
            Codes of the first `depth` levels, ``0 <= depth < n_layers``.

        Returns
        -------
        ndarray of shape (n, codebook_size of level `depth`)
            In row i, column j the squared distance of the latent of ``X[i]`` to the sum
            of the vectors of ``prefix[i]`` and code j. Finite, and a pure function of
            the row and its prefix.
        """


class Route(NamedTuple):
    """A quantizer, and the steps of a Pipeline that come before it.

    Attributes
    ----------
    before : list of fitted transformers
    quantizer : CodeModel
    """

    before: list[Any]
    quantizer: Any

    def rows(self, X: Any) -> Any:
        """Return what reaches the quantizer, whose column names it must have.

        `X` is not changed.
        """
        if self.before:  # steps with copy=False overwrite their input
            X = own_copy(X)
        for step in self.before:
            X = step.transform(X)
        # What is not two-dimensional is refused later.
        if _has_column_names(self.quantizer) and np.ndim(X) == 2:
            # Imported here because it imports scikit-learn, which has made the names.
            from sk_rqvae._sklearn.column_names import check_column_names

            check_column_names(self.quantizer, X)
        return X


def route_of(model: Any) -> Route:
    """Find the quantizer of a model, which may be a Pipeline or a search over them.

    It is a copy, so that a fit in another thread does not change it.

    Raises
    ------
    TypeError
        If there is no fitted quantizer.
    """
    has_inner = any(hasattr(model, name) for name in _INNER)
    if hasattr(model, "codebooks_") and not has_inner:
        return Route([], copy.copy(model))
    if not has_inner:
        raise TypeError(
            "model must be a fitted transformer with codebooks_, or a Pipeline that "
            f"ends in one. Got {type(model).__name__}, which has none."
        )
    # Imported here because it imports scikit-learn, which has made the model.
    from sk_rqvae._sklearn.pipeline import path_to_quantizer

    path = path_to_quantizer(model)
    return Route([step.estimator for step in path.before], path.quantizer)


def without_column_names(model: Model) -> Model:
    """Return a model that takes arrays without a warning that they have no names."""
    if not _has_column_names(model):
        return model
    nameless: Any = copy.copy(model)
    del nameless.feature_names_in_
    without: Model = nameless
    return without


def _has_column_names(model: Any) -> bool:
    """Whether a model checks column names, as transformers of scikit-learn do."""
    return hasattr(model, "feature_names_in_") and hasattr(model, "__sklearn_tags__")


def codebook_sizes(model: CodeModel) -> tuple[int, ...]:
    """Return the number of codes a level of a fitted model."""
    return tuple(len(codebook) for codebook in model.codebooks_)


def checked_sizes(
    codebook_size: Any, model: CodeModel | None, n_layers: int
) -> tuple[int, ...] | None:
    """The codes of each level, on which the parameter and the model must agree."""
    given = None if codebook_size is None else layer_sizes(codebook_size, n_layers)
    if model is None:
        return given
    sizes = codebook_sizes(model)
    if len(sizes) != n_layers:
        raise ValueError(
            f"codes must have one column per level of the model. Got {n_layers}, "
            f"expected {len(sizes)}."
        )
    if given not in (None, sizes):
        raise ValueError(
            f"codebook_size must be that of the model, {sizes}. Got {codebook_size!r}."
        )
    return sizes


def sizes_for_index(store: IDStore, model: CodeModel) -> tuple[int, ...]:
    """The codes of each level of a model, which must have those of an index."""
    sizes = codebook_sizes(model)
    checked_sizes(store.sizes, model, store.n_layers)
    seen = store.widths(None)[: store.n_layers]
    if any(n_seen > size for n_seen, size in zip(seen, sizes, strict=True)):
        raise ValueError(
            f"model must have the codes of the index, at least {seen} a level. Got "
            f"{sizes}."
        )
    return sizes


class RowDistances:
    """The distances of a model for rows of `X`, checked.

    Parameters
    ----------
    model : CodeModel
    X : ndarray of shape (n, n_features)
    sizes : tuple of int
    """

    def __init__(
        self, model: CodeModel, X: NDArray[Any], sizes: tuple[int, ...]
    ) -> None:
        if not callable(getattr(model, "next_code_distances", None)):
            raise TypeError(
                "model must have next_code_distances(X, prefix) for "
                f"policy='reassign'. Got {type(model).__name__}."
            )
        self._model = model
        self._X = X
        self._sizes = sizes

    def __call__(self, rows: IntArray, prefixes: IntArray) -> FloatArray:
        """Return the distances of rows from their prefixes and every next code."""
        blocks = [
            self._of_block(block, prefixes[start : start + len(block)])
            for start, block in _blocks(rows)
        ]
        return np.concatenate(blocks)

    def _of_block(self, rows: IntArray, prefixes: IntArray) -> FloatArray:
        found = np.asarray(self._model.next_code_distances(self._X[rows], prefixes))
        expected = (len(rows), self._sizes[prefixes.shape[1]])
        if found.shape != expected or not np.isfinite(found).all():
            raise ValueError(
                "model.next_code_distances must return finite distances of shape "
                f"{expected}. Got shape {found.shape}."
            )
        return found.astype(np.float64, copy=False)


class RowCandidates:
    """The candidate IDs of a model for rows of `X`, checked.

    Parameters
    ----------
    model : CodeModel
        With a method ``candidates(X, k)``, which returns ``(n, k, n_layers)`` codes,
        best first, and their errors.
    X : ndarray of shape (n, n_features)
    sizes : tuple of int
    """

    def __init__(self, model: Any, X: NDArray[Any], sizes: tuple[int, ...]) -> None:
        self._model = model
        self._X = X
        self._sizes = sizes
        self._k = min(_CANDIDATES, math.prod(sizes))

    def __call__(self, rows: IntArray) -> IntArray:
        """Return the candidates of some rows, ``(m, k, n_layers)``."""
        blocks = [self._of_block(block) for _, block in _blocks(rows)]
        return np.concatenate(blocks)

    def _of_block(self, rows: IntArray) -> IntArray:
        found, _ = self._model.candidates(self._X[rows], self._k)
        found = np.asarray(found)
        expected = (len(rows), self._k, len(self._sizes))
        if found.shape != expected:
            raise ValueError(
                f"model.candidates must return codes of shape {expected}. Got shape "
                f"{found.shape}."
            )
        flat = found.reshape(-1, len(self._sizes))
        return check_codes(flat, self._sizes, name="candidates").reshape(expected)


def added_errors(
    model: CodeModel, X: NDArray[Any], rows: IntArray, codes: IntArray, ids: IntArray
) -> NDArray[np.float64]:
    """Measure by how much the squared error of some rows grows.

    Returns
    -------
    ndarray of shape (len(rows),)
        In squared units of the input, averaged over features, like
        `sk_rqvae.metrics.reconstruction_error`.
    """
    added = np.empty(len(rows))
    for start, block in _blocks(rows):
        part = added[start : start + len(block)]
        part[:] = _squared_errors(model, X[block], ids[block])
        part -= _squared_errors(model, X[block], codes[block])
    return added


def _squared_errors(
    model: CodeModel, X: NDArray[Any], codes: IntArray
) -> NDArray[np.float64]:
    difference = np.asarray(X, dtype=np.float64) - np.asarray(
        model.inverse_transform(codes)
    )
    return np.mean(difference**2, axis=1)


def _blocks(rows: IntArray) -> list[tuple[int, IntArray]]:
    return [
        (start, rows[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(rows), _ROWS_AT_ONCE)
    ]
