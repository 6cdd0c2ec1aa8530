"""A fit as a tree of scikit-learn's tasks, which its callbacks are told of."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from skorch.callbacks import Callback

from sk_rqvae._progress import ProgressCallback

_MOST_STEPS = 100
_ROUNDING = 1e-6

Adopt = Callable[[Any, Any], None]


class FitTasks:
    """Tell scikit-learn's callbacks of the parts of a fit, as a `FitProgress`.

    Parameters
    ----------
    estimator : estimator
        The estimator being fitted.
    context : sklearn.callback.CallbackContext
        The context of the fit.
    data : dict
        What `fit` was called with, ``X`` and ``y``.
    adopt : callable
        Gives an object the attributes of an estimator fitted with a net.
    """

    def __init__(
        self, estimator: Any, context: Any, data: dict[str, Any], adopt: Adopt
    ) -> None:
        self.estimator = estimator
        self.context = context
        self.data = data
        self.adopt = adopt

    @contextmanager
    def steps(self, doing: str, total: float) -> Iterator[ProgressCallback]:
        """A task for a part, with at most a hundred subtasks."""
        n_steps = min(math.ceil(total), _MOST_STEPS)
        part = self.begin(self.context, doing, n_steps)
        step = self.begin(part, "step")
        n_ended, done = 0, 0.0

        def advance(n_more: float = 1, note: str = "") -> None:
            nonlocal step, n_ended, done
            done += n_more
            n_done = min(n_steps, int(done / total * n_steps + _ROUNDING))
            for _ in range(n_ended, n_done):
                self.end(step)
                n_ended += 1
                if n_ended < n_steps:
                    step = self.begin(part, "step")

        yield advance
        if n_ended < n_steps:
            self.end(step)
        self.end(part)

    @contextmanager
    def epochs(self, total: int) -> Iterator[Callback]:
        """A task for training, with one for each epoch."""
        training = self.begin(self.context, "training", total)
        yield _EpochTasks(self, training)
        self.end(training)

    def begin(self, parent: Any, name: str, n_subtasks: int = 0) -> Any:
        """Begin a task and tell of it."""
        task = parent.subcontext(task_name=name, max_subtasks=n_subtasks)
        return task.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self, task: Any, **more: Any) -> bool:
        """End a task; whether a callback asks to go no further."""
        return bool(
            task.call_on_fit_task_end(estimator=self.estimator, **self.data, **more)
        )

    def attributes(self, net: Any) -> dict[str, Any]:
        """What the estimator would have if training ended here."""
        fitted = SimpleNamespace()
        self.adopt(fitted, copy.deepcopy(net))
        fitted.net_.module_.eval()
        return vars(fitted)


class _EpochTasks(Callback):
    """A task for every epoch."""

    def __init__(self, tasks: FitTasks, training: Any) -> None:
        self.tasks = tasks
        self.training = training

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin the task of the epoch."""
        self.epoch_ = self.tasks.begin(self.training, "epoch")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End the task; skorch ends training where a callback raises an interrupt."""
        if self.tasks.end(
            self.epoch_, reconstruction_attributes=lambda: self.tasks.attributes(net)
        ):
            raise KeyboardInterrupt
