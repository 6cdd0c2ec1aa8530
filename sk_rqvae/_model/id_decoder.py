"""Losses of many candidate IDs, by tables of what each of their codes adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sk_rqvae._model.beam_search import sum_of_codes
from sk_rqvae._model.experts import SORTED_BLOCK_SIZE, sorted_blocks
from sk_rqvae._model.mlp import SkipMLP

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Maps rows and their decoded values, both ``(n, width)``, to losses, ``(n,)``."""


class TabulatedDecoder:
    """A decoder with a linear path, for many complete IDs.

    The linear path of an ID is the sum of those of its code vectors, and so are its
    products with the centres of the experts. They are computed once for each code
    vector, so that an ID takes additions only. What remains are the hidden layers.

    It is valid as long as decoder and codebooks do not change.

    Parameters
    ----------
    decoder : SkipMLP
        With a linear path.
    codebooks : sequence of Tensor of shape (codebook_size, dim)
        One per level.
    row_losses : callable
        See `RowLosses`.
    """

    def __init__(
        self, decoder: SkipMLP, codebooks: Sequence[Tensor], row_losses: RowLosses
    ) -> None:
        linear, experts = decoder.linear, decoder.experts
        if linear is None:
            raise ValueError("Tables need a decoder with a linear path.")
        self._decoder, self._row_losses = decoder, row_losses
        self._width = linear.out_features
        # Linear paths and code vectors side by side, to be added up together.
        self._sums = _SumOfCodes([torch.cat([linear(c), c], 1) for c in codebooks])
        self._scores = None
        if experts is not None:
            self._scores = _SumOfCodes([experts.scores(c) for c in codebooks])

    @property
    def groups_by_expert(self) -> bool:
        """Whether experts compute their IDs in groups, and so are faster with more."""
        if self._scores is None or torch.compiler.is_compiling():
            return False
        return self._scores.is_cpu

    def losses(self, x: Tensor, codes: Tensor) -> Tensor:
        """Losses of candidate IDs: those of the decoded IDs, except for rounding.

        Parameters
        ----------
        x : Tensor of shape (n, width)
            Standardised rows.
        codes : Tensor of shape (n, n_candidates, n_layers), int64

        Returns
        -------
        Tensor of shape (n, n_candidates)
        """
        n_candidates = codes.shape[1]
        rows = torch.arange(len(x), device=x.device).repeat_interleave(n_candidates)
        losses = self._losses(x, rows, codes.flatten(0, 1))
        return losses.view(-1, n_candidates)

    def _losses(self, x: Tensor, rows: Tensor, codes: Tensor) -> Tensor:
        """Losses of IDs for the rows with these numbers."""
        experts = None if self._scores is None else self._scores(codes).argmax(1)
        if experts is None or not self.groups_by_expert:
            return self._row_losses(x[rows], self._decoded(codes, experts))
        order = experts.argsort(stable=True)
        rows, codes = rows[order], codes[order]
        parts = []
        for expert, part in sorted_blocks(experts):
            decoded = self._decoded(codes[part], expert)
            parts.append(self._row_losses(x.index_select(0, rows[part]), decoded))
        losses = x.new_empty(len(codes))
        losses[order] = torch.cat(parts)
        return losses

    def _decoded(self, codes: Tensor, experts: Tensor | int | None) -> Tensor:
        sums = self._sums(codes)
        if isinstance(experts, int):
            # With one shape, the loss of an ID does not depend on the other IDs.
            sums = F.pad(sums, (0, 0, 0, SORTED_BLOCK_SIZE - len(sums)))
        linear, latents = sums[:, : self._width], sums[:, self._width :]
        return self._decoder.corrected(linear, latents, experts)[: len(codes)]


class _SumOfCodes:
    """For IDs, the sum of what each of their codes adds.

    Parameters
    ----------
    tables : sequence of Tensor of shape (codebook_size, dim)
        What each code adds, one table per level.
    """

    def __init__(self, tables: Sequence[Tensor]) -> None:
        self._tables = list(tables)
        self._table = torch.cat(self._tables)
        sizes = [len(table) for table in tables[:-1]]
        self._offsets = torch.tensor([0, *sizes], device=self._table.device).cumsum(0)

    @property
    def is_cpu(self) -> bool:
        return self._table.is_cpu

    def __call__(self, codes: Tensor) -> Tensor:
        """Map IDs ``(n, n_layers)`` to sums ``(n, dim)``."""
        if torch.compiler.is_compiling():  # exporters do not know `embedding_bag`
            return sum_of_codes(self._tables, codes)
        return F.embedding_bag(codes + self._offsets, self._table, mode="sum")
