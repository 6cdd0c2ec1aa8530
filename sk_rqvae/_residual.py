"""The stack of codebooks: sums of codes, and what passes back to the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._codebook import Codebook
from sk_rqvae._modes import Prices, QuantizeForwardMode
from sk_rqvae._search import Beams, beam_search, sum_of_codes


class Quantized(NamedTuple):
    """What the stack makes of a batch of latents while training.

    Attributes
    ----------
    codes : Tensor of shape (n, n_layers), int64
    sums : Tensor of shape (n_layers, n, dim)
        Sums of the chosen vectors, by depth; gradients reach the codebooks.
    passed : Tensor of shape (n_layers, n, dim)
        The same sums as the decoder sees them; gradients reach the latents as the modes
        of the levels estimate them.
    """

    codes: Tensor
    sums: Tensor
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

    Notes
    -----
    Neighbouring levels of one mode share an estimate: it passes the gradient once
    around the sum of their codes, from the residual that came to the first of them.
    Gumbel-Softmax mixes the codes of one codebook, so there each level has its own. The
    residual of the next group is the latent less the estimates before it, *not*
    detached, so that the Jacobian of the sum telescopes: straight-through is one
    identity for the whole stack, not one a level.
    """

    temperature: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        dim: int,
        *,
        modes: Sequence[QuantizeForwardMode],
        n_beams: int,
        normalize: bool,
        sim_vq: bool,
    ) -> None:
        super().__init__()
        self.modes = tuple(modes)
        self.n_beams = n_beams
        self.sizes = tuple(sizes)
        levels = nn.ModuleList(
            Codebook(size, dim, normalize=normalize, sim_vq=sim_vq) for size in sizes
        )
        self.levels = cast("Sequence[Codebook]", levels)
        self.register_buffer("temperature", torch.ones(()))

    def committed_share(self) -> float:
        """Share of the levels whose mode takes part in the commitment loss."""
        return sum(mode.behaviour.commits for mode in self.modes) / len(self.modes)

    def codebooks(self) -> list[Tensor]:
        """The vectors of every level."""
        return [level.vectors() for level in self.levels]

    def forward(self, latents: Tensor) -> Quantized:
        """Choose codes and estimate gradients, level by level."""
        codebooks = self.codebooks()
        codes = self._choose(latents, codebooks)
        residual = latents
        before = total = inside = torch.zeros_like(latents)
        sums: list[Tensor] = []
        passed: list[Tensor] = []
        for level, (mode, codebook) in enumerate(
            zip(self.modes, codebooks, strict=True)
        ):
            alone = mode.behaviour.level_by_level
            if level and (alone or mode is not self.modes[level - 1]):
                before, inside = passed[-1], torch.zeros_like(latents)
                residual = latents - before
            chosen = F.embedding(codes[:, level], codebook)
            total, inside = total + chosen, inside + chosen.detach()
            estimate = mode.behaviour.estimate(
                residual, inside, codebook, self.temperature
            )
            sums.append(total)
            passed.append(before + estimate)
        return Quantized(codes, torch.stack(sums), torch.stack(passed))

    def search(self, latents: Tensor, n_beams: int | None = None) -> Beams:
        """The best tuples of codes, as `transform` chooses them."""
        return beam_search(latents, self.codebooks(), n_beams or self.n_beams)

    def sum_of(self, codes: Tensor) -> Tensor:
        """Latents of (prefixes of) codes."""
        return sum_of_codes(self.codebooks(), codes)

    def _choose(self, latents: Tensor, codebooks: list[Tensor]) -> Tensor:
        frozen = [codebook.detach() for codebook in codebooks]
        prices = [
            _tempered(mode.behaviour.prices, self.temperature) for mode in self.modes
        ]
        return beam_search(latents.detach(), frozen, self.n_beams, prices).codes[:, 0]


def _tempered(prices: Prices | None, temperature: Tensor) -> Prices | None:
    if prices is None:
        return None
    return lambda distances: temperature * prices(distances)
