"""Support of scikit-learn's callbacks, and of releases that do not have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sk_rqvae._progress import FitProgress
from sk_rqvae._sklearn.callback_tasks import FitTasks

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An empty base class in place of scikit-learn's."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return `method` unchanged."""
        return method


_MAX_STAGES = 3  # set-up, training, separation

HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")


@contextmanager
def fit_task(
    estimator: Any,
    data: dict[str, Any],
    set_fitted_attributes: Callable[[Any, Any], None],
    default: FitProgress,
) -> Iterator[FitProgress]:
    """Report a fit to scikit-learn's callbacks, if the estimator has any.

    The block under ``with`` is the fit. It reports its progress to the yielded object.

    Parameters
    ----------
    estimator : estimator
        The estimator to be fitted.
    data : dict
        The arguments of `fit`, ``X`` and ``y``.
    set_fitted_attributes : callable
        Called with an object and a net; sets the fitted attributes on the object.
    default : FitProgress
        Yielded if the estimator has no scikit-learn callbacks.

    Yields
    ------
    FitProgress
    """
    if not HAS_CALLBACKS:
        yield default
        return
    context = estimator._init_callback_context(max_subtasks=_MAX_STAGES)
    context.call_on_fit_task_begin(estimator=estimator, **data)
    has_callbacks = hasattr(estimator, "_skl_callbacks")
    yield (
        FitTasks(estimator, context, data, set_fitted_attributes)
        if has_callbacks
        else default
    )
    context.call_on_fit_task_end(
        estimator=estimator, **data, reconstruction_attributes={}
    )


__all__ = ["CallbackSupportMixin", "fit_task", "with_callbacks"]
