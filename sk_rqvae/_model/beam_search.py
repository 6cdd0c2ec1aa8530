"""Beam search for the codes of a residual stack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.smallest import nearest, smallest

_LARGEST_TABLE = 8192

Prices = Sequence[Callable[[Tensor], Tensor] | None]


class Beams(NamedTuple):
    """The codes a beam search kept, best first.

    Attributes
    ----------
    codes : Tensor of shape (n, n_beams, n_layers), int64
    errors : Tensor of shape (n, n_beams)
        Squared distances of the sums of codes to the latents.
    surcharges : Tensor of shape (n, n_beams)
        What was added to them where beams were compared: shares of the errors of
        prefixes, less prices.
    """

    codes: Tensor
    errors: Tensor
    surcharges: Tensor


@torch.no_grad()
def beam_search(
    latents: Tensor,
    codebooks: Sequence[Tensor],
    n_beams: int,
    prices: Prices | None = None,
    prefix_weights: Tensor | None = None,
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
        residuals, up to a constant a row, to what is taken off every code's distance.
    prefix_weights : Tensor of shape (n_layers - 1,), optional
        How much of the error of each of its prefixes a tuple is charged. Of tuples that
        end about as near, those win whose first codes alone are near, too.

    Returns
    -------
    Beams
    """
    sizes = [len(codebook) for codebook in codebooks]
    stack = SearchedStack(torch.cat(list(codebooks)), sizes, n_beams, prefix_weights)
    return stack.search(latents, prices)


class SearchedStack:
    """Codebooks with all of a search that does not depend on the latents.

    Parameters
    ----------
    everything : Tensor of shape (sum of sizes, dim)
        The codebooks, one after another.
    sizes : sequence of int
        Codes a level.
    n_beams : int
        As in `beam_search`.
    prefix_weights : Tensor of shape (n_layers - 1,), optional
        As in `beam_search`.

    Notes
    -----
    With ``q`` the sum of a prefix, adding code ``c`` changes ``|z - q|^2`` by
    ``|c|^2 - 2 z.c + 2 q.c``. The products ``z.c`` of all levels are one product of
    matrices, and ``q.c`` is looked up in tables of products between codebooks, so more
    beams cost no more multiplications. Where such tables would be larger than what they
    save, the products with ``q`` are computed. A single beam needs one product a level
    with the residual, and no tables.
    """

    def __init__(
        self,
        everything: Tensor,
        sizes: Sequence[int],
        n_beams: int,
        prefix_weights: Tensor | None = None,
    ) -> None:
        # Blocks and no decorators: torch's exporter cannot follow decorated methods of
        # an object that is made in the graph.
        with torch.no_grad():
            self._everything = everything
            self._lengths = everything.square().sum(1)
            self._sizes = list(sizes)
            self._codebooks = everything.split(self._sizes)
            self.n_beams = n_beams
            self._prefix_weights = prefix_weights
            tabulated = n_beams > 1 and sum(sizes) <= _LARGEST_TABLE
            self._overlaps = self._tables() if tabulated else None

    def search(self, latents: Tensor, prices: Prices | None = None) -> Beams:
        """See `beam_search`."""
        with torch.no_grad():
            if self.n_beams > 1:
                return self._several_beams(latents, self._charges(prices))
            codes = self._one_beam(latents, self._charges(prices))
            left_over = latents - sum_of_codes(self._codebooks, codes)
            errors = left_over.square().sum(1, keepdim=True)
            return Beams(codes.unsqueeze(1), errors, torch.zeros_like(errors))

    def best(self, latents: Tensor, prices: Prices | None = None) -> Tensor:
        """The codes of the best beam alone, ``(n, n_layers)``, int64."""
        with torch.no_grad():
            if self.n_beams > 1:
                return self._several_beams(latents, self._charges(prices)).codes[:, 0]
            return self._one_beam(latents, self._charges(prices))

    def _charges(self, prices: Prices | None) -> Prices:
        return prices or [None] * len(self._codebooks)

    def _one_beam(self, latents: Tensor, prices: Prices) -> Tensor:
        residual = latents
        codes: list[Tensor] = []
        lengths = self._lengths.split(self._sizes)
        columns = self._everything.T.split(self._sizes, dim=1)
        for level, price in enumerate(prices):
            if level:
                before = F.embedding(codes[-1], self._codebooks[level - 1])
                residual = residual - before
            gains = torch.addmm(lengths[level], residual, columns[level], alpha=-2)
            codes.append(nearest(gains if price is None else gains - price(gains)))
        return torch.stack(codes, dim=1)

    def _several_beams(self, latents: Tensor, prices: Prices) -> Beams:
        products = torch.addmm(self._lengths, latents, self._everything.T, alpha=-2)
        alone = products.split(self._sizes, dim=1)
        codes = latents.new_empty(0, dtype=torch.int64)
        costs = errors = latents.square().sum(1, keepdim=True)
        surcharges = torch.zeros_like(costs)
        for level, price in enumerate(prices):
            size = self._sizes[level]
            gains = alone[level].unsqueeze(1)
            if level:
                gains = self._overlap(level, codes).add_(gains)
            # In place: fresh memory for every step would cost more than the sum.
            extended = gains.add_(costs.unsqueeze(2)).flatten(1)
            charged = extended
            if price is not None:
                charge = price(gains[:, 0])
                charged = (gains - charge).flatten(1)
            count = min(self.n_beams, charged.shape[1])
            costs, kept = smallest(charged, count)
            parents = kept.div(size, rounding_mode="floor")
            errors = extended.gather(1, kept) - surcharges.gather(1, parents)
            surcharges = costs - errors
            if self._prefix_weights is not None and level < len(prices) - 1:
                weight = self._prefix_weights[level]
                surcharges = torch.addcmul(surcharges, errors, weight)
                costs = errors + surcharges
            codes = _extended(codes, kept, size) if level else kept.unsqueeze(2)
        return Beams(codes, errors, surcharges)

    def _tables(self) -> list[list[Tensor]]:
        """For levels but the first, twice the products with codes of earlier levels."""
        doubled = [2 * codebook.T for codebook in self._codebooks[1:]]
        return [
            [earlier @ codebook for earlier in self._codebooks[:level]]
            for level, codebook in enumerate(doubled, start=1)
        ]

    def _overlap(self, level: int, codes: Tensor) -> Tensor:
        """``2 q.c`` for the prefixes `codes` and every code of `level`."""
        if self._overlaps is None:
            sums = sum_of_codes(self._codebooks, codes)
            return 2 * (sums @ self._codebooks[level].T)
        first, *others = self._overlaps[level - 1]
        total = F.embedding(codes[:, :, 0], first)
        for earlier, table in enumerate(others, start=1):
            total += F.embedding(codes[:, :, earlier], table)
        return total


def _extended(codes: Tensor, kept: Tensor, size: int) -> Tensor:
    """Prefixes with one more code; `kept` are places among all extensions of a row."""
    parent = kept.div(size, rounding_mode="floor").unsqueeze(2)
    history = codes.gather(1, parent.expand(-1, -1, codes.shape[2]))
    return torch.cat([history, kept.remainder(size).unsqueeze(2)], dim=2)


def sum_of_codes(codebooks: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Sum the vectors of codes or prefixes; ``(..., k)`` codes give ``(..., dim)``."""
    total = F.embedding(codes[..., 0], codebooks[0])
    for level in range(1, codes.shape[-1]):
        total = total + F.embedding(codes[..., level], codebooks[level])
    return total
