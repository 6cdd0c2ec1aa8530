"""The tree of all IDs that exist, as arrays that a batch of beams can be led along."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sk_rqvae import SemanticIDIndex


class Trie:
    """A tree with a node for each prefix of an ID.

    Parameters
    ----------
    index : SemanticIDIndex
        Fitted, with an ID of its own for each item, and items numbered from 0.

    Attributes
    ----------
    codes : Tensor of shape (n_items, n_levels), int64
        The ID of each item.
    paths : Tensor of shape (n_items, n_levels + 1), int64
        The nodes from the root to each item. The root is node 0.
    children : Tensor of shape (n_nodes, n_codes), int64
        The node that each code leads to; -1 where no ID goes on like that.
    items : Tensor of shape (n_nodes,), int64
        The item at a node where an ID ends, -1 elsewhere.
    """

    def __init__(self, index: SemanticIDIndex) -> None:
        ids, trie = index.ids_, index.trie()
        n_items, n_levels = ids.shape
        nodes = np.arange(trie.n_nodes)[:, np.newaxis]
        children = trie.step(nodes, np.arange(trie.width))
        paths = np.full((n_items, n_levels + 1), trie.root)
        for level in range(n_levels):
            paths[:, level + 1] = trie.step(paths[:, level], ids[:, level])
        items = np.full(trie.n_nodes, -1)
        items[paths[:, -1]] = np.arange(n_items)
        self.codes = torch.from_numpy(ids.copy())
        self.paths = torch.from_numpy(paths)
        self.children = torch.from_numpy(children)
        self.items = torch.from_numpy(items)

    def alive(self, allowed: Tensor) -> Tensor:
        """Tell which nodes lead to an allowed item.

        Parameters
        ----------
        allowed : Tensor of shape (n_users, n_items), bool

        Returns
        -------
        Tensor of shape (n_users, n_nodes), bool
        """
        counts = torch.zeros(len(allowed), len(self.children))
        for nodes in self.paths.T:
            counts.index_add_(1, nodes, allowed.float())
        return counts > 0
