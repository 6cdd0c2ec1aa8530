"""Colours and texts of the nodes of the ID tree, by labels of their items."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_rqvae.metrics._checks import check_labels
from sk_rqvae.plotting._axes import add_legend
from sk_rqvae.plotting._colors import (
    GREY,
    PALETTE,
    Color,
    background_of,
    colors,
    tint,
)
from sk_rqvae.plotting._tree_layout import Node


class NodeColors(Protocol):
    """Colours and texts of nodes, and the legend that explains them."""

    def fill(self, node: Node, background: Color) -> Color:
        """Colour of the node, on axes of the given background."""

    def text(self, node: Node) -> str:
        """Text that is written in the node beside its code."""

    def add_legend(self, ax: Any) -> None:
        """Draw the legend or the colour bar."""


def check_finite_labels(labels: ArrayLike, n_items: int) -> NDArray[Any]:
    """Return labels as a 1-D array, none missing; floats must be finite."""
    given = check_labels(labels, n_items)
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        item = (~np.isfinite(given)).argmax()
        raise ValueError(f"labels must be finite. Got {given[item]} for item {item}.")
    return given


def node_colors(
    labels: ArrayLike | None, nodes: list[Node], n_items: int
) -> NodeColors:
    """Choose how nodes are coloured.

    Parameters
    ----------
    labels : array-like of shape (n_items,) or None
        Floats colour by their mean, other labels by majority. None colours by the first
        code.
    nodes : list of Node
        All nodes that are drawn. Nodes that replace several prefixes have no colour.
    n_items : int

    Returns
    -------
    NodeColors
    """
    nodes = [node for node in nodes if not node.n_merged]
    if labels is None:
        return _ByFirstCode(nodes)
    given = check_finite_labels(labels, n_items)
    return (_ByMean if given.dtype.kind == "f" else _ByMajority)(given, nodes)


class _ByFirstCode:
    def __init__(self, nodes: list[Node]) -> None:
        firsts = [node.prefix[0] for node in nodes if node.depth == 1]
        self._colors = dict(zip(firsts, colors(len(firsts)), strict=True))

    def fill(self, node: Node, background: Color) -> Color:
        return tint(self._colors[node.prefix[0]], background)

    def text(self, node: Node) -> str:
        return ""

    def add_legend(self, ax: Any) -> None:
        pass


class _ByMajority:
    """The most frequent majority labels have colours, the others are grey."""

    def __init__(self, labels: NDArray[Any], nodes: list[Node]) -> None:
        self._labels = labels
        majorities = [self._majority(node)[0] for node in nodes]
        names, counts = np.unique(np.array(majorities), return_counts=True)
        frequent = names[np.argsort(-counts, kind="stable")][: len(PALETTE)].tolist()
        self._colors = dict(zip(frequent, PALETTE, strict=False))
        self._has_others = len(names) > len(frequent)

    def fill(self, node: Node, background: Color) -> Color:
        return tint(self._colors.get(self._majority(node)[0], GREY), background)

    def text(self, node: Node) -> str:
        label, share = self._majority(node)
        return f"{label} {share:.0%}"

    def add_legend(self, ax: Any) -> None:
        from matplotlib.patches import Patch

        background = background_of(ax)
        entries: list[tuple[Any, Any]] = [
            (tint(color, background), label) for label, color in self._colors.items()
        ]
        if self._has_others:
            entries.append((tint(GREY, background), "other labels"))
        add_legend(
            ax.figure,
            [Patch(color=color) for color, _ in entries],
            [label for _, label in entries],
            title="most frequent label",
            loc="outside lower center",
            ncols=min(len(entries), 4),
        )

    def _majority(self, node: Node) -> tuple[Any, float]:
        names, counts = np.unique(self._labels[node.items], return_counts=True)
        return names.tolist()[counts.argmax()], counts.max() / counts.sum()


class _ByMean:
    """A colour map of the mean labels of the nodes."""

    def __init__(self, labels: NDArray[Any], nodes: list[Node]) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        self._labels = labels
        means = [self._mean(node) for node in nodes]
        self._scale: Any = ScalarMappable(Normalize(min(means), max(means)), "viridis")

    def fill(self, node: Node, background: Color) -> Color:
        return tuple(self._scale.to_rgba(self._mean(node)))

    def text(self, node: Node) -> str:
        return f"{self._mean(node):.4g}"

    def add_legend(self, ax: Any) -> None:
        ax.figure.colorbar(self._scale, ax=ax, label="mean label")

    def _mean(self, node: Node) -> float:
        return float(self._labels[node.items].mean())
