"""Rows and columns of the nodes of the ID tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sk_rqvae._checks.codes import IntArray


@dataclass(frozen=True, eq=False)
class Node:
    """A prefix and its items, or the children of a prefix that are not drawn.

    Attributes
    ----------
    prefix : tuple of int
        Codes that all items of the node have in common.
    depth : int
        Its column, from 1.
    top : int
        Its first row, from 0.
    n_rows : int
        Number of leaves that are drawn under it, at least 1.
    items : ndarray of shape (n_items,)
        Indices of the items.
    n_merged : int
        Number of children of `prefix` that the node replaces. 0 for the node of the
        prefix itself.
    """

    prefix: tuple[int, ...]
    depth: int
    top: int
    n_rows: int
    items: IntArray
    n_merged: int = 0


def tree_nodes(codes: IntArray, breadth: Sequence[int]) -> list[Node]:
    """Choose the prefixes with the most items, and lay them out in rows and columns.

    Parameters
    ----------
    codes : ndarray of shape (n_items, n_layers), int64
        IDs.
    breadth : sequence of int
        Number of prefixes to draw at each level, under each parent.

    Returns
    -------
    list of Node
        Children before their parents. First codes that are not drawn have no node. At
        deeper levels, one node replaces the children that are not drawn. It is the last
        child of its parent.
    """
    return _children(codes, (), 0, np.arange(len(codes)), breadth)


def _children(
    codes: IntArray,
    parent: tuple[int, ...],
    top: int,
    items: IntArray,
    breadth: Sequence[int],
) -> list[Node]:
    if len(parent) == len(breadth):
        return []
    depth = len(parent) + 1
    column = codes[items, depth - 1]
    values, counts = np.unique(column, return_counts=True)
    ranked = values[np.argsort(-counts, kind="stable")]
    drawn = ranked[: breadth[depth - 1]]
    nodes = []
    for code in drawn.tolist():
        prefix = (*parent, code)
        members = items[column == code]
        below = _children(codes, prefix, top, members, breadth)
        n_rows = max(1, sum(node.n_rows for node in below if node.depth == depth + 1))
        nodes += [*below, Node(prefix, depth, top, n_rows, members)]
        top += n_rows
    n_merged = len(ranked) - len(drawn)
    if n_merged and parent:
        merged = items[~np.isin(column, drawn)]
        nodes.append(Node(parent, depth, top, 1, merged, n_merged))
    return nodes
