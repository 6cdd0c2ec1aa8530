"""Plot items on a plane, coloured by their first code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.utils import check_array

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._checks.scalars import check_int
from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._checks import (
    check_item_codes,
    check_matrix,
    check_same_length,
)
from sk_rqvae.plotting._axes import add_legend, axes_for
from sk_rqvae.plotting._colors import GREY, background_of, colors, readable_on

FloatArray = NDArray[np.float64]

_SIZE = (8.0, 5.0)
_HIGHLIGHTED = 10
_MAX_LABEL_POINTS = 500


class ItemMapDisplay:
    """Items as points on a plane, coloured by their first code.

    A few codes are highlighted, because nobody can distinguish hundreds of colours. The
    items of other codes are grey. Each highlighted code is written where its items are
    densest.

    Create it with `from_estimator` or `from_codes`.

    Parameters
    ----------
    first_codes : ndarray of shape (n_items,), int64
        The first code of each item.
    embedding : ndarray of shape (n_items, 2)
        Coordinates of the items.
    axis_labels : tuple of str, default=("", "")
        Labels of the axes. Empty labels hide the ticks of the axis, because coordinates
        of t-SNE or UMAP have no meaning of their own.

    Attributes
    ----------
    points_ : dict of int to matplotlib.collections.PathCollection
        The items of each highlighted code.
    others_ : matplotlib.collections.PathCollection or None
        The items of all other codes, if there are any.
    ax_ : matplotlib.axes.Axes
        The axes.
    figure_ : matplotlib.figure.Figure
        The figure of the axes.

    Examples
    --------
    >>> from sk_rqvae.plotting import ItemMapDisplay
    >>> codes = [[0, 1], [0, 2], [3, 1]]
    >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 0.0]]
    >>> display = ItemMapDisplay.from_codes(codes, points)
    >>> display.points_[3].get_offsets().tolist()
    [[5.0, 0.0]]
    """

    def __init__(
        self,
        *,
        first_codes: IntArray,
        embedding: FloatArray,
        axis_labels: tuple[str, str] = ("", ""),
    ) -> None:
        self.first_codes = first_codes
        self.embedding = embedding
        self.axis_labels = axis_labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        embedding: ArrayLike | None = None,
        highlight: int | Sequence[int] = _HIGHLIGHTED,
        ax: Any = None,
    ) -> ItemMapDisplay:
        """Plot the rows of `X` by their first codes from a fitted transformer.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that contains one.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        embedding : array-like of shape (n_items, 2), default=None
            Coordinates of the items, for example from t-SNE. None uses the first two
            principal components of the transformer's input.
        highlight : int or sequence of int, default=10
            Codes to highlight: how many of the most frequent ones, or which ones.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        ItemMapDisplay
            The display.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ValueError
            If `embedding` has another shape, no item has a code of `highlight`, or `X`
            has a single column or equal rows and there is no `embedding`.
        ImportError
            If matplotlib is not installed.
        """
        path = path_to_quantizer(estimator)
        rows = path.rows(X)
        codes = path.quantizer.transform(rows)
        if embedding is not None:
            return cls.from_codes(codes, embedding, highlight=highlight, ax=ax)
        points, axis_labels = _principal_plane(rows)
        return cls(
            first_codes=np.asarray(codes)[:, 0],
            embedding=points,
            axis_labels=axis_labels,
        ).plot(ax, highlight=highlight)

    @classmethod
    def from_codes(
        cls,
        codes: ArrayLike,
        embedding: ArrayLike,
        *,
        highlight: int | Sequence[int] = _HIGHLIGHTED,
        ax: Any = None,
    ) -> ItemMapDisplay:
        """Plot items by the first of their given codes.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        embedding : array-like of shape (n_items, 2)
            Coordinates of the items.
        highlight : int or sequence of int, default=10
            Codes to highlight: how many of the most frequent ones, or which ones.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.

        Returns
        -------
        ItemMapDisplay
            The display.

        Raises
        ------
        ValueError
            If there are no items, a code is fractional or negative, `embedding` has
            another shape, or no item has a code of `highlight`.
        TypeError
            If `codes` or `highlight` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        first_codes = check_item_codes(codes)[:, 0]
        points = check_matrix(embedding, name="embedding").astype(np.float64)
        check_same_length(len(points), len(first_codes), name="embedding")
        if points.shape[1] != 2:
            raise ValueError(f"embedding must have 2 columns. Got {points.shape[1]}.")
        display = cls(first_codes=first_codes, embedding=points)
        return display.plot(ax, highlight=highlight)

    def plot(
        self, ax: Any = None, *, highlight: int | Sequence[int] = _HIGHLIGHTED
    ) -> ItemMapDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None creates a figure.
        highlight : int or sequence of int, default=10
            Codes to highlight: how many of the most frequent ones, or which ones.

        Returns
        -------
        ItemMapDisplay
            The display itself.

        Raises
        ------
        ValueError
            If no item has a code of `highlight`.
        TypeError
            If `highlight` does not hold integers.
        ImportError
            If matplotlib is not installed.
        """
        chosen = _chosen(self.first_codes, highlight)
        ax, figure = axes_for(self, ax, _SIZE)
        others = ~np.isin(self.first_codes, chosen)
        n_others = len(np.unique(self.first_codes[others]))
        self.others_ = None
        self.points_ = {}
        texts = []
        for code, color in zip(chosen, colors(len(chosen)), strict=True):
            points = self.embedding[self.first_codes == code]
            self.points_[code] = _scatter(ax, points, color, size=16)
            texts.append(f"{code} ({len(points)} items)")
        handles = list(self.points_.values())
        if n_others:
            self.others_ = _scatter(ax, self.embedding[others], GREY, size=6)
            self.others_.set(alpha=0.4, zorder=0.5)
            handles.append(self.others_)
            texts.append(f"{n_others} other codes ({others.sum()} items)")
        self._label_codes(ax)
        self._frame(ax)
        add_legend(
            ax,
            handles,
            texts,
            title="first code",
            loc="upper left",
            bbox_to_anchor=(1, 1),
            markerscale=1.6,
        )
        self.ax_, self.figure_ = ax, figure
        return self

    def _label_codes(self, ax: Any) -> None:
        from matplotlib.patheffects import withStroke

        background = background_of(ax)
        for code, points in self.points_.items():
            ax.text(
                *_densest_point(np.asarray(points.get_offsets())),
                str(code),
                color=readable_on(background),
                fontweight="bold",
                ha="center",
                va="center",
                path_effects=[withStroke(linewidth=3, foreground=background)],
            )

    def _frame(self, ax: Any) -> None:
        """Fit the axes to the items, with one scale for both coordinates."""
        ax.margins(0.03)
        ax.set_aspect("equal", adjustable="box")
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        if not any(self.axis_labels):
            ax.set(xticks=[], yticks=[])


def _principal_plane(rows: Any) -> tuple[FloatArray, tuple[str, str]]:
    matrix = check_array(rows, dtype=np.float64)
    if min(matrix.shape) < 2:
        raise ValueError(
            "X must have at least two rows and two columns to be drawn on a plane. Got "
            f"shape {matrix.shape}."
        )
    if (matrix == matrix[0]).all():
        raise ValueError("X must have different rows. Got rows that are all equal.")
    pca = PCA(n_components=2, random_state=0)
    points = pca.fit_transform(matrix)
    first, second = (
        f"principal component {number} ({share:.0%} of the variance)"
        for number, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    return points, (first, second)


def _chosen(first_codes: IntArray, highlight: int | Sequence[int]) -> list[int]:
    present, counts = np.unique(first_codes, return_counts=True)
    if isinstance(highlight, np.ndarray) and highlight.ndim == 0:
        highlight = highlight.item()
    if not isinstance(highlight, Iterable):
        count = check_int("highlight", highlight, minimum=1)
        return present[np.argsort(-counts, kind="stable")][:count].tolist()
    codes = list(highlight)
    if not codes:
        raise ValueError("highlight must have at least one code. Got none.")
    chosen = check_codes([codes], name="highlight")[0].tolist()
    for code in chosen:
        if code not in present:
            raise ValueError(f"highlight must name first codes of items. Got {code!r}.")
    return list(dict.fromkeys(chosen))


def _densest_point(points: FloatArray) -> FloatArray:
    """Return the point with the nearest neighbours, of at most a few hundred."""
    sample = points[:: -(-len(points) // _MAX_LABEL_POINTS)]
    distances = cdist(sample, sample)
    k = len(sample) // 4
    return np.asarray(sample[np.partition(distances, k, axis=1)[:, k].argmin()])


def _scatter(ax: Any, points: FloatArray, color: str, size: float) -> Any:
    return ax.scatter(*points.T, s=size, color=color, linewidths=0)
