"""The tree of all IDs that exist, as arrays that a batch of beams moves through."""

from __future__ import annotations

import copy
import importlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.index.decoding.item_positions import ItemPositions
from sk_rqvae.index.decoding.trie_arrays import (
    TrieArrays,
    is_tensor,
    item_mask,
    read_only,
)
from sk_rqvae.index.decoding.trie_masks import (
    allowed_by_bitmap,
    allowed_by_children,
    child_of,
)
from sk_rqvae.index.items import with_default

# A trie whose bitmaps would take more bytes than this looks children up one by one.
_BITMAP_BYTES = 2**28
_ON_DEVICE = ("_bitmaps", "_alive", "_allowed_items")


class IDTrie:
    """The prefixes of all IDs of a catalogue, for constrained decoding in batches.

    Made by `SemanticIDIndex.trie`. It holds the items that the index had then.

    A state is the number of a prefix. `root` is the empty prefix; -1 is the state of
    a prefix that no ID has, in which nothing is allowed. States and codes are NumPy
    arrays or PyTorch tensors of any shape; what is returned is of the same kind and on
    the same device. For tensors on a GPU, put the trie there with `to`. Then no call
    but `items` waits for the GPU.

    Parameters
    ----------
    arrays : TrieArrays
    items : ndarray of shape (n_items,)
        Items in order of their IDs.
    width : int
        Columns of the masks: the largest codebook, or the suffix if it is larger.
    shared : bool
        Whether an ID can be that of several items.

    Attributes
    ----------
    root : int
        The state before the first code.
    n_nodes : int
        Prefixes, the empty one included.
    n_levels : int
        Codes of an ID.
    width : int
    nbytes : int
        Memory of the arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_rqvae import SemanticIDIndex
    >>> index = SemanticIDIndex(policy="none", codebook_size=3, capacity=1)
    >>> trie = index.fit([[0, 1], [0, 2], [2, 0]], ["ant", "bee", "cat"]).trie()
    >>> states = np.full(2, trie.root)
    >>> trie.allowed(states)
    array([[ True, False,  True],
           [ True, False,  True]])
    >>> states = trie.step(states, np.array([0, 2]))
    >>> trie.allowed(states)
    array([[False,  True,  True],
           [ True, False, False]])
    >>> trie.items(trie.step(states, np.array([2, 0])))
    array(['bee', 'cat'], dtype=object)
    >>> trie.restricted_to(["ant", "cat"]).allowed(states)
    array([[False,  True, False],
           [ True, False, False]])
    """

    root = 0

    def __init__(
        self, arrays: TrieArrays, items: NDArray[Any], width: int, *, shared: bool
    ) -> None:
        self._arrays = arrays
        self._items = items
        self._positions = ItemPositions(items)
        self._shared = shared
        self.width = width
        self.n_nodes = len(arrays.codes)
        self.n_levels = len(arrays.level_ends) - 1
        self._alive: Any = None
        self._allowed_items: Any = None
        fits = arrays.n_inner * -(-width // 8) <= _BITMAP_BYTES
        self._bitmaps: Any = arrays.bitmaps(width) if fits else None

    @property
    def nbytes(self) -> int:
        """Memory of the arrays, without the items."""
        optional = (self._alive, self._bitmaps)
        return self._arrays.nbytes + sum(a.nbytes for a in optional if a is not None)

    def allowed(self, states: Any) -> Any:
        """Find the codes that continue each state to an ID that exists.

        Parameters
        ----------
        states : array or tensor of shape (...), int64

        Returns
        -------
        array or tensor of shape (..., width), bool
            Nothing is allowed after a complete ID.
        """
        if self._converts(states):
            return _as_tensor(self.allowed(states.numpy()))
        flat = states.reshape(-1)
        if self._alive is None and self._bitmaps is not None:
            mask = allowed_by_bitmap(self._bitmaps, flat, self.width)
        else:
            mask = allowed_by_children(self._arrays, self._alive, flat, self.width)
        return mask.reshape(*states.shape, self.width)

    def step(self, states: Any, codes: Any) -> Any:
        """Move from each state along a code.

        Parameters
        ----------
        states, codes : array or tensor of shape (...), int64

        Returns
        -------
        array or tensor of shape (...), int64
            The states after the codes, -1 where a code is not allowed.
        """
        if self._converts(states):
            return _as_tensor(self.step(states.numpy(), _on_cpu(codes)))
        return child_of(self._arrays, self._alive, states, codes)

    def leaves(self, states: Any) -> Any:
        """Find the positions of items in order of their IDs.

        Parameters
        ----------
        states : array or tensor of shape (...), int64
            States of complete IDs.

        Returns
        -------
        array or tensor of shape (...), int64
            The position of the first item of each ID in ``item_ids``; -1 for a state
            that is no complete ID.
        """
        if self._converts(states):
            return _as_tensor(self.leaves(states.numpy()))
        return self._arrays.first_leaf(states)

    @property
    def item_ids(self) -> NDArray[Any]:
        """The items in order of their IDs, read-only."""
        return read_only(self._items)

    def items(self, states: Any, default: Any = None) -> Any:
        """Find the items of complete IDs.

        Parameters
        ----------
        states : array or tensor of shape (n,), int64
        default : object, default=None
            What is returned for a state that is no complete ID, or if all its items are
            restricted.

        Returns
        -------
        ndarray of shape (n,), or list of n ndarrays
            The item of each state. If items share IDs, a read-only array of all items
            of each, by descending weight.
        """
        flat = _on_cpu(states).reshape(-1)
        arrays = self._arrays.on_cpu()
        first, counts = arrays.first_leaf(flat), arrays.n_leaves(flat)
        if self._shared:
            found = [
                self._of_leaves(start, start + count) if start >= 0 else ()
                for start, count in zip(first.tolist(), counts.tolist(), strict=True)
            ]
            return [items if len(items) else default for items in found]
        known = first >= 0
        if self._allowed_items is not None:
            known &= _on_cpu(self._allowed_items)[np.maximum(first, 0)]
        if known.all():
            return self._items[first]
        return with_default(self._items[np.maximum(first, 0)], ~known, default)

    def restricted_to(self, items: Any) -> Self:
        """Allow some items only, such as those in stock or not seen by a user.

        This takes one pass over the nodes and shares all other memory, so that it can
        be done for every request. The result can be restricted further. The first
        restriction to some strings sorts the strings of all items.

        Parameters
        ----------
        items : array-like of items, or bool array or tensor of shape (n_items,)
            Items that the trie does not have are ignored. A mask is in the order of
            `item_ids`. A tensor must be on the device of the trie.

        Returns
        -------
        IDTrie
        """
        mask = item_mask(items, self._positions)
        on_device = is_tensor(self._arrays.codes)
        if on_device and not is_tensor(mask):
            torch = importlib.import_module("torch")
            mask = torch.as_tensor(mask).to(self._arrays.codes.device)
        elif is_tensor(mask) and not on_device:
            mask = _on_cpu(mask)
        if self._allowed_items is not None:
            mask = mask & self._allowed_items
        restricted = copy.copy(self)
        restricted._allowed_items = mask
        restricted._alive = self._arrays.alive(mask)
        return restricted

    def to(self, device: Any) -> Self:
        """Put the arrays on a PyTorch device, for states that are tensors.

        Parameters
        ----------
        device : str or torch.device

        Returns
        -------
        IDTrie
        """
        torch = importlib.import_module("torch")
        moved = copy.copy(self)
        on_cpu = torch.device(device).type == "cpu"
        # Tensors on the CPU share memory with NumPy arrays, which are faster here.
        moved._arrays = (
            self._arrays.on_cpu() if on_cpu else self._arrays.to(torch, device)
        )
        for name in _ON_DEVICE:
            value = getattr(self, name)
            if value is not None:
                there = _on_cpu(value) if on_cpu else torch.as_tensor(value).to(device)
                setattr(moved, name, there)
        return moved

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the tree as plain arrays, for a decoder that is not Python.

        Returns
        -------
        dict of str to ndarray, read-only
            - ``first_child``, (n_inner + 1,): the children of node v are the nodes from
              ``first_child[v]`` up to, but not including, ``first_child[v + 1]``, in
              order of their codes.
              Nodes from n_inner on are complete IDs and have no children;
            - ``codes``, (n_nodes,): the code that leads to each node;
            - ``level_ends``, (n_levels + 1,): nodes are numbered level by level, and
              those of level l end before ``level_ends[l]``;
            - ``first_leaf``, (n_ids + 1,): the items of complete ID i are those of
              ``item_ids`` from ``first_leaf[i]`` up to, but not including,
              ``first_leaf[i + 1]``;
            - ``allowed``, (n_nodes,), bool: whether an item under each node is allowed.
        """
        arrays = self._arrays.on_cpu()
        everywhere = np.ones(self.n_nodes, dtype=bool)
        found = {
            "first_child": arrays.first_child,
            "codes": arrays.codes,
            "level_ends": arrays.level_ends,
            "first_leaf": arrays.leaf_starts,
            "allowed": everywhere if self._alive is None else _on_cpu(self._alive),
        }
        return {name: read_only(array) for name, array in found.items()}

    def _converts(self, states: Any) -> bool:
        """Whether states are tensors that NumPy can read."""
        return is_tensor(states) and not is_tensor(self._arrays.codes)

    def _of_leaves(self, start: int, stop: int) -> NDArray[Any]:
        items = self.item_ids[start:stop]
        if self._allowed_items is None:
            return items
        return items[_on_cpu(self._allowed_items[start:stop])]


def _as_tensor(array: NDArray[Any]) -> Any:
    return importlib.import_module("torch").from_numpy(np.asarray(array))


def _on_cpu(array: Any) -> NDArray[Any]:
    return array.cpu().numpy() if is_tensor(array) else np.asarray(array)
