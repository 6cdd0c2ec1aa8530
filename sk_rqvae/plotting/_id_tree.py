"""The tree of prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._checks import (
    check_count,
    check_item_codes,
    check_same_length,
)
from sk_rqvae.plotting._axes_and_colors import GREY, axes_for
from sk_rqvae.plotting._icicle import Icicle
from sk_rqvae.plotting._node_colors import tint_for
from sk_rqvae.plotting._tree_layout import pieces_of

_SIZE = (8.0, 8.0)
_BREADTH = (10, 4)


class IDTreeDisplay:
    """The tree of prefixes as an icicle: a column a level, continuations to the right.

    Of the many prefixes those with the most items are drawn, from the top down. What is
    left out under a prefix is one grey rectangle, and the title tells what is left out
    of the first codes. The last column has a row for each rectangle, so that all can be
    read; how many items a prefix has is written in it, in parentheses.

    Make it with `from_estimator` or `from_codes`.

    Parameters
    ----------
    codes : ndarray of shape (n_items, n_layers), int64
        IDs, one code per level.
    labels : array-like of shape (n_items,), default=None
        Decides the colours: a prefix has that of its commonest label or, if labels are
        floats, of its mean label. Without labels, it has that of its first code.
    names : sequence of str, default=None
        Names of the items. Some are written to the right of each rectangle in the last
        column.

    Attributes
    ----------
    patches_ : dict of tuple of int to matplotlib.patches.Rectangle
        The rectangle of each prefix that is drawn.
    rests_ : dict of tuple of int to matplotlib.patches.Rectangle
        The grey rectangle under each prefix that has more continuations than are drawn.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> from sk_rqvae.plotting import IDTreeDisplay
    >>> codes = [[0, 1], [0, 1], [0, 2], [5, 1]]
    >>> display = IDTreeDisplay.from_codes(codes, labels=["a", "a", "b", "c"])
    >>> {prefix: box.get_height() for prefix, box in display.patches_.items()}
    {(0, 1): 1, (0, 2): 1, (0,): 2, (5, 1): 1, (5,): 1}
    """

    def __init__(
        self,
        *,
        codes: IntArray,
        labels: ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.codes = codes
        self.labels = labels
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        breadth: Sequence[int] | None = None,
        ax: Any = None,
    ) -> IDTreeDisplay:
        """Draw the tree of the IDs that a fitted transformer gives to some rows.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that has one in it.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        labels : array-like of shape (n_items,), default=None
            What decides the colours.
        names : sequence of str, default=None
            Names of the items.
        breadth : sequence of int, default=None
            How many prefixes to draw at each level under each parent, the largest
            first; as many entries as levels are drawn. None is ten first codes and four
            continuations of each.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        IDTreeDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ValueError
            If `labels` or `names` has another length than `X`, or `breadth` has more
            entries than the IDs have codes.
        ImportError
            If matplotlib is not installed.
        """
        codes = path_to_quantizer(estimator).codes(X)
        return cls.from_codes(codes, labels, names=names, breadth=breadth, ax=ax)

    @classmethod
    def from_codes(
        cls,
        codes: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        breadth: Sequence[int] | None = None,
        ax: Any = None,
    ) -> IDTreeDisplay:
        """Draw the tree of some IDs.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        labels : array-like of shape (n_items,), default=None
            What decides the colours.
        names : sequence of str, default=None
            Names of the items.
        breadth : sequence of int, default=None
            How many prefixes to draw at each level under each parent, the largest
            first; as many entries as levels are drawn. None is ten first codes and four
            continuations of each.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        IDTreeDisplay

        Raises
        ------
        ValueError
            If there are no items, a code is fractional or negative, `labels` or `names`
            has another length, or `breadth` has more entries than there are codes.
        TypeError
            If `codes` or `breadth` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        display = cls(codes=check_item_codes(codes), labels=labels, names=names)
        return display.plot(ax, breadth=breadth)

    def plot(
        self, ax: Any = None, *, breadth: Sequence[int] | None = None
    ) -> IDTreeDisplay:
        """Draw the rectangles.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.
        breadth : sequence of int, default=None
            How many prefixes to draw at each level under each parent, the largest
            first; as many entries as levels are drawn. None is ten first codes and four
            continuations of each.

        Returns
        -------
        IDTreeDisplay
            Itself.

        Raises
        ------
        ValueError
            If `labels` or `names` has another length than `codes`, or `breadth` has
            more entries than the IDs have codes.
        TypeError
            If `breadth` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        n_items, n_layers = self.codes.shape
        breadth = _checked_breadth(breadth, n_layers)
        if self.names is not None:
            check_same_length(len(self.names), n_items, name="names")
        pieces = pieces_of(self.codes, breadth)
        ax, figure = axes_for(self, ax, _SIZE)
        tint = tint_for(self.labels, pieces, n_items)
        firsts = [piece for piece in pieces if piece.depth == 1]
        n_rows = sum(piece.n_rows for piece in firsts)
        icicle = Icicle(ax, len(breadth), n_rows, named=self.names is not None)
        self.patches_: dict[tuple[int, ...], Any] = {}
        self.rests_: dict[tuple[int, ...], Any] = {}
        for piece in pieces:
            size = len(piece.items)
            if piece.n_merged:
                text = f"{piece.n_merged} more ({size})"
                self.rests_[piece.prefix] = icicle.add(piece, GREY, text)
                continue
            text = f"{piece.prefix[-1]} ({size})  {tint.text(piece)}".rstrip()
            self.patches_[piece.prefix] = icicle.add(piece, tint.colour(piece), text)
            if self.names is not None and piece.depth == len(breadth):
                icicle.name(piece, [str(self.names[item]) for item in piece.items])
        n_codes = len(np.unique(self.codes[:, 0]))
        n_below = sum(len(piece.items) for piece in firsts)
        ax.set_title(
            f"{len(firsts)} of {n_codes} first codes, {n_below} of {n_items} items"
        )
        tint.explain(ax)
        self.ax_, self.figure_ = ax, figure
        return self


def _checked_breadth(breadth: Sequence[int] | None, n_layers: int) -> list[int]:
    if breadth is None:
        breadth = _BREADTH[:n_layers]
    if not 0 < len(breadth) <= n_layers:
        raise ValueError(
            f"breadth must have from 1 to {n_layers} entries, one for each level that "
            f"is drawn. Got {len(breadth)}."
        )
    return [check_count(number, name="Each entry of breadth") for number in breadth]
