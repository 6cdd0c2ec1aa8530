"""Beam search: choose one code per level so that their vectors sum to the latent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.products import addmm, matmul
from sk_rqvae._model.row_minima import k_smallest, nearest

MAX_TABULATED_CODES = 8192

CodeBias = Callable[[Tensor], Tensor]
"""Maps the squared distances of a batch, ``(n, codebook_size)``, to one bias per code,
``(codebook_size,)``, which the search subtracts from the distances."""


class Beams(NamedTuple):
    """The IDs that a beam search kept, best first.

    The score of a beam is ``errors + penalties``; beams are ordered by it.

    Attributes
    ----------
    codes : Tensor of shape (n, n_beams, n_layers), int64
    errors : Tensor of shape (n, n_beams)
        Squared distance of each beam's sum of code vectors to the latent.
    penalties : Tensor of shape (n, n_beams)
        The rest of the score: the weighted errors of the beam's prefixes, minus the
        biases of its codes.
    """

    codes: Tensor
    errors: Tensor
    penalties: Tensor


@torch.no_grad()
def beam_search(
    latents: Tensor,
    codebooks: Sequence[Tensor],
    n_beams: int,
    biases: Sequence[CodeBias | None] | None = None,
    prefix_weights: Tensor | None = None,
) -> Beams:
    """Find the codes whose vectors sum most nearly to each latent.

    The search starts from the empty prefix. At each level it

    1. extends every prefix it kept by every code of the level,
    2. computes the squared distance of each extended prefix to the latent,
    3. adds the penalties of the prefix and subtracts the biases of the codes,
    4. keeps the `n_beams` prefixes of lowest score.

    With one beam this is greedy residual quantisation.

    Parameters
    ----------
    latents : Tensor of shape (n, dim)
    codebooks : sequence of Tensor of shape (codebook_size, dim)
        One codebook per level.
    n_beams : int
        Prefixes kept per row. The first levels keep fewer if fewer exist.
    biases : sequence of callable or None, optional
        One entry per level. A callable receives the squared distances of the best
        prefix's residuals to the codes, up to a constant per row, and returns the bias
        of each code. None means no bias.
    prefix_weights : Tensor of shape (n_layers - 1,), optional
        Weight of the squared error of each prefix in the score of a beam. With higher
        weights, the first codes alone describe the latent better.

    Returns
    -------
    Beams
    """
    sizes = [len(codebook) for codebook in codebooks]
    prepared = PreparedBeamSearch(
        torch.cat(list(codebooks)), sizes, n_beams, prefix_weights
    )
    return prepared.search(latents, biases)


class PreparedBeamSearch:
    r"""A `beam_search` over fixed codebooks, for many batches of latents.

    What depends on the codebooks alone is computed once, in the constructor.

    Parameters
    ----------
    all_vectors : Tensor of shape (sum of sizes, dim)
        The vectors of all codebooks, concatenated.
    sizes : sequence of int
        Codes per level.
    n_beams : int
        As in `beam_search`.
    prefix_weights : Tensor of shape (n_layers - 1,), optional
        As in `beam_search`.
    n_rows : int, optional
        How many latents will be searched in all. None means many. For few, tables would
        take longer to compute than the products that they replace.

    Notes
    -----
    Let :math:`z` be a latent, :math:`q` the sum of the code vectors of a prefix and
    :math:`c` a code vector of the next level. Extending the prefix by :math:`c` changes
    the squared error :math:`\lVert z - q \rVert^2` by

    .. math:: \lVert c \rVert^2 - 2 z \cdot c + 2 q \cdot c .

    With several beams, the products :math:`z \cdot c` of all levels are computed by
    one matrix product. The products :math:`q \cdot c` are sums of products between
    code vectors, which are looked up in tables, so their cost does not grow with `dim`.
    Where the tables would be too large, the products with :math:`q` are computed.

    With one beam, each level computes the product of its codes with the residual
    :math:`z - q`, and no tables are needed.
    """

    def __init__(
        self,
        all_vectors: Tensor,
        sizes: Sequence[int],
        n_beams: int,
        prefix_weights: Tensor | None = None,
        n_rows: int | None = None,
    ) -> None:
        # no_grad blocks instead of decorators: torch's exporter cannot trace decorated
        # methods of an object that is created inside the graph.
        with torch.no_grad():
            self._all_vectors = all_vectors
            self._squared_norms = all_vectors.square().sum(1)
            self._sizes = list(sizes)
            self._codebooks = all_vectors.split(self._sizes)
            self.n_beams = n_beams
            self._prefix_weights = prefix_weights
            tabulated = n_beams > 1 and sum(sizes) <= MAX_TABULATED_CODES
            if n_rows is not None:
                tabulated = tabulated and _tables_pay(self._sizes, n_rows * n_beams)
            self._tables = self._product_tables() if tabulated else None

    def search(
        self, latents: Tensor, biases: Sequence[CodeBias | None] | None = None
    ) -> Beams:
        """Search as `beam_search` does."""
        with torch.no_grad():
            biases = biases or [None] * len(self._codebooks)
            if self.n_beams > 1:
                return self._search_beams(latents, biases)
            codes = self._search_greedily(latents, biases)
            residual = latents - sum_of_codes(self._codebooks, codes)
            errors = residual.square().sum(1, keepdim=True)
            return Beams(codes.unsqueeze(1), errors, torch.zeros_like(errors))

    def best_codes(
        self, latents: Tensor, biases: Sequence[CodeBias | None] | None = None
    ) -> Tensor:
        """Codes of the best beam, ``(n, n_layers)``, int64."""
        with torch.no_grad():
            biases = biases or [None] * len(self._codebooks)
            if self.n_beams > 1:
                return self._search_beams(latents, biases).codes[:, 0]
            return self._search_greedily(latents, biases)

    def _search_greedily(
        self, latents: Tensor, biases: Sequence[CodeBias | None]
    ) -> Tensor:
        residual = latents
        codes: list[Tensor] = []
        squared_norms = self._squared_norms.split(self._sizes)
        columns = self._all_vectors.T.split(self._sizes, dim=1)
        for level, bias in enumerate(biases):
            if level:
                previous = F.embedding(codes[-1], self._codebooks[level - 1])
                residual = residual - previous
            # Squared distances without the squared norm of the residual, which is the
            # same for all codes.
            costs = addmm(squared_norms[level], residual, columns[level], alpha=-2)
            codes.append(nearest(costs if bias is None else costs - bias(costs)))
        return torch.stack(codes, dim=1)

    def _search_beams(
        self, latents: Tensor, biases: Sequence[CodeBias | None]
    ) -> Beams:
        latent_terms = addmm(
            self._squared_norms, latents, self._all_vectors.T, alpha=-2
        ).split(self._sizes, dim=1)
        codes = latents.new_empty(0, dtype=torch.int64)
        scores = errors = latents.square().sum(1, keepdim=True)
        penalties = torch.zeros_like(scores)
        for level, bias in enumerate(biases):
            size = self._sizes[level]
            costs = latent_terms[level].unsqueeze(1)
            if level:
                costs = self._prefix_terms(level, codes).add_(costs)
            # In place: allocating new memory at every level would take longer than the
            # addition.
            costs = costs.add_(scores.unsqueeze(2))
            unbiased = biased = costs.flatten(1)
            if bias is not None:
                biased = (costs - bias(costs[:, 0])).flatten(1)
            n_kept = min(self.n_beams, biased.shape[1])
            scores, kept = k_smallest(biased, n_kept)
            parents = kept.div(size, rounding_mode="floor")
            errors = unbiased.gather(1, kept) - penalties.gather(1, parents)
            penalties = scores - errors
            if self._prefix_weights is not None and level < len(biases) - 1:
                weight = self._prefix_weights[level]
                penalties = torch.addcmul(penalties, errors, weight)
                scores = errors + penalties
            codes = _extend(codes, kept, size) if level else kept.unsqueeze(2)
        return Beams(codes, errors, penalties)

    def _product_tables(self) -> list[list[Tensor]]:
        """For each level but the first, ``2 c'.c`` with each earlier level's codes."""
        doubled = [2 * codebook.T for codebook in self._codebooks[1:]]
        return [
            [matmul(earlier, codebook) for earlier in self._codebooks[:level]]
            for level, codebook in enumerate(doubled, start=1)
        ]

    def _prefix_terms(self, level: int, codes: Tensor) -> Tensor:
        """``2 q.c`` for the prefixes `codes` and every code of `level`."""
        if self._tables is None:
            sums = sum_of_codes(self._codebooks, codes)
            return 2 * matmul(sums, self._codebooks[level].T)
        first, *others = self._tables[level - 1]
        total = F.embedding(codes[:, :, 0], first)
        for earlier, table in enumerate(others, start=1):
            total += F.embedding(codes[:, :, earlier], table)
        return total


def _tables_pay(sizes: Sequence[int], n_prefixes: int) -> bool:
    """Whether tables take fewer products than `n_prefixes` prefixes at each level."""
    later = sum(sizes[1:])
    n_tabulated = (sum(sizes) ** 2 - sum(size**2 for size in sizes)) // 2
    return n_tabulated <= n_prefixes * later


def _extend(codes: Tensor, kept: Tensor, size: int) -> Tensor:
    """Append a code to prefixes.

    `kept` are indices into all extensions of a row: ``parent * size + code``.
    """
    parent = kept.div(size, rounding_mode="floor").unsqueeze(2)
    prefixes = codes.gather(1, parent.expand(-1, -1, codes.shape[2]))
    return torch.cat([prefixes, kept.remainder(size).unsqueeze(2)], dim=2)


def sum_of_codes(codebooks: Sequence[Tensor], codes: Tensor) -> Tensor:
    """Sum the vectors of the first `k` codes of IDs.

    Parameters
    ----------
    codebooks : sequence of Tensor of shape (codebook_size, dim)
    codes : Tensor of shape (..., k), int64

    Returns
    -------
    Tensor of shape (..., dim)
    """
    total = F.embedding(codes[..., 0], codebooks[0])
    for level in range(1, codes.shape[-1]):
        total = total + F.embedding(codes[..., level], codebooks[level])
    return total
