"""scikit-learn's callback API where it exists, and stand-ins where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sk_rqvae._callbacks import ScikitLearnCallbacks

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks to support."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Leave `method` as it is."""
        return method


HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")


@contextmanager
def fit_task(
    estimator: Any,
    n_epochs: int,
    data: dict[str, Any],
    adopt: Callable[[Any, Any], None],
) -> Iterator[list[Any]]:
    """Open scikit-learn's task for a fit; yield the skorch callbacks that report to it.

    Parameters
    ----------
    estimator : estimator
        What is being fitted.
    n_epochs : int
        Epochs at most.
    data : dict
        What `fit` was called with, ``X`` and ``y``.
    adopt : callable
        Gives an object the attributes of an estimator fitted with a net.

    Yields
    ------
    list of callback
        Empty where scikit-learn has no callbacks.
    """
    if not HAS_CALLBACKS:
        yield []
        return
    context = estimator._init_callback_context(max_subtasks=n_epochs)
    context.call_on_fit_task_begin(estimator=estimator, **data)
    yield [ScikitLearnCallbacks(estimator, context, data, adopt)]
    context.call_on_fit_task_end(
        estimator=estimator, **data, reconstruction_attributes={}
    )


__all__ = ["CallbackSupportMixin", "fit_task", "with_callbacks"]
