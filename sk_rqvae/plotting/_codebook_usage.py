"""Plot how often each code of a level is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._codebook_usage import code_counts
from sk_rqvae.plotting._axes import add_legend, axes_for
from sk_rqvae.plotting._colors import GREY, colors


class CodebookUsageDisplay:
    """Share of the items that each code of a level has, in descending order.

    A level whose codes are used evenly follows the dashed line. The curve of a
    collapsed level falls steeply and ends in crosses, which mark codes without items.

    Create it with `from_estimator` or `from_codes`.

    Parameters
    ----------
    counts : list of ndarray of shape (codebook_size,)
        Number of items of each code, for each level.

    Attributes
    ----------
    lines_ : list of matplotlib.lines.Line2D
        For each level, the shares in descending order. The x coordinate is the rank,
        from 1.
    dead_ : list of matplotlib.lines.Line2D
        For each level, a cross at the rank of every code without items.
    uniform_ : list of matplotlib.lines.Line2D
        The share of even use, one line per distinct codebook size.
    ax_ : matplotlib.axes.Axes
        The axes.
    figure_ : matplotlib.figure.Figure
        The figure of the axes.

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
        """Plot how the codes of `X` use the codebooks of a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that contains one.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        CodebookUsageDisplay
            The display.

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
        """Plot how given codes use their codebooks.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        codebook_size : int or sequence of int
            Codebook size: one number for all levels, or one per level.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        CodebookUsageDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no items, or a code is fractional, negative or too large.
        TypeError
            If `codes` or `codebook_size` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        return cls(counts=code_counts(codes, codebook_size)).plot(ax=ax)

    def plot(self, ax: Any = None) -> CodebookUsageDisplay:
        """Draw one curve per level.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        CodebookUsageDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.

        Notes
        -----
        The vertical axis begins at zero, so that a curve looks as uneven as it is.
        """
        ax, figure = axes_for(self, ax)
        self.lines_: list[Any] = []
        self.dead_: list[Any] = []
        levels = zip(self.counts, colors(len(self.counts)), strict=True)
        texts = [
            self._plot_level(ax, level, count, color)
            for level, (count, color) in enumerate(levels, start=1)
        ]
        sizes = sorted({len(count) for count in self.counts})
        self.uniform_ = [
            ax.plot([1, size], [1 / size] * 2, color=GREY, linestyle="--", zorder=1)[0]
            for size in sizes
        ]
        handles = [*self.lines_, self.uniform_[0]]
        texts.append("even use")
        dead = [crosses for crosses in self.dead_ if len(crosses.get_xdata())]
        if dead:
            handles.append(dead[0])
            texts.append("codes without items")
        highest = max(line.get_ydata().max() for line in self.lines_)
        ax.set(
            xlabel="rank of the code",
            ylabel="share of the items",
            xlim=(1, max(sizes) if max(sizes) > 1 else 2),
            ylim=(0, 1.35 * highest),
        )
        ax.yaxis.set_major_formatter(_percent())
        add_legend(ax, handles, texts, loc="upper right")
        self.ax_, self.figure_ = ax, figure
        return self

    def _plot_level(
        self, ax: Any, level: int, count: NDArray[np.int64], color: str
    ) -> str:
        ranks = np.arange(1, len(count) + 1)
        shares = np.sort(count)[::-1] / count.sum()
        dead = ranks[shares == 0]
        self.lines_ += ax.plot(ranks, shares, color=color, linewidth=2)
        self.dead_ += ax.plot(
            dead,
            np.zeros(len(dead)),
            color=color,
            marker="x",
            linestyle="none",
            clip_on=False,
        )
        return f"level {level}: {len(count) - len(dead)} of {len(count)} codes used"


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1)
