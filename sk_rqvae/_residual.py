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
    Level ``l`` sees the residual ``r_l = z - (p_1 + ... + p_{l-1})``, where ``p`` are
    the estimators' outputs, *not* detached. The Jacobian of the sum then telescopes:
    where every level is straight-through it is one identity, not one a level, which is
    what residuals of detached codes would give.
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

    def codebooks(self) -> list[Tensor]:
        """The vectors of every level."""
        return [level.vectors() for level in self.levels]

    def forward(self, latents: Tensor) -> Quantized:
        """Choose codes and estimate gradients, level by level."""
        codebooks = self.codebooks()
        codes = self._choose(latents, codebooks)
        residual = latents
        total = torch.zeros_like(latents)
        sums, passed = [], []
        for level, (mode, codebook) in enumerate(
            zip(self.modes, codebooks, strict=True)
        ):
            chosen = F.embedding(codes[:, level], codebook)
            total = total + chosen
            estimate = mode.estimate(
                residual, chosen.detach(), codebook, self.temperature
            )
            residual = residual - estimate
            sums.append(total)
            passed.append(latents - residual)
        return Quantized(codes, torch.stack(sums), torch.stack(passed))

    def search(self, latents: Tensor, n_beams: int | None = None) -> Beams:
        """The best tuples of codes, as `transform` chooses them."""
        return beam_search(latents, self.codebooks(), n_beams or self.n_beams)

    def sum_of(self, codes: Tensor) -> Tensor:
        """Latents of (prefixes of) codes."""
        return sum_of_codes(self.codebooks(), codes)

    def _choose(self, latents: Tensor, codebooks: list[Tensor]) -> Tensor:
        frozen = [codebook.detach() for codebook in codebooks]
        prices = [_tempered(mode.prices, self.temperature) for mode in self.modes]
        return beam_search(latents.detach(), frozen, self.n_beams, prices).codes[:, 0]


def _tempered(prices: Prices | None, temperature: Tensor) -> Prices | None:
    if prices is None:
        return None
    return lambda distances: temperature * prices(distances)
