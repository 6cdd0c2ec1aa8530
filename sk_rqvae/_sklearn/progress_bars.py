"""Progress bars on a terminal."""

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
_SPEED_OVER = 3600.0  # seconds; with less, rich forgets epochs during a long one

# Two bars would overwrite each other on the terminal, so only the first is drawn. The
# second belongs to another thread, or to a part of the work that the first one counts.
_ONE_AT_A_TIME = threading.Lock()
_ASKED_FOR: ContextVar[bool] = ContextVar("asked_for", default=False)


@contextmanager
def progress_bar(
    doing: str, total: float | None, *, shown: bool
) -> Iterator[ProgressCallback]:
    """Draw a progress bar on standard error if it is a terminal and the work is slow.

    The bar appears after `_SHOWN_AFTER` seconds and is removed at the end.

    Parameters
    ----------
    doing : str
        Description of the work.
    total : float or None
        Amount of work, in any unit. None if it is unknown.
    shown : bool
        Whether to draw the bar. `bars_asked_for` overrides False.

    Yields
    ------
    ProgressCallback
        Cheap to call: another thread draws.
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
    """Draw all bars in this block, without the table that `verbose` would print."""
    token = _ASKED_FOR.set(True)
    try:
        yield
    finally:
        _ASKED_FOR.reset(token)


@dataclass(frozen=True)
class FitBars:
    """A `FitProgress` that draws progress bars.

    Attributes
    ----------
    shown : bool
        Whether to draw the bars.
    """

    shown: bool

    def steps(
        self, doing: str, total: float
    ) -> AbstractContextManager[ProgressCallback]:
        """A bar for a stage of the fit."""
        return progress_bar(doing, total, shown=self.shown)

    @contextmanager
    def epochs(self, total: int) -> Iterator[Callback]:
        """A bar for training, which advances by epochs."""
        with progress_bar("training", total, shown=self.shown) as advance:
            yield _EpochCounter(advance)


class _EpochCounter(Callback):
    """A skorch callback that advances a bar after every epoch."""

    stops = False

    def __init__(self, advance: ProgressCallback) -> None:
        self.advance = advance

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Note how many epochs earlier fits have trained."""
        self.n_before_ = len(net.history)
        self.advance(0, f"epoch 0/{net.max_epochs}")

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar and show the epoch and its reconstruction loss."""
        note = f"epoch {len(net.history) - self.n_before_}/{net.max_epochs}"
        row = net.history[-1]
        if "train_reconstruction" in row:
            note += f", reconstruction {row['train_reconstruction']:.3f}"
        self.advance(1, note)


class _Bar(threading.Thread):
    """A progress bar and the thread that draws it."""

    def __init__(self, doing: str, total: float | None) -> None:
        super().__init__(name=f"sk_rqvae {doing}", daemon=True)
        self.doing = doing
        self.total = total
        self.n_done = 0.0
        self.note = ""
        self.is_over = threading.Event()

    def advance(self, n_more: float = 1, note: str = "") -> None:
        """Add to the work done, and set the note beside the bar."""
        self.n_done += n_more
        self.note = note

    def close(self) -> None:
        """Remove the bar from the terminal."""
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
            # On a terminal, rich prints standard output above the bar. If it is
            # redirected to a file or a pipe, rich must not intercept it.
            redirect_stdout=is_terminal(sys.stdout),
        )


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal. A service may have None, or a simple object."""
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and bool(isatty())


def _has_terminal() -> bool:
    """Whether standard error is a terminal that no other bar or process draws on."""
    return (
        is_terminal(sys.stderr)
        and not isinstance(sys.stderr, FileProxy)  # in use by another rich display
        and multiprocessing.parent_process() is None
    )
