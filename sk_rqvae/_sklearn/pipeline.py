"""Find the quantizer in a Pipeline, and the steps before it."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sk_rqvae._checks.own_copy import own_copy


class Step(NamedTuple):
    """A step of a Pipeline, named like its parameters: ``outer__inner``."""

    name: str
    estimator: Any

    def __str__(self) -> str:
        return f"{self.name!r} ({type(self.estimator).__name__})"


class QuantizerPath(NamedTuple):
    """A fitted quantizer and the fitted steps that transform its input."""

    before: list[Step]
    quantizer: Any

    def rows(self, X: Any) -> Any:
        """Input of the quantizer for the Pipeline's input `X`, which is not changed."""
        if self.before:  # steps with copy=False overwrite their input
            X = own_copy(X)
        for step in self.before:
            X = step.estimator.transform(X)
        return X

    def codes(self, X: Any) -> Any:
        """Codes of the Pipeline's input `X`."""
        return np.asarray(self.quantizer.transform(self.rows(X)))

    def restored(self, codes: Any) -> Any:
        """Reconstructions from codes, in the units of the Pipeline's input."""
        X = self.quantizer.inverse_transform(codes)
        for step in reversed(self.before):
            X = step.estimator.inverse_transform(X)
        return X


def path_to_quantizer(estimator: Any) -> QuantizerPath:
    """Find the one fitted quantizer of an estimator.

    It is a copy, so that a fit in another thread does not change it.

    Parameters
    ----------
    estimator : estimator
        A quantizer, a Pipeline that contains one at any depth, or a fitted search over
        these.

    Returns
    -------
    QuantizerPath

    Raises
    ------
    NotFittedError
        If the quantizer is not fitted.
    TypeError
        If there is no quantizer.
    ValueError
        If there is more than one quantizer.
    """
    steps = _flatten(estimator, name="")
    found = [i for i, step in enumerate(steps) if _is_fitted_quantizer(step.estimator)]
    if len(found) == 1:
        return QuantizerPath(steps[: found[0]], copy.copy(steps[found[0]].estimator))
    names = ", ".join(map(str, steps)) or "no steps"
    if found:
        raise ValueError(
            f"Expected one quantizer among the steps {names}. Got {len(found)}."
        )
    for step in steps:
        # A search that is not fitted has the estimator that it will fit.
        inner = _flatten(getattr(step.estimator, "estimator", None), name="")
        if any(hasattr(each.estimator, "codebook_size") for each in [step, *inner]):
            raise NotFittedError(f"{step} is not fitted. Call fit first.")
    raise TypeError(
        "Expected a quantizer, with codebooks_, transform and inverse_transform, or a "
        f"Pipeline that has one in it. Got {names}."
    )


def _flatten(estimator: Any, *, name: str) -> list[Step]:
    """List the steps in order, without passthrough; expand nested Pipelines."""
    # A fitted search transforms with its best estimator.
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, FrozenEstimator):
        return _flatten(estimator.estimator, name=name)
    if not isinstance(estimator, Pipeline):
        return [Step(name or "estimator", estimator)]
    steps = []
    for step_name, step in estimator.steps:
        if step is not None and step != "passthrough":
            full_name = f"{name}__{step_name}" if name else step_name
            steps += _flatten(step, name=full_name)
    return steps


def _is_fitted_quantizer(estimator: Any) -> bool:
    return all(
        hasattr(estimator, attribute)
        for attribute in ("codebooks_", "transform", "inverse_transform")
    )
