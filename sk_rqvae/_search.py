"""Beam search for the codes of a residual stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sk_rqvae._distances import nearness

_LARGEST_TABLE = 8192


class Beams(NamedTuple):
    """The codes a beam search kept, best first.

    Attributes
    ----------
    codes : Tensor of shape (n, n_beams, n_layers), int64
    errors : Tensor of shape (n, n_beams)
        Squared distances of the sums of codes to the latents.
    """

    codes: Tensor
    errors: Tensor


@torch.no_grad()
def beam_search(
    latents: Tensor,
    codebooks: Sequence[Tensor],
    n_beams: int,
    prices: Sequence[Callable[[Tensor], Tensor] | None] | None = None,
) -> Beams:
    """Find, for every row, tuples of codes whose vectors sum to nearly the latent.

    Level by level the `n_beams` best prefixes of each row are extended by every code
    and the `n_beams` best of all extensions are kept; one beam is greedy residual
    quantisation.

    Parameters
    ----------
    latents : Tensor of shape (n, dim)
    codebooks : sequence of Tensor of shape (codebook_size, dim)
        One a level.
    n_beams : int
        Prefixes kept a row. Early levels keep fewer where fewer exist.
    prices : sequence of callable or None, optional
        For each level None, or a function from the distances of the best prefix's
        residuals to what is taken off every code's distance.

    Returns
    -------
    Beams
    """
    n_rows = len(latents)
    tables = _CrossTables(latents, codebooks)
    codes = latents.new_empty((n_rows, 1, 0), dtype=torch.int64)
    errors = latents.square().sum(1, keepdim=True)
    costs = errors
    for level, codebook in enumerate(codebooks):
        gains = tables.gains(level, codes)
        price = prices[level] if prices is not None else None
        charge = 0.0 if price is None else price(gains[:, 0] + errors[:, :1])
        extended = (costs.unsqueeze(2) + gains - charge).flatten(1)
        costs, kept = _smallest(extended, min(n_beams, extended.shape[1]))
        parent = kept.div(len(codebook), rounding_mode="floor")
        code = kept - parent * len(codebook)
        errors = (errors.unsqueeze(2) + gains).flatten(1).gather(1, kept)
        history = codes.gather(1, parent.unsqueeze(2).expand(-1, -1, level))
        codes = torch.cat([history, code.unsqueeze(2)], dim=2)
    return Beams(codes, errors)


class _CrossTables:
    """What each code would add to the squared error of each prefix.

    With ``q`` the sum of a prefix, adding code ``c`` changes ``|z - q|^2`` by
    ``|c|^2 - 2 z.c + 2 q.c``. The products ``z.c`` of all levels are one product of
    matrices, and ``q.c`` is looked up in tables of products between codebooks, so more
    beams cost no more multiplications. Where such tables would be larger than what they
    save, the products with ``q`` are computed.
    """

    def __init__(self, latents: Tensor, codebooks: Sequence[Tensor]) -> None:
        self._codebooks = codebooks
        self._sizes = [len(codebook) for codebook in codebooks]
        everything = torch.cat(list(codebooks))
        self._alone = nearness(latents, everything).split(self._sizes, dim=1)
        self._tabulated = sum(self._sizes) <= _LARGEST_TABLE

    def gains(self, level: int, codes: Tensor) -> Tensor:
        alone = self._alone[level].unsqueeze(1)
        if level == 0:
            return alone
        codebook = self._codebooks[level]
        if self._tabulated:
            overlap = self._looked_up(level, codes)
        else:
            overlap = sum_of_codes(self._codebooks, codes) @ codebook.T
        return alone + 2 * overlap

    def _looked_up(self, level: int, codes: Tensor) -> Tensor:
        codebook = self._codebooks[level]
        total = torch.zeros((), device=codes.device)
        for earlier in range(level):
            table = self._codebooks[earlier] @ codebook.T
            total = total + table[codes[:, :, earlier]]
        return total


def sum_of_codes(codebooks: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Sum the vectors of codes or prefixes; ``(..., k)`` codes give ``(..., dim)``."""
    total = codebooks[0][codes[..., 0]]
    for level in range(1, codes.shape[-1]):
        total = total + codebooks[level][codes[..., level]]
    return total


def _smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if count == 1:
        smallest, where = values.min(dim=1, keepdim=True)
        return smallest, where
    smallest, where = values.topk(count, dim=1, largest=False)
    return smallest, where
