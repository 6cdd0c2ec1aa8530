"""Many small networks at once: each weight has one more dimension in front.

A run trains one recommender on one kind of IDs with one seed. A stack trains several
runs together, because one small network cannot fill a GPU. All weights of a run are a
row of one matrix, so that an optimiser, a snapshot or a choice of runs is one line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]
Layout = Mapping[str, tuple[int, ...]]

N_HEADS = 2
INITIAL_SCALE = 0.02


def initial_weights(layout: Layout, seeds: Sequence[int]) -> Tensor:
    """Draw the weights of each run from its seed, of shape (n_runs, n_weights).

    Matrices of linear layers are uniform, as in PyTorch; other weights are normal with
    a small scale. Biases are zero.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        parts = [_draw(name, shape, generator) for name, shape in layout.items()]
        rows.append(torch.cat(parts))
    return torch.stack(rows)


def _draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    size = math.prod(shape)
    if name.endswith("bias"):
        return torch.zeros(size)
    if name.endswith("weight"):
        return (2 * torch.rand(size, generator=generator) - 1) / math.sqrt(shape[0])
    return INITIAL_SCALE * torch.randn(size, generator=generator)


def unpack(flat: Tensor, layout: Layout) -> Weights:
    """Name the parts of ``(n_runs, n_weights)``, each of shape (n_runs, ...)."""
    parts = flat.split([math.prod(shape) for shape in layout.values()], dim=1)
    return {
        name: part.unflatten(1, shape)
        for (name, shape), part in zip(layout.items(), parts, strict=True)
    }


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Apply a linear layer to the last dimension of ``(n_runs, ..., n_in)``."""
    rows = x.flatten(1, -2)
    bias = weights[f"{name}.bias"].unsqueeze(1)
    return torch.baddbmm(bias, rows, weights[f"{name}.weight"]).unflatten(
        1, x.shape[1:-1]
    )


def linear_layout(name: str, n_in: int, n_out: int) -> Layout:
    return {f"{name}.weight": (n_in, n_out), f"{name}.bias": (n_out,)}


def normalized(x: Tensor) -> Tensor:
    """Layer normalisation without weights, which the next layer would absorb."""
    return F.layer_norm(x, x.shape[-1:])


def dropped(
    x: Tensor, rates: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """Drop columns of ``(n_runs, n_users, length, width)`` at the rate of each run.

    A user loses the same columns at all positions, as in Gal and Ghahramani (NeurIPS
    2016): drawing for each position anew would take longer than multiplying. None
    drops none.
    """
    if rates is None:
        return x
    rate = rates.view(-1, 1, 1, 1)
    n_runs, n_users, _, width = x.shape
    shape = (n_runs, n_users, 1, width)
    drawn = torch.rand(shape, generator=generator, device=x.device)
    return x * ((drawn >= rate) / (1 - rate))


def mlp(x: Tensor, weights: Weights, name: str) -> Tensor:
    hidden = F.relu(linear(normalized(x), weights, f"{name}.in"))
    return linear(hidden, weights, f"{name}.out")


def mlp_layout(name: str, width: int) -> Layout:
    return {
        **linear_layout(f"{name}.in", width, 2 * width),
        **linear_layout(f"{name}.out", 2 * width, width),
    }


def causal_attention(x: Tensor, weights: Weights, name: str, at: Tensor) -> Tensor:
    """Self-attention over ``(n_runs, n_users, length, width)``.

    Parameters
    ----------
    at : Tensor of shape (n_positions,), int64
        The positions that attend, each to those up to itself.

    Returns
    -------
    Tensor of shape (n_runs, n_users, n_positions, width)
    """
    n_runs, n_users, length, width = x.shape
    x = normalized(x)
    known = linear(x, weights, f"{name}.known")
    heads = known.reshape(n_runs * n_users, length, 2, N_HEADS, width // N_HEADS)
    keys, values = heads.permute(2, 0, 3, 1, 4)
    asked = linear(x[:, :, at], weights, f"{name}.asked")
    queries = asked.reshape(n_runs * n_users, len(at), N_HEADS, width // N_HEADS)
    seen = torch.arange(length, device=x.device) <= at[:, None]
    attended = F.scaled_dot_product_attention(
        queries.transpose(1, 2), keys, values, attn_mask=seen
    )
    rows = attended.transpose(1, 2).reshape(n_runs, n_users, len(at), width)
    return linear(rows, weights, f"{name}.out")


def attention_layout(name: str, width: int) -> Layout:
    return {
        **linear_layout(f"{name}.known", width, 2 * width),
        **linear_layout(f"{name}.asked", width, width),
        **linear_layout(f"{name}.out", width, width),
    }
