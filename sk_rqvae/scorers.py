"""Scorers for model selection: ``callable(estimator, X, y=None)``, greater is better.

They take a fitted residual quantizer, or a fitted Pipeline that has one anywhere in it
(nested Pipelines and fitted searches included), and recognise it by what it has: the
fitted attribute ``codebooks_``, one ``(codebook_size, embed_dim)`` array a layer, and
the methods ``transform`` and ``inverse_transform``. What follows the quantizer in a
Pipeline, such as a classifier, plays no part.
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
    """A scoring function that prints, copies and pickles as its own name."""

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
    """Minus the mean squared error of the reconstruction, in the units of `X`.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that has one in it.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator, so in a Pipeline that of its first step.
    y : ignored
        Accepted for scikit-learn's sake.

    Returns
    -------
    float
        At most 0, which is perfect.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer, or a step before it has no ``inverse_transform`` (or
        is a ``FunctionTransformer`` without ``inverse_func``).
    ValueError
        If there is more than one quantizer.

    Notes
    -----
    In a Pipeline, `X` goes forward through the steps up to the quantizer and back
    through each of them, so what those steps lose (a PCA, say) counts as well.

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
    """Share of the variance of `X` that the reconstruction keeps, 1 - SSE/SST.

    The same error as `neg_reconstruction_error_scorer` has, without units, so that it
    can be averaged and compared over data sets. Of a Pipeline it measures the input,
    where the quantizer's own ``score`` measures what the last step before it put out.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that has one in it.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator, so in a Pipeline that of its first step.
    y : ignored
        Accepted for scikit-learn's sake.

    Returns
    -------
    float
        At most 1, which is perfect; 0 is no better than the column means of `X`.

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer, or a step before it has no ``inverse_transform`` (or
        is a ``FunctionTransformer`` without ``inverse_func``).
    ValueError
        If there is more than one quantizer.

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
    """Share of the codes that `X` uses, averaged over the layers.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that has one in it.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator, so in a Pipeline that of its first step.
    y : ignored
        Accepted for scikit-learn's sake.

    Returns
    -------
    float
        Between 0 and 1. It cannot exceed ``n_items / codebook_size``, which is small
        for the test folds of a small data set.

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
    """Minus the collision rate of the IDs of `X`, ``unique / n_items - 1``.

    Parameters
    ----------
    estimator : estimator
        A fitted quantizer, or a fitted Pipeline that has one in it.
    X : array-like or sparse matrix of shape (n_items, n_features)
        Input of the estimator, so in a Pipeline that of its first step.
    y : ignored
        Accepted for scikit-learn's sake.

    Returns
    -------
    float
        At most 0: every item has an ID of its own. Collisions grow with the number of
        items, so compare scores of equally many.

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
        # Its inverse_transform exists all the same, and changes nothing.
        return estimator.func is None or estimator.inverse_func is not None
    return hasattr(estimator, "inverse_transform")


def _original_and_restored(estimator: Any, X: Any) -> tuple[Any, Any]:
    path = path_to_quantizer(estimator)
    for step in path.before:
        if not _has_inverse(step.estimator):
            raise TypeError(
                f"Step {step} has no inverse_transform, so the reconstruction cannot "
                "be brought back to the units of the Pipeline's input. Give it one, "
                "or score the steps after it alone."
            )
    # Copied, because a step with copy=False overwrites its input.
    original = X.toarray() if issparse(X) else np.array(X)
    return original, path.restored(path.codes(X))
