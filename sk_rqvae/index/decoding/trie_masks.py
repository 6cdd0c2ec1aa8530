"""One step of a batch through a trie, for NumPy arrays and PyTorch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.decoding.trie_arrays import TrieArrays, is_tensor, widened
from sk_rqvae.index.engine.runs import ranges


def allowed_by_bitmap(bitmaps: Any, states: Any, width: int) -> Any:
    """Return the mask of each state from a table of bits.

    The last row of `bitmaps`, without any bit, is that of -1 and of complete IDs.
    """
    last = len(bitmaps) - 1
    if not is_tensor(bitmaps):
        rows = bitmaps[np.minimum(states, last)]
        return np.unpackbits(rows, axis=1, count=width, bitorder="little").view(bool)
    rows = bitmaps[states.clamp(max=last)]
    # Made on the device, because copying to it would wait for it.
    shifts = (rows.new_ones(8).cumsum(0) - 1).to(rows.dtype)
    bits = (rows[..., None] >> shifts) & 1
    return bits.bool().reshape(len(states), -1)[:, :width]


def allowed_by_children(arrays: TrieArrays, alive: Any, states: Any, width: int) -> Any:
    """Return the mask of each state from its children that are alive.

    `alive` is None if all are.
    """
    if not is_tensor(states):
        # Beams share prefixes, above all in the first levels, where nodes have most
        # children.
        distinct, inverse = np.unique(states, return_inverse=True)
        return _masks_of(arrays, alive, distinct, width)[inverse]
    low, end = _child_range(arrays, states)
    # As many columns as the most children, so that no shape depends on the data.
    at = low.new_ones(arrays.max_children).cumsum(0) - 1
    children = low[:, None] + at
    valid = children < end[:, None]
    children = children.clamp(max=len(arrays.codes) - 1)
    if alive is not None:
        valid = valid & alive[children]
    codes = arrays.codes[children].long().masked_fill(~valid, width)
    mask = valid.new_zeros(len(states), width + 1)
    return mask.scatter_(1, codes, valid)[:, :width]


def child_of(arrays: TrieArrays, alive: Any, states: Any, codes: Any) -> Any:
    """Return the child of each state that a code leads to, or -1."""
    at, end = _child_range(arrays, states)
    last = len(arrays.codes) - 1
    max_children = arrays.max_children
    if not is_tensor(states):
        max_children = int((end - at).max(initial=0))
    # A binary search among children, bit by bit of the position.
    for bit in reversed(range(max_children.bit_length())):
        further = at + (1 << bit)
        smaller = arrays.codes[(further - 1).clip(0, last)] < codes
        at = at + ((further <= end) & smaller) * (1 << bit)
    child = at.clip(0, last)
    found = (at < end) & (arrays.codes[child] == codes)
    if alive is not None:
        found = found & alive[child]
    return child * found - 1 * ~found


def _child_range(arrays: TrieArrays, states: Any) -> tuple[Any, Any]:
    """Return the first child of each state and the end of its children."""
    inner = (states >= 0) & (states < arrays.n_inner)
    known = states * inner
    low = widened(arrays.first_child[known])
    end = widened(arrays.first_child[known + 1])
    return low, low + (end - low) * inner


def _masks_of(
    arrays: TrieArrays, alive: Any, states: IntArray, width: int
) -> NDArray[np.bool_]:
    low, end = _child_range(arrays, states)
    children = ranges(low, end - low)
    rows = np.repeat(np.arange(len(states)), end - low)
    if alive is not None:
        rows, children = rows[alive[children]], children[alive[children]]
    mask = np.zeros((len(states), width), dtype=bool)
    mask[rows, arrays.codes[children]] = True
    return mask
