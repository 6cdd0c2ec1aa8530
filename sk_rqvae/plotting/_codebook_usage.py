"""How often each code of a level is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._checks.codes import layer_sizes
from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._checks import check_item_codes
from sk_rqvae.plotting._axes_and_colors import GREY, axes_for, colours


class CodebookUsageDisplay:
    """Share of the items that each code has, the most used codes first.

    A codebook that is used evenly follows the dashed line of equal shares; one that has
    collapsed falls off steeply. Codes that no item has are marked with crosses.

    Make it with `from_estimator` or `from_codes`.

    Parameters
    ----------
    counts : list of ndarray of shape (codebook_size,)
        For each level, how many items have each code.

    Attributes
    ----------
    lines_ : list of matplotlib.lines.Line2D
        For each level, shares in descending order against rank, from 1.
    dead_ : list of matplotlib.lines.Line2D
        For each level, a cross at the rank of every code that no item has.
    uniform_ : list of matplotlib.lines.Line2D
        The share of even use, a line for each size of a codebook.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    See Also
    --------
    sk_rqvae.metrics.codebook_usage : The share of codes that are used.
    sk_rqvae.metrics.codebook_perplexity : The effective number of codes.

    Examples
    --------
    >>> from sk_rqvae.plotting import CodebookUsageDisplay
    >>> codes = [[0, 0], [0, 1], [2, 0], [0, 1]]
    >>> display = CodebookUsageDisplay.from_codes(codes, codebook_size=3)
    >>> display.lines_[0].get_ydata()
    array([0.75, 0.25, 0.  ])
    >>> display.dead_[0].get_xdata()
    array([3])
    """

    def __init__(self, *, counts: list[NDArray[np.int64]]) -> None:
        self.counts = counts

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, ax: Any = None
    ) -> CodebookUsageDisplay:
        """Draw how the codes of some rows use the codebooks of a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that has one in it.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CodebookUsageDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ImportError
            If matplotlib is not installed.
        """
        path = path_to_quantizer(estimator)
        sizes = [len(codebook) for codebook in path.quantizer.codebooks_]
        return cls.from_codes(path.codes(X), sizes, ax=ax)

    @classmethod
    def from_codes(
        cls, codes: ArrayLike, codebook_size: int | Sequence[int], *, ax: Any = None
    ) -> CodebookUsageDisplay:
        """Draw how some codes use their codebooks.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        codebook_size : int or sequence of int
            Codebook size: one number for all levels, or one per level.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CodebookUsageDisplay

        Raises
        ------
        ValueError
            If there are no items, or a code is fractional, negative or too large.
        TypeError
            If `codes` or `codebook_size` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        checked = check_item_codes(codes, codebook_size)
        sizes = layer_sizes(codebook_size, checked.shape[1])
        counts = [
            np.bincount(column, minlength=size)
            for column, size in zip(checked.T, sizes, strict=True)
        ]
        return cls(counts=counts).plot(ax=ax)

    def plot(self, ax: Any = None) -> CodebookUsageDisplay:
        """Draw a curve a level.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        CodebookUsageDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax, figure = axes_for(self, ax)
        self.lines_: list[Any] = []
        self.dead_: list[Any] = []
        levels = zip(self.counts, colours(len(self.counts)), strict=True)
        for level, (count, colour) in enumerate(levels, start=1):
            self._plot_level(ax, level, count, colour)
        self.uniform_ = [
            ax.plot([1, size], [1 / size] * 2, color=GREY, linestyle="--")[0]
            for size in sorted({len(count) for count in self.counts})
        ]
        self.uniform_[0].set_label("even use")
        for crosses in [line for line in self.dead_ if len(line.get_xdata())][:1]:
            crosses.set_label("codes that no item has")
        ax.set(xlabel="rank of the code", ylabel="share of the items")
        ax.yaxis.set_major_formatter(_percent())
        ax.legend()
        self.ax_, self.figure_ = ax, figure
        return self

    def _plot_level(
        self, ax: Any, level: int, count: NDArray[np.int64], colour: str
    ) -> None:
        ranks = np.arange(1, len(count) + 1)
        shares = np.sort(count)[::-1] / count.sum()
        dead = ranks[shares == 0]
        label = f"level {level}: {len(count) - len(dead)} of {len(count)} codes used"
        self.lines_ += ax.plot(ranks, shares, color=colour, label=label)
        self.dead_ += ax.plot(
            dead,
            np.zeros(len(dead)),
            color=colour,
            marker="x",
            linestyle="none",
            clip_on=False,
        )


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1)
