"""Items on a plane, by their first code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.utils import check_array

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._sklearn.pipeline import path_to_quantizer
from sk_rqvae.metrics._checks import (
    check_count,
    check_item_codes,
    check_matrix,
    check_same_length,
)
from sk_rqvae.plotting._axes_and_colors import GREY, axes_for, colours

FloatArray = NDArray[np.float64]

_SIZE = (8.0, 5.0)
_HIGHLIGHTED = 10


class ItemMapDisplay:
    """Items as points on a plane, coloured by their first code.

    A few codes are highlighted, as no palette has hundreds of colours that can be told
    apart. The other items are grey.

    Make it with `from_estimator` or `from_codes`.

    Parameters
    ----------
    first_codes : ndarray of shape (n_items,), int64
        The first code of each item.
    embedding : ndarray of shape (n_items, 2)
        Where the items are.
    axis_labels : tuple of str, default=("", "")
        What the two coordinates are.

    Attributes
    ----------
    points_ : dict of int to matplotlib.collections.PathCollection
        The items of each highlighted code.
    others_ : matplotlib.collections.PathCollection or None
        The items of all other codes, if there are any.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Examples
    --------
    >>> from sk_rqvae.plotting import ItemMapDisplay
    >>> codes = [[0, 1], [0, 2], [3, 1]]
    >>> places = [[0.0, 0.0], [0.0, 1.0], [5.0, 0.0]]
    >>> display = ItemMapDisplay.from_codes(codes, places)
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
        """Draw rows by the first code that a fitted transformer gives them.

        Parameters
        ----------
        estimator : estimator
            A fitted transformer, or a fitted Pipeline that has one in it.
        X : array-like of shape (n_items, n_features)
            Input of the estimator.
        embedding : array-like of shape (n_items, 2), default=None
            Where to draw the items, from t-SNE, say. None takes the first two principal
            components of what reaches the transformer.
        highlight : int or sequence of int, default=10
            Codes that get a colour of their own: as many of the commonest, or these.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ItemMapDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the transformer is not fitted.
        ValueError
            If `embedding` has another shape, or no item has a code of `highlight`.
        ImportError
            If matplotlib is not installed.
        """
        path = path_to_quantizer(estimator)
        rows = path.rows(X)
        codes = path.quantizer.transform(rows)
        if embedding is not None:
            return cls.from_codes(codes, embedding, highlight=highlight, ax=ax)
        places, axis_labels = _principal_plane(rows)
        return cls(
            first_codes=np.asarray(codes)[:, 0],
            embedding=places,
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
        """Draw items by the first of their codes.

        Parameters
        ----------
        codes : array-like of shape (n_items, n_layers)
            IDs, one code per level.
        embedding : array-like of shape (n_items, 2)
            Where to draw the items.
        highlight : int or sequence of int, default=10
            Codes that get a colour of their own: as many of the commonest, or these.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        ItemMapDisplay

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
        places = check_matrix(embedding, name="embedding").astype(np.float64)
        check_same_length(len(places), len(first_codes), name="embedding")
        if places.shape[1] != 2:
            raise ValueError(f"embedding must have 2 columns. Got {places.shape[1]}.")
        display = cls(first_codes=first_codes, embedding=places)
        return display.plot(ax, highlight=highlight)

    def plot(
        self, ax: Any = None, *, highlight: int | Sequence[int] = _HIGHLIGHTED
    ) -> ItemMapDisplay:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a new figure.
        highlight : int or sequence of int, default=10
            Codes that get a colour of their own: as many of the commonest, or these.

        Returns
        -------
        ItemMapDisplay
            Itself.

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
        if n_others:
            text = f"{n_others} other codes ({others.sum()} items)"
            self.others_ = _scatter(ax, self.embedding[others], GREY, text)
            self.others_.set_alpha(0.3)
        self.points_ = {}
        for code, colour in zip(chosen, colours(len(chosen)), strict=True):
            places = self.embedding[self.first_codes == code]
            text = f"{code} ({len(places)} items)"
            self.points_[code] = _scatter(ax, places, colour, text)
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        ax.set_aspect("equal", adjustable="datalim")
        ax.legend(
            title="first code",
            loc="upper left",
            bbox_to_anchor=(1, 1),
            markerscale=2,
        )
        self.ax_, self.figure_ = ax, figure
        return self


def _principal_plane(rows: Any) -> tuple[FloatArray, tuple[str, str]]:
    matrix = check_array(rows, dtype=np.float64, ensure_min_features=2)
    pca = PCA(n_components=2, random_state=0)
    places = pca.fit_transform(matrix)
    first, second = (
        f"principal component {number} ({share:.0%} of the variance)"
        for number, share in enumerate(pca.explained_variance_ratio_, start=1)
    )
    return places, (first, second)


def _chosen(first_codes: IntArray, highlight: int | Sequence[int]) -> list[int]:
    present, counts = np.unique(first_codes, return_counts=True)
    if isinstance(highlight, int | np.integer):
        count = check_count(highlight, name="highlight")
        return present[np.argsort(-counts, kind="stable")][:count].tolist()
    chosen = check_codes([list(highlight)], name="highlight")[0].tolist()
    for code in chosen:
        if code not in present:
            raise ValueError(f"highlight must be first codes of items. Got {code!r}.")
    return chosen


def _scatter(ax: Any, places: FloatArray, colour: str, text: str) -> Any:
    return ax.scatter(*places.T, s=9, color=colour, linewidths=0, label=text)
