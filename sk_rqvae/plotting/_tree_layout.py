"""The tree of prefixes as pieces in rows and columns, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sk_rqvae._checks.codes import IntArray


@dataclass(frozen=True, eq=False)
class Piece:
    """The items below a prefix, or below several that are too many to draw.

    Attributes
    ----------
    prefix : tuple of int
        Codes that all items of the piece share.
    depth : int
        Its column, from 1.
    top : int
        Its first row, from 0.
    n_rows : int
        How many leaves are drawn below it, 1 if it is one.
    items : ndarray of shape (n_items,)
        Places of the items.
    n_merged : int
        How many continuations of `prefix` it stands for; 0 if it is that prefix itself.
    """

    prefix: tuple[int, ...]
    depth: int
    top: int
    n_rows: int
    items: IntArray
    n_merged: int = 0


def pieces_of(codes: IntArray, breadth: Sequence[int]) -> list[Piece]:
    """The largest prefixes, below each its largest continuations, and the rests.

    Parameters
    ----------
    codes : ndarray of shape (n_items, n_layers), int64
    breadth : sequence of int
        How many prefixes to take at each depth, below each parent.

    Returns
    -------
    list of Piece
        Children before their parents. What is not taken at depth 1 is left out; below,
        it is one piece, the last of its parent.
    """
    return _grow(codes, (), 0, np.arange(len(codes)), breadth)


def _grow(
    codes: IntArray,
    parent: tuple[int, ...],
    top: int,
    items: IntArray,
    breadth: Sequence[int],
) -> list[Piece]:
    if len(parent) == len(breadth):
        return []
    depth = len(parent) + 1
    column = codes[items, depth - 1]
    values, counts = np.unique(column, return_counts=True)
    ranked = values[np.argsort(-counts, kind="stable")]
    taken = ranked[: breadth[depth - 1]]
    pieces = []
    for code in taken.tolist():
        prefix = (*parent, code)
        members = items[column == code]
        below = _grow(codes, prefix, top, members, breadth)
        n_rows = max(
            1, sum(piece.n_rows for piece in below if piece.depth == depth + 1)
        )
        pieces += [*below, Piece(prefix, depth, top, n_rows, members)]
        top += n_rows
    n_merged = len(ranked) - len(taken)
    if n_merged and parent:
        left_out = items[~np.isin(column, taken)]
        pieces.append(Piece(parent, depth, top, 1, left_out, n_merged))
    return pieces
