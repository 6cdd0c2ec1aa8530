"""Beam search for many users at once, held to the IDs that exist."""

from __future__ import annotations

import torch
from torch import Tensor

from generative_recommender.model import CodeTransformer
from generative_recommender.trie import Trie


@torch.no_grad()
def beam_search(
    model: CodeTransformer, trie: Trie, states: Tensor, allowed: Tensor, n_beams: int
) -> tuple[Tensor, Tensor]:
    """Find the most probable items of each user.

    Parameters
    ----------
    model : CodeTransformer
    trie : Trie
        The one that `model` was made with.
    states : Tensor of shape (n_users, width)
        Of `CodeTransformer.user_states`, after the last item of each history.
    allowed : Tensor of shape (n_users, n_items), bool
        Which items may be found. A prefix with none under it is not followed.
    n_beams : int

    Returns
    -------
    items : Tensor of shape (n_users, n_beams), int64
        The best first; -1 where a user has fewer items that are allowed.
    log_probs : Tensor of shape (n_users, n_beams)
    """
    n_users, n_levels = len(states), trie.codes.shape[1]
    alive = trie.alive(allowed)
    users = torch.arange(n_users)[:, None]
    scores = torch.zeros(n_users, 1)
    codes = torch.empty(n_users, 1, 0, dtype=torch.int64)
    nodes = torch.zeros(n_users, 1, 1, dtype=torch.int64)
    for _ in range(n_levels):
        n_now = scores.shape[1]
        log_probs = model.next_code_log_probs(
            states.repeat_interleave(n_now, dim=0),
            codes.flatten(0, 1),
            nodes.flatten(0, 1),
        )[:, -1]
        following = trie.children[nodes[..., -1]].flatten(1)
        dead = (following < 0) | ~alive[users, following]
        scores = (scores[..., None] + log_probs.unflatten(0, (n_users, n_now))).flatten(
            1
        )
        scores = scores.masked_fill(dead, -torch.inf)
        scores, best = scores.topk(min(n_beams, scores.shape[1]), dim=1)
        beams, code = best // trie.children.shape[1], best % trie.children.shape[1]
        codes = torch.cat([codes[users, beams], code[..., None]], dim=2)
        # A beam of probability zero is on no ID: it stays at the root.
        reached = following.gather(1, best).masked_fill(scores.isinf(), 0)
        nodes = torch.cat([nodes[users, beams], reached[..., None]], dim=2)
    return _padded(trie.items[nodes[..., -1]], n_beams, -1), _padded(
        scores, n_beams, -torch.inf
    )


def _padded(found: Tensor, n_beams: int, value: float) -> Tensor:
    missing = n_beams - found.shape[1]
    return torch.nn.functional.pad(found, (0, missing), value=value)
