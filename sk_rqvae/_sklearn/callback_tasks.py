"""The stages and epochs of a fit as the tasks that scikit-learn's callbacks follow."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from skorch.callbacks import Callback

from sk_rqvae._progress import ProgressCallback

_MAX_STEPS = 100
_ROUNDING = 1e-6

SetFittedAttributes = Callable[[Any, Any], None]


class FitTasks:
    """A `FitProgress` that reports to scikit-learn's callbacks.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    context : sklearn.callback.CallbackContext
        The context of the fit.
    data : dict
        The arguments of `fit`, ``X`` and ``y``.
    set_fitted_attributes : callable
        Called with an object and a net; sets the fitted attributes on the object.
    """

    def __init__(
        self,
        estimator: Any,
        context: Any,
        data: dict[str, Any],
        set_fitted_attributes: SetFittedAttributes,
    ) -> None:
        self.estimator = estimator
        self.context = context
        self.data = data
        self.set_fitted_attributes = set_fitted_attributes

    @contextmanager
    def steps(self, doing: str, total: float) -> Iterator[ProgressCallback]:
        """A task for a stage, with at most `_MAX_STEPS` subtasks."""
        n_steps = min(math.ceil(total), _MAX_STEPS)
        stage = self.begin(self.context, doing, n_steps)
        step = self.begin(stage, "step")
        n_ended, done = 0, 0.0

        def advance(n_more: float = 1, note: str = "") -> None:
            nonlocal step, n_ended, done
            done += n_more
            n_done = min(n_steps, int(done / total * n_steps + _ROUNDING))
            for _ in range(n_ended, n_done):
                self.end(step)
                n_ended += 1
                if n_ended < n_steps:
                    step = self.begin(stage, "step")

        yield advance
        if n_ended < n_steps:
            self.end(step)
        self.end(stage)

    @contextmanager
    def epochs(self, total: int) -> Iterator[Callback]:
        """A task for training, with one subtask per epoch."""
        training = self.begin(self.context, "training", total)
        epochs = _EpochTasks(self, training)
        yield epochs
        epochs.end_what_is_open()
        self.end(training)

    def begin(self, parent: Any, name: str, n_subtasks: int = 0) -> Any:
        """Begin a task and call the callbacks."""
        task = parent.subcontext(task_name=name, max_subtasks=n_subtasks)
        return task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self, task: Any, **more: Any) -> bool:
        """End a task; returns whether a callback asks to stop the fit."""
        return bool(
            task.call_on_fit_task_end(estimator=self.estimator, **self.data, **more)
        )

    def attributes(self, net: Any) -> dict[str, Any]:
        """The fitted attributes that the estimator would have if training ended now."""
        fitted = SimpleNamespace()
        self.set_fitted_attributes(fitted, copy.deepcopy(net))
        fitted.net_.module_.eval()
        return vars(fitted)


class _EpochTasks(Callback):
    """A skorch callback that reports every epoch as a task."""

    stops = False

    def __init__(self, tasks: FitTasks, training: Any) -> None:
        self.tasks = tasks
        self.training = training
        self.epoch: Any = None

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin the task of this epoch."""
        self.epoch = self.tasks.begin(self.training, "epoch")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of this epoch, and note if a callback asks to end training."""
        epoch, self.epoch = self.epoch, None
        self.stops = self.tasks.end(
            epoch, reconstruction_attributes=lambda: self.tasks.attributes(net)
        )

    def end_what_is_open(self) -> None:
        """End the task of an epoch that training did not complete."""
        if self.epoch is not None:
            self.tasks.end(self.epoch)
