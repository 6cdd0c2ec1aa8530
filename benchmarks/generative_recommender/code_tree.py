"""The tree of IDs as dense arrays, for beams whose users have different candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from _contract import Codes
from sk_rqvae import SemanticIDIndex

_SUFFIX_SEED = 0


@dataclass(frozen=True)
class CodeTree:
    """A node for each prefix of an ID. The root is node 0.

    Attributes
    ----------
    children : Tensor of shape (n_nodes, n_codes), int64
        The node that each code leads to, -1 where there is no candidate.
    begin, end : Tensor of shape (n_nodes,), int64
        The items under a node are ``items[begin:end]``.
    items : Tensor of shape (n_items,), int64
        Items in order of their IDs.
    """

    children: Tensor
    begin: Tensor
    end: Tensor
    items: Tensor

    def to(self, device: torch.device) -> CodeTree:
        return CodeTree(
            self.children.to(device),
            self.begin.to(device),
            self.end.to(device),
            self.items.to(device),
        )


def full_ids(codes: Codes) -> Codes:
    """Append a suffix that makes every ID unique, as in TIGER.

    Items with the same codes get their suffixes in random order: that of a file can be
    the order of popularity, and the first suffixes would then be better guesses.
    """
    order = np.random.default_rng(_SUFFIX_SEED).permutation(len(codes))
    ids = np.empty((len(codes), codes.shape[1] + 1), dtype=np.int64)
    ids[order] = SemanticIDIndex(policy="suffix").fit(codes[order]).ids_
    return ids


def code_tree(ids: Codes, candidates: np.ndarray) -> CodeTree:
    """Build the tree of the IDs of some items.

    Parameters
    ----------
    ids : ndarray of shape (n_items, n_levels)
        Unique IDs. All nodes are numbered, so trees of other candidates have the same.
    candidates : ndarray of shape (n_items,), bool
        Nodes that lead to none of them are no children.
    """
    trie = SemanticIDIndex(policy="none", capacity=1).fit(ids).trie()
    items = trie.item_ids.copy()  # a tensor of it must be writable
    arrays = trie.restricted_to(candidates[items]).to_arrays()
    first_child, codes, allowed = (
        arrays["first_child"].astype(np.int64),
        arrays["codes"].astype(np.int64),
        arrays["allowed"],
    )
    n_inner = len(first_child) - 1
    parents = np.repeat(np.arange(n_inner), np.diff(first_child))
    nodes = np.arange(1, trie.n_nodes)
    children = np.full((trie.n_nodes, trie.width), -1)
    children[parents, codes[1:]] = np.where(allowed[1:], nodes, -1)
    begin, end = np.empty((2, trie.n_nodes), dtype=np.int64)
    begin[n_inner:] = np.arange(len(items))
    end[n_inner:] = begin[n_inner:] + 1
    # Children have higher numbers than their parents.
    for first, last in reversed(_levels(arrays["level_ends"])):
        begin[first:last] = begin[first_child[first:last]]
        end[first:last] = end[first_child[first + 1 : last + 1] - 1]
    return CodeTree(*map(torch.from_numpy, (children, begin, end, items)))


def allowed_codes(ids: Codes, tree: CodeTree) -> Tensor:
    """Find the codes that the tree allows along the ID of each item.

    Returns
    -------
    Tensor of shape (n_items, n_levels, n_codes), bool
    """
    nodes = torch.zeros(len(ids), dtype=torch.int64)
    levels = []
    for codes in torch.from_numpy(ids).T:
        children = tree.children[nodes]
        levels.append(children >= 0)
        # Below a prefix without candidates, nothing is allowed.
        nodes = children.gather(1, codes[:, None])[:, 0].clamp(min=0)
    return torch.stack(levels, dim=1)


def _levels(level_ends: np.ndarray) -> list[tuple[int, int]]:
    """Nodes of each level of prefixes that are not complete."""
    starts = [0, *level_ends[:-2].tolist()]
    return list(zip(starts, level_ends[:-1].tolist(), strict=True))
