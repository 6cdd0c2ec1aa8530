"""A progress bar over the epochs of a fit."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from skorch.callbacks import Callback


class EpochProgress(Callback):
    """Advance a bar at every epoch and show what variance is explained so far.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw; one that is not a terminal gets the finished bar only.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        self.progress_ = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("epoch {task.completed}/{task.total}"),
            TextColumn("{task.fields[explained]}"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task_ = self.progress_.add_task("fit", total=net.max_epochs, explained="")
        self.progress_.start()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        explained = 1 - net.history[-1, "train_reconstruction"]
        self.progress_.update(
            self.task_, advance=1, explained=f"explained variance {explained:.3f}"
        )

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.progress_.stop()
