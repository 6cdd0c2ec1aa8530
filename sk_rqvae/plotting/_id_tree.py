"""Plot the tree of ID prefixes, and export it as an interactive page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.scalars import check_int
from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._checks import (
    check_item_codes,
    check_same_length,
)
from sk_rqvae.plotting._axes import axes_for
from sk_rqvae.plotting._colors import GREY, background_of, tint
from sk_rqvae.plotting._icicle import Icicle, figure_size
from sk_rqvae.plotting._node_colors import check_finite_labels, node_colors
from sk_rqvae.plotting._tree_html import tree_html
from sk_rqvae.plotting._tree_layout import tree_nodes

_BREADTH = (10, 4)
_MAX_CODE = 2**53


class IDTreeDisplay:
    """The tree of ID prefixes as an icicle plot, or as an interactive page.

    The plot has one column per level, and the children of a prefix are to its right.
    Only the prefixes with the most items are drawn. Under each prefix, one grey
    rectangle replaces the children that are not drawn. The title counts the first codes
    and items that are drawn. The number of items of a prefix is in parentheses.

    The page has all items: see `to_html`.

    Create it with `from_estimator` or `from_codes`, which also draw the plot. For the
    page alone, which needs no matplotlib, call the constructor.

    Parameters
    ----------
    codes : array-like of shape (n_items, n_layers)
        IDs, one code per level.
    labels : array-like of shape (n_items,), default=None
        Labels of the items. A prefix has the colour of its most frequent label or, if
        labels are floats, of its mean label. None colours by the first code.
    names : sequence of str, default=None
        Names of the items. Some are written to the right of each rectangle in the last
        column.

    Attributes
    ----------
    patches_ : dict of tuple of int to matplotlib.patches.Rectangle
        Rectangle of each prefix that is drawn.
    rests_ : dict of tuple of int to matplotlib.patches.Rectangle
        Grey rectangle under each prefix that has more children than are drawn.
    ax_ : matplotlib.axes.Axes
        The axes.
    figure_ : matplotlib.figure.Figure
        The figure of the axes.

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
        codes: ArrayLike,
        labels: ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.codes: IntArray = check_item_codes(codes)
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
        """Plot the tree of the IDs of `X` from a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that contains one.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        labels : array-like of shape (n_items,), default=None
            Labels of the items, which decide the colours.
        names : sequence of str, default=None
            Names of the items.
        breadth : sequence of int, default=None
            Number of prefixes to draw at each level, under each parent, with one entry
            per level to draw. None draws ten first codes with four children each.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        IDTreeDisplay
            The display.

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
        """Plot the tree of given IDs.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        labels : array-like of shape (n_items,), default=None
            Labels of the items, which decide the colours.
        names : sequence of str, default=None
            Names of the items.
        breadth : sequence of int, default=None
            Number of prefixes to draw at each level, under each parent, with one entry
            per level to draw. None draws ten first codes with four children each.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        IDTreeDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no items, a code is fractional or negative, `labels` or `names`
            has another length, or `breadth` has more entries than there are codes.
        TypeError
            If `codes` or `breadth` does not hold integers, or `names` is no sequence.
        ImportError
            If matplotlib is not installed.
        """
        display = cls(codes=codes, labels=labels, names=names)
        return display.plot(ax, breadth=breadth)

    def plot(
        self, ax: Any = None, *, breadth: Sequence[int] | None = None
    ) -> IDTreeDisplay:
        """Draw the rectangles.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.
        breadth : sequence of int, default=None
            Number of prefixes to draw at each level, under each parent, with one entry
            per level to draw. None draws ten first codes with four children each.

        Returns
        -------
        IDTreeDisplay
            The display itself.

        Raises
        ------
        ValueError
            If `labels` or `names` has another length than `codes`, or `breadth` has
            more entries than the IDs have codes.
        TypeError
            If `breadth` does not hold integers, or `names` is no sequence.
        ImportError
            If matplotlib is not installed.
        """
        n_items, n_layers = self.codes.shape
        breadth = _checked_breadth(breadth, n_layers)
        names = _checked_names(self.names, n_items)
        nodes = tree_nodes(self.codes, breadth)
        firsts = [node for node in nodes if node.depth == 1]
        n_rows = sum(node.n_rows for node in firsts)
        named = names is not None
        size = figure_size(len(breadth), n_rows, named=named)
        ax, figure = axes_for(self, ax, size)
        background = background_of(ax)
        coloring = node_colors(self.labels, nodes, n_items)
        icicle = Icicle(ax, len(breadth), n_rows, named=named)
        self.patches_: dict[tuple[int, ...], Any] = {}
        self.rests_: dict[tuple[int, ...], Any] = {}
        for node in nodes:
            n_members = len(node.items)
            if node.n_merged:
                text = f"{node.n_merged} more ({n_members})"
                grey = tint(GREY, background)
                self.rests_[node.prefix] = icicle.add(node, grey, text)
                continue
            code = f"{node.prefix[-1]} ({n_members})"
            text = " · ".join(filter(None, [code, coloring.text(node)]))
            fill = coloring.fill(node, background)
            self.patches_[node.prefix] = icicle.add(node, fill, text)
            if names is not None and node.depth == len(breadth):
                icicle.name(node, [str(names[item]) for item in node.items])
        n_codes = len(np.unique(self.codes[:, 0]))
        n_below = sum(len(node.items) for node in firsts)
        ax.set_title(
            f"{len(firsts)} of {n_codes} first codes, {n_below} of {n_items} items"
        )
        coloring.add_legend(ax)
        self.ax_, self.figure_ = ax, figure
        return self

    def to_html(self, *, title: str = "Semantic IDs") -> str:
        """Return an interactive page of the tree, with all items.

        Click a code to see its children and its items. Search for a word of a name, or
        for a prefix such as ``6-51``, to see where it is in the tree. The page follows
        the light or dark mode of the browser and fits phones.

        Parameters
        ----------
        title : str, default="Semantic IDs"
            Title of the page.

        Returns
        -------
        str
            HTML with inline style and script. It loads nothing from elsewhere, and its
            content security policy forbids it to. Names and labels are shown as plain
            text. Write it with the encoding UTF-8.

        Raises
        ------
        ValueError
            If `labels` or `names` has another length than `codes`, a label is missing
            or not finite, or a code is 2**53 or larger.
        TypeError
            If `names` is no sequence.

        Examples
        --------
        >>> from sk_rqvae.plotting import IDTreeDisplay
        >>> display = IDTreeDisplay(
        ...     codes=[[0, 1], [0, 2], [5, 1]], names=["bonbon", "caramel", "plank"]
        ... )
        >>> page = display.to_html(title="Three nouns")
        >>> page.startswith("<!DOCTYPE html>"), "caramel" in page
        (True, True)
        """
        n_items = len(self.codes)
        largest = self.codes.max(initial=0)
        if largest >= _MAX_CODE:
            raise ValueError(
                "codes must be below 2**53 for a page, as browsers count no further. "
                f"Got {largest}."
            )
        names = _checked_names(self.names, n_items)
        labels = None
        if self.labels is not None:
            labels = check_finite_labels(self.labels, n_items)
        return tree_html(self.codes, names, labels, title)


def _checked_names(names: Any, n_items: int) -> list[Any] | None:
    """Names by position, which the labels of a pandas Series need not be."""
    if names is None:
        return None
    # An iterator would be empty the next time.
    has_other_order = isinstance(names, str | bytes | Mapping | Set | Iterator)
    if has_other_order or not isinstance(names, Iterable):
        raise TypeError(
            "names must be a sequence of strings, one per item. Got "
            f"{type(names).__name__}."
        )
    listed = list(names)
    check_same_length(len(listed), n_items, name="names")
    return listed


def _checked_breadth(breadth: Sequence[int] | None, n_layers: int) -> list[int]:
    if breadth is None:
        breadth = _BREADTH[:n_layers]
    if not 0 < len(breadth) <= n_layers:
        raise ValueError(
            f"breadth must have from 1 to {n_layers} entries, one per level to draw. "
            f"Got {len(breadth)}."
        )
    return [check_int("Each entry of breadth", number, minimum=1) for number in breadth]
