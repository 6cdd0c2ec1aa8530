"""Beam search: choose one code per level so that their vectors sum to the latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.greedy_search import greedy_codes
from sk_rqvae._model.products import addmm, matmul
from sk_rqvae._model.row_minima import k_smallest

# A bound of memory: the table of products of all codes has the square of their number.
MAX_TABULATED_CODES = 8192


class Beams(NamedTuple):
    """The IDs that a beam search kept, nearest first.

    Attributes
    ----------
    codes : Tensor of shape (n, n_beams, n_layers), int64
    errors : Tensor of shape (n, n_beams)
        Squared distance of each beam's sum of code vectors to the latent.
    """

    codes: Tensor
    errors: Tensor


class SearchMemory:
    """Memory for the largest tensors of a search, used for many blocks in turn.

    The system takes its time to provide new memory: without this, `transform` of 4000
    rows of 256 columns takes 1.07 times as long.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, Tensor] = {}

    def take(self, place: int, shape: tuple[int, int], like: Tensor) -> Tensor:
        """A tensor with any values, valid until the next one of this place."""
        n_values = math.prod(shape)
        if place not in self._tensors or len(self._tensors[place]) < n_values:
            self._tensors.pop(place, None)
            self._tensors[place] = like.new_empty(n_values)
        return self._tensors[place][:n_values].view(shape)


class PreparedBeamSearch:
    r"""Find the codes whose vectors sum most nearly to each latent.

    The search starts from the empty prefix. At each level it

    1. extends every prefix it kept by every code of the level,
    2. computes the squared distance of each extended prefix to the latent,
    3. keeps the `n_beams` nearest prefixes.

    With one beam this is greedy residual quantisation. What depends on the codebooks
    alone is computed once, in the constructor.

    Parameters
    ----------
    all_vectors : Tensor of shape (sum of sizes, dim)
        The vectors of all codebooks, concatenated.
    sizes : sequence of int
        Codes per level.
    n_beams : int
        Prefixes kept per row. The first levels keep fewer if fewer exist.

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

    One beam is searched by `greedy_codes`, which needs no tables.
    """

    def __init__(self, all_vectors: Tensor, sizes: Sequence[int], n_beams: int) -> None:
        # no_grad blocks instead of decorators: torch's exporter cannot trace decorated
        # methods of an object that is created inside the graph.
        with torch.no_grad():
            self._all_vectors = all_vectors
            self._sizes = list(sizes)
            self._codebooks = all_vectors.split(self._sizes)
            self.n_beams = n_beams
            self._squared_norms = all_vectors.square().sum(1)
            is_tabulated = n_beams > 1 and sum(sizes) <= MAX_TABULATED_CODES
            self._tables = self._product_tables() if is_tabulated else None

    def search(self, latents: Tensor, memory: SearchMemory | None = None) -> Beams:
        """Search the codes of latents, ``(n, dim)``."""
        with torch.no_grad():
            if self.n_beams > 1:
                return self._search_beams(latents, memory)
            codes = greedy_codes(latents, self._all_vectors, self._sizes)
            residual = latents - sum_of_codes(self._codebooks, codes)
            errors = residual.square().sum(1, keepdim=True)
            return Beams(codes.unsqueeze(1), errors)

    def _search_beams(self, latents: Tensor, memory: SearchMemory | None) -> Beams:
        latent_terms = addmm(
            self._squared_norms, latents, self._all_vectors.T, alpha=-2
        ).split(self._sizes, dim=1)
        codes = latents.new_empty(0, dtype=torch.int64)
        errors = latents.square().sum(1, keepdim=True)
        for level, size in enumerate(self._sizes):
            extended = latent_terms[level].unsqueeze(1)
            if level:
                extended = self._prefix_terms(level, codes, memory).add_(extended)
            # In place: allocating new memory at every level would take longer than the
            # addition.
            extended = extended.add_(errors.unsqueeze(2)).flatten(1)
            n_kept = min(self.n_beams, extended.shape[1])
            errors, kept = k_smallest(extended, n_kept)
            codes = _extend(codes, kept, size) if level else kept.unsqueeze(2)
        # Rounding can leave a tiny negative where it is zero.
        return Beams(codes, errors.clamp_min(0))

    def _product_tables(self) -> list[list[Tensor]]:
        """For each level but the first, ``2 c'.c`` with each earlier level's codes."""
        doubled = [2 * codebook.T for codebook in self._codebooks[1:]]
        return [
            [matmul(earlier, codebook) for earlier in self._codebooks[:level]]
            for level, codebook in enumerate(doubled, start=1)
        ]

    def _prefix_terms(
        self, level: int, codes: Tensor, memory: SearchMemory | None
    ) -> Tensor:
        """``2 q.c`` for the prefixes `codes` and every code of `level`."""
        if self._tables is None:
            sums = sum_of_codes(self._codebooks, codes)
            return 2 * matmul(sums, self._codebooks[level].T)
        first, *others = self._tables[level - 1]
        total = _table_rows(first, codes[:, :, 0], memory, place=0)
        for earlier, table in enumerate(others, start=1):
            total += _table_rows(table, codes[:, :, earlier], memory, place=1)
        return total


def _table_rows(
    table: Tensor, index: Tensor, memory: SearchMemory | None, *, place: int
) -> Tensor:
    """``table[index]``, in the memory that there is for it."""
    if memory is None:
        return F.embedding(index, table)
    out = memory.take(place, (index.numel(), table.shape[1]), table)
    torch.index_select(table, 0, index.flatten(), out=out)
    return out.unflatten(0, index.shape)


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
