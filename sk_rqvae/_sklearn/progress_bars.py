"""Bars on a terminal for work that lasts."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from skorch.callbacks import Callback

from sk_rqvae._progress import ProgressCallback, no_progress

_SHOWN_AFTER = 2.0  # seconds
_DRAWN_EVERY = 0.2
_SPEED_OVER = 3600.0  # with less, rich forgets the last epoch before a long one ends

# Two bars that move the cursor would draw over each other. The one that comes second is
# not drawn: it belongs to another thread, or to a part of what the first one counts.
_ONE_AT_A_TIME = threading.Lock()
_ASKED_FOR: ContextVar[bool] = ContextVar("asked_for", default=False)


@contextmanager
def progress_bar(
    doing: str, total: float | None, *, shown: bool
) -> Iterator[ProgressCallback]:
    """Draw a bar on standard error, if that is a terminal, once the work has lasted.

    Parameters
    ----------
    doing : str
        What it is that lasts.
    total : float or None
        All of it, in any unit; None if it is not known.
    shown : bool
        Whether the user wants it; see `bars_asked_for` too.

    Yields
    ------
    ProgressCallback
        It costs an addition. A thread draws.
    """
    wanted = (shown or _ASKED_FOR.get()) and _has_terminal()
    if not wanted or not _ONE_AT_A_TIME.acquire(blocking=False):
        yield no_progress
        return
    try:
        bar = _Bar(doing, total)
        bar.start()
        try:
            yield bar.advance
        finally:
            bar.close()
    finally:
        _ONE_AT_A_TIME.release()


@contextmanager
def bars_asked_for() -> Iterator[None]:
    """Draw the bars of this block without `verbose`, which prints a table as well."""
    token = _ASKED_FOR.set(True)
    try:
        yield
    finally:
        _ASKED_FOR.reset(token)


@dataclass(frozen=True)
class FitBars:
    """Bars for a fit, as a `FitProgress`.

    Attributes
    ----------
    shown : bool
        Whether the user wants them.
    """

    shown: bool

    def steps(
        self, doing: str, total: float
    ) -> AbstractContextManager[ProgressCallback]:
        """A bar for a part."""
        return progress_bar(doing, total, shown=self.shown)

    @contextmanager
    def epochs(self, total: int) -> Iterator[Callback]:
        """A bar for the epochs."""
        with progress_bar("training", total, shown=self.shown) as advance:
            yield _EpochCounter(advance)


class _EpochCounter(Callback):
    """ProgressCallback at the end of every epoch."""

    def __init__(self, advance: ProgressCallback) -> None:
        self.advance = advance

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Remember where this training starts."""
        self.n_before_ = len(net.history)
        self.advance(0, f"epoch 0/{net.max_epochs}")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """ProgressCallback, and say which epoch this was."""
        note = f"epoch {len(net.history) - self.n_before_}/{net.max_epochs}"
        row = net.history[-1]
        if "train_reconstruction" in row:
            note += f", reconstruction {row['train_reconstruction']:.3f}"
        self.advance(1, note)


class _Bar(threading.Thread):
    """A bar, and the thread that draws it for as long as it is open."""

    def __init__(self, doing: str, total: float | None) -> None:
        super().__init__(name=f"sk_rqvae {doing}", daemon=True)
        self.doing = doing
        self.total = total
        self.n_done = 0.0
        self.note = ""
        self.is_over = threading.Event()

    def advance(self, n_more: float = 1, note: str = "") -> None:
        """Note what is to be drawn next."""
        self.n_done += n_more
        self.note = note

    def close(self) -> None:
        """Wipe the bar away."""
        self.is_over.set()
        self.join()

    def run(self) -> None:
        """Draw until the bar is closed."""
        if self.is_over.wait(_SHOWN_AFTER):
            return
        with self._display() as display:
            task = display.add_task(self.doing, total=self.total, visible=False)
            while not self.is_over.is_set():
                display.update(
                    task,
                    completed=self.n_done,
                    note=self.note,
                    visible=True,
                    refresh=True,
                )
                self.is_over.wait(_DRAWN_EVERY)

    def _display(self) -> Progress:
        known = (TaskProgressColumn(), TimeRemainingColumn())
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *(() if self.total is None else known),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True, soft_wrap=True),
            auto_refresh=False,
            transient=True,
            speed_estimate_period=_SPEED_OVER,
            # What is printed meanwhile appears above the bar. Where standard output
            # goes elsewhere, it has to arrive there.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )


def _has_terminal() -> bool:
    """Whether this process alone draws on a terminal, and nothing else of it yet."""
    return (
        sys.stderr is not None
        and sys.stderr.isatty()
        and not isinstance(sys.stderr, FileProxy)  # another display of rich
        and multiprocessing.parent_process() is None
    )
