"""The stack of codebooks: sums of codes, and what passes back to the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._defaults import TRAINING_PREFIX_PENALTY
from sk_rqvae._model.beam_search import Beams, SearchedStack, sum_of_codes
from sk_rqvae._model.codebook import Codebook
from sk_rqvae._model.modes import Commitment, Prices, QuantizeForwardMode


class Quantized(NamedTuple):
    """What the stack makes of a batch of latents while training.

    Attributes
    ----------
    codes : Tensor of shape (n, n_layers), int64
    vectors : Tensor of shape (n, n_layers, dim)
        The vectors of the codes; gradients reach the codebooks.
    total : Tensor of shape (n, dim)
        Their sum.
    passed : Tensor of shape (n, dim)
        The sum as the decoder sees it; gradients reach the latents as the modes of the
        levels estimate them.
    """

    codes: Tensor
    vectors: Tensor
    total: Tensor
    passed: Tensor


class ResidualQuantizer(nn.Module):
    """Codebooks that quantise, each, what those before it left over.

    Parameters
    ----------
    sizes : sequence of int
        Codes a level.
    dim : int
        Width of the latents.
    modes : sequence of QuantizeForwardMode
        Gradient estimator a level.
    n_beams : int
        Prefixes kept a row while codes are chosen.
    normalize, sim_vq : bool
        As in `Codebook`.
    prefix_weight : float, default=0.0
        How much of the error of each prefix a tuple is charged where beams are
        compared, for a prefix that leaves no more than all codes do; in training twenty
        times as much.

    Attributes
    ----------
    prefix_shares : Tensor of shape (n_layers - 1,)
        Square of what all codes leave over what each prefix leaves. Where all codes
        tell nearly everything, errors of prefixes would otherwise drown theirs.
    idle_rows : Tensor of shape (sum of sizes,), int64
        Rows of training since each code was chosen, by whole epochs.

    Notes
    -----
    Neighbouring straight-through levels share an estimate: it passes the gradient once
    around the sum of their codes, from the residual that came to the first of them.
    Gumbel-Softmax mixes the codes of one codebook, and the rotation trick turns one
    residual onto one code, so there each level has its own. The residual of the next
    group is the latent less the estimates before it, *not* detached, so that the
    Jacobian of the sum telescopes: straight-through is one identity for the whole
    stack, not one a level.
    """

    temperature: Tensor
    offsets: Tensor
    prefix_shares: Tensor
    idle_rows: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        dim: int,
        *,
        modes: Sequence[QuantizeForwardMode],
        n_beams: int,
        normalize: bool,
        sim_vq: bool,
        prefix_weight: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.modes = tuple(modes)
        self.n_beams = n_beams
        self.prefix_weight = prefix_weight
        self.sizes = tuple(sizes)
        levels = nn.ModuleList(
            Codebook(size, dim, normalize=normalize, sim_vq=sim_vq, generator=generator)
            for size in sizes
        )
        self.levels = cast("Sequence[Codebook]", levels)
        self.register_buffer("temperature", torch.ones((), dtype=torch.float32))
        prefix_shares = torch.ones(len(self.sizes) - 1, dtype=torch.float32)
        self.register_buffer("prefix_shares", prefix_shares)
        idle_rows = torch.zeros(sum(self.sizes), dtype=torch.int64)
        self.register_buffer("idle_rows", idle_rows, persistent=False)
        # Where each level begins when the codebooks lie one after another.
        starts = torch.tensor([0, *accumulate(self.sizes[:-1])])
        self.register_buffer("offsets", starts, persistent=False)

    def commitment(self, latents: Tensor, total: Tensor, weight: float) -> Tensor:
        """How far latents are from their sums of codes, as the modes measure it."""
        pulls: dict[Commitment, float] = {}
        for behaviour in (mode.behaviour for mode in self.modes):
            pull = pulls.get(behaviour.commitment, 0.0) + behaviour.pull
            pulls[behaviour.commitment] = pull
        share = weight / len(self.modes)
        first, *others = (
            share * pull * loss(latents, total) for loss, pull in pulls.items()
        )
        return sum(others, start=first)

    def prefix_weights(self) -> Tensor:
        """What the error of each prefix counts, ``(n_layers - 1,)``."""
        return self.prefix_weight * self.prefix_shares

    def codebooks(self) -> list[Tensor]:
        """The vectors of every level."""
        return [level.vectors() for level in self.levels]

    def forward(
        self, latents: Tensor, generator: torch.Generator | None = None
    ) -> Quantized:
        """Choose codes, gather their vectors at once, and estimate gradients."""
        codebooks = self.codebooks()
        everything = torch.cat(codebooks)
        codes = self._choose(latents, everything)
        vectors = F.embedding(codes + self.offsets, everything)
        total = vectors.sum(1)
        residual = passed = latents
        for first, after in self._groups():
            if first:
                residual = latents - passed
            estimate = self.modes[first].behaviour.estimate(
                residual,
                self._sum(vectors, first, after, total),
                codebooks[first],
                self.temperature,
                generator,
            )
            passed = passed + estimate if first else estimate
        return Quantized(codes, vectors, total, passed)

    def searched(self, n_beams: int | None = None) -> SearchedStack:
        """What a search can prepare, once as long as the codebooks stay the same."""
        everything = torch.cat(self.codebooks()).detach()
        return self._stack(everything, n_beams or self.n_beams)

    def search(self, latents: Tensor, n_beams: int | None = None) -> Beams:
        """The best tuples of codes, as `transform` chooses them."""
        return self.searched(n_beams).search(latents)

    def sum_of(self, codes: Tensor) -> Tensor:
        """Latents of (prefixes of) codes."""
        return sum_of_codes(self.codebooks(), codes)

    def _groups(self) -> list[tuple[int, int]]:
        """Levels that share an estimate: the first of them, and the one after them."""
        starts = [
            level
            for level, mode in enumerate(self.modes)
            if level == 0
            or mode.behaviour.level_by_level
            or mode is not self.modes[level - 1]
        ]
        return list(zip(starts, [*starts[1:], len(self.modes)], strict=True))

    @torch.no_grad()
    def _sum(self, vectors: Tensor, first: int, after: int, total: Tensor) -> Tensor:
        """Sum over the levels of a group; `total` is that over all levels."""
        if after - first == 1:
            return vectors.select(1, first)
        if after - first == len(self.modes):
            return total.detach()
        return vectors[:, first:after].sum(1)

    def _choose(self, latents: Tensor, everything: Tensor) -> Tensor:
        prices = [
            _tempered(mode.behaviour.prices, self.temperature) for mode in self.modes
        ]
        stack = self._stack(everything, self.n_beams, TRAINING_PREFIX_PENALTY)
        return stack.best(latents, prices)

    def _stack(
        self, everything: Tensor, n_beams: int, charge: float = 1.0
    ) -> SearchedStack:
        weights = charge * self.prefix_weights() if self.prefix_weight else None
        return SearchedStack(everything, self.sizes, n_beams, weights)


def _tempered(prices: Prices | None, temperature: Tensor) -> Prices | None:
    if prices is None:
        return None
    return lambda distances: temperature * prices(distances)
