"""Recommend items to many users at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generative_recommender.batches import QueryBatch
from generative_recommender.code_tree import CodeTree
from generative_recommender.layers import Weights
from generative_recommender.recommenders import (
    Catalogue,
    code_logits,
    item_vectors,
    user_states,
)

NOTHING = -1


def states_of(weights: Weights, catalogue: Catalogue, batch: QueryBatch) -> Tensor:
    """The state after the last item of each history, of shape (n_users, width)."""
    everywhere = torch.arange(batch.items.shape[1], device=batch.items.device)
    states = user_states(weights, catalogue.ids, batch.items[None], everywhere)[0]
    return states[torch.arange(len(states), device=states.device), batch.last]


def best_items(
    weights: Weights, catalogue: Catalogue, batch: QueryBatch, k: int
) -> Tensor:
    """Rank candidates by the product of vectors, for the weights of one run.

    Returns
    -------
    Tensor of shape (n_users, k), int64
        Best first; -1 where there are fewer candidates.
    """
    vectors = item_vectors(weights, catalogue.ids)[0]
    scores = (states_of(weights, catalogue, batch) @ vectors.T).float()
    scores = scores.masked_fill(~batch.candidates, -torch.inf)
    best, items = scores.topk(min(k, scores.shape[1]), dim=1)
    return _padded(items.masked_fill(best.isinf(), NOTHING), k)


def generated_items(
    weights: Weights,
    catalogue: Catalogue,
    tree: CodeTree,
    batch: QueryBatch,
    n_beams: int,
) -> Tensor:
    """Generate IDs by a beam search in the tree, for the weights of one run.

    A prefix with no candidate of a user under it is not followed.

    Returns
    -------
    Tensor of shape (n_users, n_beams), int64
        Items of the IDs, the most probable first; -1 where there are fewer candidates.
    """
    states = states_of(weights, catalogue, batch)
    n_users, n_levels = len(states), catalogue.ids.shape[2]
    n_codes, width = tree.children.shape[1], states.shape[1]
    # The number of candidates before each item, in order of IDs.
    before = F.pad(batch.candidates[:, tree.items].cumsum(1), (1, 0))
    nodes = batch.last.new_zeros(n_users, 1)
    scores = states.new_zeros(n_users, 1, dtype=torch.float32)
    sums = states.new_zeros(n_users, 1, width)
    for level in range(n_levels):
        n_now = nodes.shape[1]
        logits = code_logits(
            weights,
            states.repeat_interleave(n_now, dim=0)[None],
            sums.view(1, n_users * n_now, 1, width),
            level,
        )
        children = tree.children[nodes].flatten(1)
        logits = logits.float().view(n_users, n_now, n_codes)
        logits = logits.masked_fill(children.view(logits.shape) < 0, -torch.inf)
        # A dead beam has no children: its probabilities are not numbers.
        log_probs = logits.log_softmax(2).nan_to_num(nan=-torch.inf)
        known = children.clamp(min=0)
        alive = before.gather(1, tree.end[known]) > before.gather(1, tree.begin[known])
        scores = (scores[:, :, None] + log_probs).flatten(1)
        scores = scores.masked_fill((children < 0) | ~alive, -torch.inf)
        scores, best = scores.topk(min(n_beams, scores.shape[1]), dim=1)
        beams, codes = best // n_codes, best % n_codes
        nodes = known.gather(1, best)
        sums = sums.gather(1, beams[..., None].expand(-1, -1, width))
        sums = sums + weights["codes"][0, level][codes]
    items = tree.items[tree.begin[nodes]].masked_fill(scores.isinf(), NOTHING)
    return _padded(items, n_beams)


def _padded(items: Tensor, k: int) -> Tensor:
    return F.pad(items, (0, k - items.shape[1]), value=NOTHING)
