"""The interface to which long work reports progress; `_sklearn` draws the bars."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from skorch.callbacks import Callback


class ProgressCallback(Protocol):
    """Called whenever some of the work is done."""

    def __call__(self, n_more: float = 1, note: str = "") -> None:
        """Add `n_more` to what is done, in units of the total; `note` is shown."""


class FitProgress(Protocol):
    """The interface to which a fit reports its progress."""

    def steps(
        self, doing: str, total: float
    ) -> AbstractContextManager[ProgressCallback]:
        """Begin a stage of the fit that has `total` steps."""

    def epochs(self, total: int) -> AbstractContextManager[Callback]:
        """Begin training; the net must have the callback that this yields.

        Training must end after an epoch in which its attribute `stops` became true.
        """


def no_progress(n_more: float = 1, note: str = "") -> None:
    """Report to nobody."""
