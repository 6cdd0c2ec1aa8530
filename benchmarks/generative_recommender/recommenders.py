"""The recommenders that judge IDs, as functions of stacked weights.

Both read a history by a causal transformer over items, as SASRec does (Kang and
McAuley, ICDM 2018). An item is the sum of vectors of its codes. They differ in what
they predict:

- `CODES` generates the next ID code by code, as in the RQ-Transformer (Lee et al., CVPR
  2022), with an MLP over the user and the codes so far. Codes that lead to no item that
  can be recommended have probability zero.
- `ITEMS` scores every item by the product of the user's and the item's vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from generative_recommender.layers import (
    Layout,
    Weights,
    attention_layout,
    causal_attention,
    dropped,
    mlp,
    mlp_layout,
    normalized,
)

WIDTH = 64
N_BLOCKS = 2
N_DECODER_BLOCKS = 2


@dataclass(frozen=True)
class Catalogue:
    """The IDs of each run, as tensors on the device.

    Attributes
    ----------
    ids : Tensor of shape (n_runs, n_items, n_levels), int64
    allowed : Tensor of shape (n_runs, n_items, n_levels, n_codes), bool or None
        Codes along the ID of each item that lead to warm items. None where they are not
        generated.
    n_codes : int
    """

    ids: Tensor
    allowed: Tensor | None
    n_codes: int

    def of(self, runs: Tensor) -> Catalogue:
        allowed = None if self.allowed is None else self.allowed[runs]
        return replace(self, ids=self.ids[runs], allowed=allowed)


def layout_of(n_levels: int, n_codes: int, window: int, generates: bool) -> Layout:
    """Name the weights of a run."""
    layout = {
        "codes": (n_levels, n_codes, WIDTH),
        "positions": (window, WIDTH),
    }
    for block in range(N_BLOCKS):
        layout |= attention_layout(f"attention{block}", WIDTH)
        layout |= mlp_layout(f"mlp{block}", WIDTH)
    if generates:
        layout |= {"levels": (n_levels, WIDTH), "codes.bias": (n_levels, n_codes)}
        for block in range(N_DECODER_BLOCKS):
            layout |= mlp_layout(f"decoder{block}", WIDTH)
    return layout


def item_vectors(weights: Weights, ids: Tensor) -> Tensor:
    """Sum the vectors of the codes of each item.

    Parameters
    ----------
    ids : Tensor of shape (n_runs, n_items, n_levels)

    Returns
    -------
    Tensor of shape (n_runs, n_items, width)
    """
    return _code_vectors(weights, ids).sum(dim=2)


def _code_vectors(weights: Weights, ids: Tensor) -> Tensor:
    codes = weights["codes"]
    n_runs, n_levels, n_codes, width = codes.shape
    offsets = torch.arange(n_runs, device=ids.device)[:, None] * n_levels
    offsets = (offsets + torch.arange(n_levels, device=ids.device)) * n_codes
    return F.embedding(ids + offsets[:, None], codes.reshape(-1, width))


def rows_of(table: Tensor, items: Tensor) -> Tensor:
    """Take ``table[run, items[run]]`` for tables of shape (n_runs, n_items, ...)."""
    runs = torch.arange(len(table), device=table.device)
    return table[runs.view(-1, *[1] * (items.ndim - 1)), items]


def user_states(
    weights: Weights,
    ids: Tensor,
    items: Tensor,
    at: Tensor,
    rates: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Read histories.

    Parameters
    ----------
    ids : Tensor of shape (n_runs, n_items, n_levels), int64
    items : Tensor of shape (n_runs, n_users, length), int64
        Oldest first. What is after the end of a history does not matter.
    at : Tensor of shape (n_positions,), int64
        Positions whose states are wanted.
    rates : Tensor of shape (n_runs,), default=None
        Dropout, which `generator` draws. None drops nothing.

    Returns
    -------
    Tensor of shape (n_runs, n_users, n_positions, width)
    """
    n_users, length = items.shape[1:]
    read = item_vectors(weights, rows_of(ids, items.flatten(1)))
    positions = weights["positions"][:, None, :length]
    x = math.sqrt(WIDTH) * (read.unflatten(1, (n_users, length)) + positions)
    x = dropped(x, rates, generator)
    everywhere = torch.arange(length, device=items.device)
    for block in range(N_BLOCKS):
        asked = at if block == N_BLOCKS - 1 else everywhere
        attended = causal_attention(x, weights, f"attention{block}", asked)
        x = x[:, :, asked] + dropped(attended, rates, generator)
        x = x + dropped(mlp(x, weights, f"mlp{block}"), rates, generator)
    return normalized(x)


def code_logits(weights: Weights, states: Tensor, sums: Tensor, first: int) -> Tensor:
    """Score the next code after each prefix.

    Parameters
    ----------
    states : Tensor of shape (n_runs, n, width)
    sums : Tensor of shape (n_runs, n, n_prefixes, width)
        The sums of the vectors of the codes so far.
    first : int
        The level of the first of the codes to score; the others follow.

    Returns
    -------
    Tensor of shape (n_runs, n, n_prefixes, n_codes)
    """
    levels = slice(first, first + sums.shape[2])
    x = states[:, :, None] + sums + weights["levels"][:, None, levels]
    for block in range(N_DECODER_BLOCKS):
        x = x + mlp(x, weights, f"decoder{block}")
    x = normalized(x).transpose(1, 2)
    codes, bias = weights["codes"][:, levels], weights["codes.bias"][:, levels]
    logits = torch.einsum("rlnw,rlcw->rlnc", x, codes) + bias[:, :, None]
    return logits.transpose(1, 2)


def generation_loss(
    weights: Weights, states: Tensor, targets: Tensor, catalogue: Catalogue
) -> Tensor:
    """Negative log-probability of the IDs of targets.

    Parameters
    ----------
    states : Tensor of shape (n_runs, n, width)
    targets : Tensor of shape (n_runs, n), int64

    Returns
    -------
    Tensor of shape (n_runs, n)
    """
    codes = rows_of(catalogue.ids, targets)
    sums = _code_vectors(weights, codes)[:, :, :-1].cumsum(dim=2)
    logits = code_logits(weights, states, F.pad(sums, (0, 0, 1, 0)), 0)
    mask = rows_of(catalogue.allowed, targets)
    logits = logits.float().masked_fill(~mask, -torch.inf)
    losses = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none")
    return losses.view(codes.shape).sum(2)


def softmax_loss(
    weights: Weights, states: Tensor, targets: Tensor, ids: Tensor, warm: Tensor
) -> Tensor:
    """Negative log-probability of targets among all warm items, (n_runs, n)."""
    position = warm.cumsum(0) - 1
    vectors = item_vectors(weights, ids[:, warm.nonzero()[:, 0]])
    scores = states @ vectors.transpose(1, 2)
    losses = F.cross_entropy(
        scores.flatten(0, 1), position[targets].flatten(), reduction="none"
    )
    return losses.view(targets.shape)


def binary_loss(
    weights: Weights,
    states: Tensor,
    targets: Tensor,
    ids: Tensor,
    warm: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """SASRec's own loss: binary cross-entropy with one random negative a target."""
    candidates = warm.nonzero()[:, 0]
    drawn = torch.rand(targets.shape, generator=generator, device=targets.device)
    negatives = candidates[(drawn * len(candidates)).long()]
    right = (states * item_vectors(weights, rows_of(ids, targets))).sum(-1).float()
    wrong = (states * item_vectors(weights, rows_of(ids, negatives))).sum(-1).float()
    return -F.logsigmoid(right) - F.logsigmoid(-wrong)
