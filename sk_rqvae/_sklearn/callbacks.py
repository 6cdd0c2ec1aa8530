"""scikit-learn's callback API where it exists, and stand-ins where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sk_rqvae._progress import FitProgress
from sk_rqvae._sklearn.tasks import FitTasks

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """No callbacks to support."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Leave `method` as it is."""
        return method


_MOST_PARTS = 3  # set-up, training, separation

HAS_CALLBACKS = hasattr(CallbackSupportMixin, "set_callbacks")


@contextmanager
def fit_task(
    estimator: Any,
    data: dict[str, Any],
    adopt: Callable[[Any, Any], None],
    otherwise: FitProgress,
) -> Iterator[FitProgress]:
    """Open scikit-learn's task for a fit, where it has tasks.

    Parameters
    ----------
    estimator : estimator
        What is being fitted.
    data : dict
        What `fit` was called with, ``X`` and ``y``.
    adopt : callable
        Gives an object the attributes of an estimator fitted with a net.
    otherwise : FitProgress
        Who is told how far the fit is if no callback of scikit-learn is set.

    Yields
    ------
    FitProgress
    """
    if not HAS_CALLBACKS:
        yield otherwise
        return
    context = estimator._init_callback_context(max_subtasks=_MOST_PARTS)
    context.call_on_fit_task_begin(estimator=estimator, **data)
    is_watched = hasattr(estimator, "_skl_callbacks")
    yield FitTasks(estimator, context, data, adopt) if is_watched else otherwise
    context.call_on_fit_task_end(
        estimator=estimator, **data, reconstruction_attributes={}
    )


__all__ = ["CallbackSupportMixin", "fit_task", "with_callbacks"]
