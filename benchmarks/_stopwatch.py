"""Times that can be compared on a machine that does other things too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

from skorch.callbacks import Callback
from torch.utils._python_dispatch import TorchDispatchMode


def seconds(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def processor_seconds(run: Callable[[], Any]) -> float:
    """Time of this process alone, so that other programs matter little."""
    start = process_time()
    run()
    return process_time() - start


def best_of_turns(runs: dict[str, Callable[[], Any]], n_turns: int) -> dict[str, float]:
    """The shortest time of each, all run once in every turn."""
    turns = [{name: seconds(run) for name, run in runs.items()} for _ in range(n_turns)]
    return {name: min(turn[name] for turn in turns) for name in runs}


class InTurnWith(Callback):
    """Time the epochs of a fit, and after each of them a run of something else.

    Parameters
    ----------
    other : callable
        What to compare with.

    Attributes
    ----------
    set_up_ : float
        Seconds from the making of this object to the first epoch.
    epoch_, other_ : float
        Seconds of the fastest epoch and of the fastest run of `other`.
    """

    def __init__(self, other: Callable[[], Any]) -> None:
        self.other = other
        self.made = perf_counter()

    @property
    def ratio_(self) -> float:
        return self.epoch_ / self.other_

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.set_up_ = perf_counter() - self.made
        self.epoch_ = self.other_ = float("inf")

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.begun_ = perf_counter()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.epoch_ = min(self.epoch_, perf_counter() - self.begun_)
        self.other_ = min(self.other_, seconds(self.other))


class Operations(TorchDispatchMode):
    """Count what is dispatched; PyTorch keeps the class in a private module."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.counts[func.name().removeprefix("aten::").partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


class CountSteps(Callback):
    """Count the operations of each training step of a fit.

    Attributes
    ----------
    steps_ : list of Counter of str
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.steps_: list[Counter[str]] = []

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        self.mode_ = Operations()
        self.mode_.__enter__()

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        self.mode_.__exit__(None, None, None)
        self.steps_.append(self.mode_.counts)
