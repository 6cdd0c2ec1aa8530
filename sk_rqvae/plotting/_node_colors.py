"""What colour a piece of the tree has, and what it says of its items."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d

from sk_rqvae.metrics._checks import check_same_length
from sk_rqvae.plotting._axes_and_colors import GREY, PALETTE, colours
from sk_rqvae.plotting._tree_layout import Piece


class Tint(Protocol):
    """Colours and texts of pieces, and the key to them."""

    def colour(self, piece: Piece) -> Any:
        """The colour of the piece."""

    def text(self, piece: Piece) -> str:
        """What is written in it beside its code."""

    def explain(self, ax: Any) -> None:
        """Draw the legend or the colour bar."""


def tint_for(labels: ArrayLike | None, pieces: list[Piece], n_items: int) -> Tint:
    """By first code without labels, by mean for floats, else by majority.

    Parameters
    ----------
    labels : array-like of shape (n_items,) or None
    pieces : list of Piece
        All that will be drawn; those that stand for several prefixes have no tint.
    n_items : int

    Returns
    -------
    Tint
    """
    pieces = [piece for piece in pieces if not piece.n_merged]
    if labels is None:
        return _ByFirstCode(pieces)
    given = np.asarray(column_or_1d(labels))
    check_same_length(len(given), n_items, name="labels")
    if given.dtype.kind != "f":
        return _ByMajority(given, pieces)
    if not np.isfinite(given).all():
        raise ValueError("labels must be finite. Leave the other items out.")
    return _ByMean(given, pieces)


class _ByFirstCode:
    def __init__(self, pieces: list[Piece]) -> None:
        firsts = [piece.prefix[0] for piece in pieces if piece.depth == 1]
        self._colours = dict(zip(firsts, colours(len(firsts)), strict=True))

    def colour(self, piece: Piece) -> Any:
        return self._colours[piece.prefix[0]]

    def text(self, piece: Piece) -> str:
        return ""

    def explain(self, ax: Any) -> None:
        pass


class _ByMajority:
    """The commonest majorities have a colour each, the others are grey."""

    def __init__(self, labels: NDArray[Any], pieces: list[Piece]) -> None:
        self._labels = labels
        majorities = [self._majority(piece)[0] for piece in pieces]
        names, counts = np.unique(np.array(majorities), return_counts=True)
        common = names[np.argsort(-counts, kind="stable")][: len(PALETTE)].tolist()
        self._colours = dict(zip(common, PALETTE, strict=False))
        self._has_others = len(names) > len(common)

    def colour(self, piece: Piece) -> Any:
        return self._colours.get(self._majority(piece)[0], GREY)

    def text(self, piece: Piece) -> str:
        label, share = self._majority(piece)
        return f"{label} {share:.0%}"

    def explain(self, ax: Any) -> None:
        from matplotlib.patches import Patch

        entries = [
            Patch(color=colour, label=str(label))
            for label, colour in self._colours.items()
        ]
        if self._has_others:
            entries.append(Patch(color=GREY, label="other labels"))
        ax.figure.legend(
            handles=entries,
            title="commonest label",
            loc="outside lower center",
            ncols=min(len(entries), 4),
        )

    def _majority(self, piece: Piece) -> tuple[Any, float]:
        names, counts = np.unique(self._labels[piece.items], return_counts=True)
        return names[counts.argmax()].item(), counts.max() / counts.sum()


class _ByMean:
    """A colour map over the means of the pieces."""

    def __init__(self, labels: NDArray[Any], pieces: list[Piece]) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self._labels = labels
        means = [self._mean(piece) for piece in pieces]
        self._scale: Any = ScalarMappable(Normalize(min(means), max(means)), "viridis")

    def colour(self, piece: Piece) -> Any:
        return self._scale.to_rgba(self._mean(piece))

    def text(self, piece: Piece) -> str:
        return f"{self._mean(piece):.3g}"

    def explain(self, ax: Any) -> None:
        ax.figure.colorbar(self._scale, ax=ax, label="mean label")

    def _mean(self, piece: Piece) -> float:
        return float(self._labels[piece.items].mean())
