"""Scorers for model selection: ``callable(estimator, X, y=None)``, greater is better.

The estimator is a fitted residual quantizer, or a fitted Pipeline that contains one.
Nested Pipelines and fitted searches work too. A residual quantizer has the attribute
``codebooks_``, with one ``(codebook_size, embed_dim)`` array per level, and the methods
``transform`` and ``inverse_transform``. Steps after the quantizer are ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.preprocessing import FunctionTransformer

from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics import (
    codebook_usage,
    collision_rate,
    explained_variance,
    reconstruction_error,
)

__all__ = [
    "codebook_usage_scorer",
    "explained_variance_scorer",
    "neg_collision_rate_scorer",
    "neg_reconstruction_error_scorer",
]


class _Scorer:
    """A scoring function whose repr and pickle are its name."""

    __name__: str

    def __init__(self, function: Callable[[Any, Any, Any], float]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        return self._function(estimator, X, y)

    def __repr__(self) -> str:
        return self.__name__

    def __reduce__(self) -> str:
        return self.__name__


@_Scorer
def neg_reconstruction_error_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Negative mean squared error of the reconstruction, in squared units of `X`.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that contains one.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator. For a Pipeline, the input of its first step.
    y : ignored
        Present for compatibility with scikit-learn.

    Returns
    -------
    float
        At most 0, the best value.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer, or a step before it has no ``inverse_transform``. A
        ``FunctionTransformer`` needs ``inverse_func``.
    ValueError
        If there is more than one quantizer, or `X` has values that are not finite.

    Notes
    -----
    In a Pipeline, `X` is transformed by the steps before the quantizer, and the
    reconstruction is transformed back by each of them. Information that those steps
    lose, such as the components that a PCA drops, counts as error.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.scorers import neg_reconstruction_error_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=1, random_state=0)
    >>> neg_reconstruction_error_scorer(rq.fit(X), X) < 0
    True
    """
    return -reconstruction_error(*_original_and_restored(estimator, X))


@_Scorer
def explained_variance_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Share of the variance of `X` that the reconstruction explains, 1 - SSE/SST.

    It has no units, so it can be averaged and compared over data sets. For a Pipeline,
    it measures the variance of the Pipeline's input. The quantizer's own ``score``
    measures the variance of the quantizer's input.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that contains one.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator. For a Pipeline, the input of its first step.
    y : ignored
        Present for compatibility with scikit-learn.

    Returns
    -------
    float
        At most 1, the best value. Predicting the column means of `X` gives 0.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer, or a step before it has no ``inverse_transform``. A
        ``FunctionTransformer`` needs ``inverse_func``.
    ValueError
        If there is more than one quantizer, or `X` has values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.scorers import explained_variance_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=1, random_state=0)
    >>> explained_variance_scorer(rq.fit(X), X) < 1
    True
    """
    return explained_variance(*_original_and_restored(estimator, X))


@_Scorer
def codebook_usage_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Share of the codes that at least one row of `X` has, averaged over the levels.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that contains one.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator. For a Pipeline, the input of its first step.
    y : ignored
        Present for compatibility with scikit-learn.

    Returns
    -------
    float
        Between 0 and 1, and at most ``n_items / codebook_size``. That bound is low for
        test folds of small data sets.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer.
    ValueError
        If there is more than one quantizer.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.scorers import codebook_usage_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=1, random_state=0)
    >>> 0 < codebook_usage_scorer(rq.fit(X), X) <= 1
    True
    """
    path = path_to_quantizer(estimator)
    sizes = [len(codebook) for codebook in path.quantizer.codebooks_]
    return float(codebook_usage(path.codes(X), sizes).mean())


@_Scorer
def neg_collision_rate_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Negative collision rate of the IDs of `X`, ``n_distinct_ids / n_items - 1``.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that contains one.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator. For a Pipeline, the input of its first step.
    y : ignored
        Present for compatibility with scikit-learn.

    Returns
    -------
    float
        At most 0, where all IDs are different. The collision rate grows with the number
        of items, so compare scores only for equal numbers of items.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer.
    ValueError
        If there is more than one quantizer.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import RQVAETransformer
    >>> from sk_rqvae.scorers import neg_collision_rate_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 4))
    >>> rq = RQVAETransformer(n_layers=2, codebook_size=4, max_epochs=1, random_state=0)
    >>> -1 < neg_collision_rate_scorer(rq.fit(X), X) <= 0
    True
    """
    return -collision_rate(path_to_quantizer(estimator).codes(X))


def _has_inverse(estimator: Any) -> bool:
    if isinstance(estimator, FunctionTransformer):
        # It always has inverse_transform. Without inverse_func, that is the identity.
        return estimator.func is None or estimator.inverse_func is not None
    return hasattr(estimator, "inverse_transform")


def _original_and_restored(estimator: Any, X: Any) -> tuple[Any, Any]:
    # Imported here because it imports torch, as the quantizer does.
    from sk_rqvae._sklearn.array_namespace import in_host_memory

    path = path_to_quantizer(estimator)
    for step in path.before:
        if not _has_inverse(step.estimator):
            raise TypeError(
                f"Step {step} has no inverse_transform, so the reconstruction cannot "
                "be transformed back to the units of the Pipeline's input. Add one, or "
                "score only the steps after it."
            )
    original = X.toarray() if issparse(X) else np.asarray(in_host_memory(X))
    codes = path.quantizer.transform(path.rows(X))
    if hasattr(codes, "columns"):
        codes = np.asarray(codes)  # steps before would take its columns for theirs
    return original, path.restored(codes)
