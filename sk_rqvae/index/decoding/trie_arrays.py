"""The arrays of a trie in compressed sparse rows, as NumPy arrays or tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._checks.missing import check_unmasked
from sk_rqvae.index.decoding.item_positions import ItemPositions
from sk_rqvae.index.engine.growing import small_unsigned
from sk_rqvae.index.items import checked_item_ids

_INT32 = np.iinfo(np.int32)

_TRUTH = (bool, np.bool_)
# Of NumPy, pandas (three kinds), polars and torch, in small letters.
_BOOLEAN_TYPES = ("bool", "boolean", "bool[pyarrow]", "torch.bool")


class TrieArrays(NamedTuple):
    """A tree of prefixes. Nodes are numbered level by level, in order of the prefixes.

    Attributes
    ----------
    first_child : array of shape (n_inner + 1,)
        The children of node v are the nodes ``first_child[v]`` to
        ``first_child[v + 1] - 1``. Complete IDs have no children and no entry.
    codes : array of shape (n_nodes,)
        The code that leads to each node; 0 for the root.
    leaf_starts : array of shape (n_ids + 1,)
        The items of complete ID i are those from ``leaf_starts[i]`` to
        ``leaf_starts[i + 1] - 1``, in order of the IDs.
    level_ends : ndarray of shape (n_levels + 1,), int64
        Where the nodes of each level end. The root is level 0.
    max_children : int
        Of a node.
    n_items : int
    """

    first_child: Any
    codes: Any
    leaf_starts: Any
    level_ends: IntArray
    max_children: int
    n_items: int

    @classmethod
    def of_sorted(cls, ids: IntArray) -> TrieArrays:
        """Build a trie of at least one ID, ``(n, n_levels)`` and sorted."""
        n_items, n_levels = ids.shape
        begins = np.zeros(n_items, dtype=bool)
        begins[0] = True
        starts = [np.zeros(1, dtype=np.int64)]
        codes = [np.zeros(1, dtype=np.int64)]
        for level in range(n_levels):
            begins[1:] |= ids[1:, level] != ids[:-1, level]
            at = np.flatnonzero(begins)
            starts.append(at)
            codes.append(ids[at, level])
        level_ends = np.cumsum([len(at) for at in starts])
        first_child = np.concatenate(
            [
                level_ends[level] + np.searchsorted(starts[level + 1], starts[level])
                for level in range(n_levels)
            ]
        )
        first_child = np.append(first_child, level_ends[-1])
        return cls(
            _small_signed(first_child),
            small_unsigned(np.concatenate(codes)),
            _small_signed(np.append(starts[-1], n_items)),
            level_ends,
            int(np.diff(first_child).max()),
            n_items,
        )

    @property
    def n_inner(self) -> int:
        """Nodes that are not complete IDs."""
        return len(self.first_child) - 1

    @property
    def shared(self) -> bool:
        """Whether an ID has several items."""
        return self.n_items > len(self.leaf_starts) - 1

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(a.nbytes for a in (self.first_child, self.codes, self.leaf_starts))

    def first_leaf(self, states: Any) -> Any:
        """Return the position of the first item of each complete ID, or -1."""
        leaf = states - self.n_inner
        first = widened(self.leaf_starts[leaf.clip(0, None)])
        return first * (leaf >= 0) - 1 * (leaf < 0)

    def n_leaves(self, states: Any) -> Any:
        """Count the items of each complete ID."""
        leaf = states - self.n_inner
        known = leaf.clip(0, None)
        counts = self.leaf_starts[known + 1] - self.leaf_starts[known]
        return counts * (leaf >= 0)

    def alive(self, mask: Any) -> Any:
        """Return which nodes have an item under them that a mask allows.

        `mask` is of shape (n_items,) and in order of the IDs.
        """
        total = mask.cumsum(0)
        before = zeros_like(total, self.n_items + 1)
        before[1:] = total
        alive = zeros_like(mask, len(self.codes))
        starts = [0, *self.level_ends[:-1].tolist()]
        ends = self.level_ends.tolist()
        bounds = before[self.leaf_starts] if self.shared else before
        for level in reversed(range(len(ends))):
            start, end = starts[level], ends[level]
            alive[start:end] = bounds[1:] > bounds[:-1]
            if level:
                above = self.first_child[starts[level - 1] : ends[level - 1] + 1]
                bounds = bounds[above - start]
        return alive

    def bitmaps(self, width: int) -> NDArray[np.uint8]:
        """Return a bit a code for inner nodes, and a last row without any bit."""
        row_bytes = -(-width // 8)
        bits = np.zeros((self.n_inner + 1) * row_bytes, dtype=np.uint8)
        parents = np.repeat(np.arange(self.n_inner), np.diff(self.first_child))
        codes = self.codes[1:].astype(np.int64)
        values = np.left_shift(1, codes % 8).astype(np.uint8)
        at = parents * row_bytes + codes // 8
        # Children are in order, so those that share a byte are neighbours.
        first = np.flatnonzero(np.diff(at, prepend=-1))
        bits[at[first]] = np.bitwise_or.reduceat(values, first)
        return bits.reshape(self.n_inner + 1, row_bytes)

    def on_cpu(self) -> TrieArrays:
        """Return the arrays as NumPy arrays."""
        if isinstance(self.codes, np.ndarray):
            return self
        return self._replace(
            first_child=self.first_child.cpu().numpy(),
            codes=small_unsigned(self.codes.cpu().numpy()),
            leaf_starts=self.leaf_starts.cpu().numpy(),
        )

    def to(self, torch: Any, device: Any) -> TrieArrays:
        """Return the arrays as tensors on a device."""
        arrays = self.on_cpu()
        # PyTorch has few operations for unsigned types.
        codes = (
            arrays.codes
            if arrays.codes.dtype == np.uint8
            else _small_signed(arrays.codes)
        )
        return self._replace(
            first_child=torch.as_tensor(arrays.first_child).to(device),
            codes=torch.as_tensor(codes).to(device),
            leaf_starts=torch.as_tensor(arrays.leaf_starts).to(device),
        )


def item_mask(items: Any, positions: ItemPositions) -> Any:
    """Return which of all items are among some items, or check and copy a mask."""
    if _is_mask(items):
        mask = items.clone() if hasattr(items, "numel") else _as_mask(items)
        expected = positions.items.shape
        if tuple(mask.shape) != expected:
            raise ValueError(
                f"a mask of items must have shape {expected}. Got {tuple(mask.shape)}."
            )
        return mask
    return positions.mask(checked_item_ids(items))


def _is_mask(items: Any) -> bool:
    """Whether items are truth values, of whatever library."""
    if isinstance(items, list | tuple):
        return len(items) > 0 and all(isinstance(each, _TRUTH) for each in items)
    return str(getattr(items, "dtype", "")).lower() in _BOOLEAN_TYPES


def _as_mask(items: Any) -> NDArray[np.bool_]:
    check_unmasked(items, "a mask of items", instead="mask.filled(False)")
    if getattr(items, "dtype", None) == np.bool_:
        return np.array(items)
    values = np.asarray(items, dtype=object)
    missing = [not isinstance(value, _TRUTH) for value in values.flat]
    if any(missing):
        raise ValueError(
            "a mask of items must not have missing values. Got one at position "
            f"{missing.index(True)}."
        )
    return values.astype(bool)


def is_tensor(array: Any) -> bool:
    """Whether values are PyTorch tensors, without importing PyTorch."""
    return not isinstance(array, np.ndarray | np.generic)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def widened(array: Any) -> Any:
    """Return integers as int64."""
    return array.long() if is_tensor(array) else array.astype(np.int64)


def zeros_like(array: Any, length: int) -> Any:
    """Return zeros of the type of an array and on its device."""
    if is_tensor(array):
        return array.new_zeros(length)
    return np.zeros(length, dtype=array.dtype)


def _small_signed(array: NDArray[Any]) -> NDArray[Any]:
    """Cast integers to int32 if that holds them."""
    fits = int(array.max(initial=0)) <= _INT32.max
    return array.astype(np.int32 if fits else np.int64)
