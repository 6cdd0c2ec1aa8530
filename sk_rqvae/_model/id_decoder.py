"""Losses of many candidate IDs, by tables of what each of their codes adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.experts import SORTED_BLOCK_SIZE, Experts, sorted_blocks
from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import Linear, matmul

_MAX_HIDDEN_VALUES = 2**26  # a bound of memory: 256 MiB

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Maps rows and their decoded values, both ``(..., width)``, to losses, ``(...)``."""


class TabulatedDecoder:
    """A decoder with a linear path, for many complete IDs.

    The linear path of an ID is the sum of those of its code vectors. So are the inputs
    of the first hidden units, and the products with the centres of the experts. They
    are computed once for each code vector, so that an ID takes additions only. What
    remains are the layers after the first.

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
        if decoder.linear is None:
            raise ValueError("Tables need a decoder with a linear path.")
        self._row_losses = row_losses
        self._width = decoder.linear.out_features
        vectors = torch.cat(list(codebooks))
        sizes = [len(codebook) for codebook in codebooks]
        # Side by side, to be added up together.
        added = [decoder.linear(vectors)]
        self._later_layers: nn.Sequential | None = None
        if decoder.mlp is not None:
            first = cast(Linear, decoder.mlp[0])
            self._later_layers = nn.Sequential(*list(decoder.mlp)[1:])
            hidden = matmul(vectors, first.weight.T)
            hidden[: sizes[0]] += first.bias
            added.append(hidden)
        self._sums = _SumOfCodes(torch.cat(added, 1), sizes)
        self._experts = None
        if decoder.experts is not None:
            self._experts = _TabulatedExperts(decoder.experts, vectors, sizes)

    @property
    def groups_by_expert(self) -> bool:
        """Whether experts compute their IDs in groups, and so are faster with more."""
        return self._experts is not None and self._sums.is_cpu

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
        flat = codes.flatten(0, 1)
        if self._experts is None:
            decoded = self._common(flat)
        else:
            chosen = self._experts.nearest(flat)
            if self.groups_by_expert:
                return self._losses_by_expert(x, flat, chosen).view(codes.shape[:2])
            decoded = self._common(flat) + self._experts.of_each(flat, chosen)
        return self._row_losses(x.unsqueeze(1), decoded.unflatten(0, codes.shape[:2]))

    def _losses_by_expert(self, x: Tensor, codes: Tensor, chosen: Tensor) -> Tensor:
        """Losses of IDs, as many for each row, by the experts chosen for them."""
        assert self._experts is not None
        order = chosen.argsort(stable=True)
        rows = order.div(len(codes) // len(x), rounding_mode="floor")
        codes = codes[order]
        parts = []
        for expert, part in sorted_blocks(chosen):
            # With one shape, the loss of an ID does not depend on the other IDs.
            n_ids = part.stop - part.start
            block = F.pad(codes[part], (0, 0, 0, SORTED_BLOCK_SIZE - n_ids))
            decoded = self._common(block) + self._experts.of_one(block, expert)
            target = x.index_select(0, rows[part])
            parts.append(self._row_losses(target, decoded[:n_ids]))
        losses = x.new_empty(len(codes))
        losses[order] = torch.cat(parts)
        return losses

    def _common(self, codes: Tensor) -> Tensor:
        """What the linear path and the MLP give for IDs, ``(n, width)``."""
        sums = self._sums(codes)
        linear, hidden = sums[:, : self._width], sums[:, self._width :]
        if self._later_layers is None:
            return linear
        decoded: Tensor = self._later_layers(hidden) + linear
        return decoded


class _TabulatedExperts:
    """The experts of a decoder, for many complete IDs.

    Parameters
    ----------
    experts : Experts
    vectors : Tensor of shape (sum of sizes, dim)
        The code vectors of all levels.
    sizes : list of int
        Codes of each level.
    """

    def __init__(self, experts: Experts, vectors: Tensor, sizes: list[int]) -> None:
        self._experts, self._vectors, self._sizes = experts, vectors, sizes
        self._scores = _SumOfCodes(experts.scores(vectors), sizes)
        self._hidden_of_one: dict[int, _SumOfCodes] = {}
        self._hidden_of_all: Tensor | None = None

    def nearest(self, codes: Tensor) -> Tensor:
        """The expert of each ID, ``(n,)``, int64."""
        return self._scores(codes).argmax(1)

    def of_one(self, codes: Tensor, expert: int) -> Tensor:
        """Outputs of one expert for IDs, ``(n, n_out)``."""
        if expert not in self._hidden_of_one:  # few IDs need few experts
            table = self._hidden_inputs(expert)
            self._hidden_of_one[expert] = _SumOfCodes(table, self._sizes)
        hidden = self._hidden_of_one[expert](codes)
        return self._experts.outputs_of_hidden(hidden, expert)

    def of_each(self, codes: Tensor, experts: Tensor) -> Tensor:
        """Outputs of an expert for each ID, ``(n, n_out)``."""
        if self._hidden_of_all is None:
            self._hidden_of_all = self._hidden_inputs(slice(None)).flatten(0, 1)
        first = len(self._vectors) * experts.unsqueeze(1)
        hidden = _summed(self._hidden_of_all, self._scores.numbers(codes) + first)
        return self._experts.outputs_of_hidden(hidden, experts)

    def _hidden_inputs(self, expert: int | slice) -> Tensor:
        """What each code adds to the inputs of hidden units, ``(..., n_codes, width)``.

        Those of the first level include the bias.
        """
        layer = self._experts.first
        table = matmul(self._vectors, layer.weight[expert])
        table[..., : self._sizes[0], :] += layer.bias[expert].unsqueeze(-2)
        return table


class _SumOfCodes:
    """For IDs, the sum of what each of their codes adds.

    Parameters
    ----------
    table : Tensor of shape (sum of sizes, dim)
        What each code adds, level after level.
    sizes : sequence of int
        Codes of each level.
    """

    def __init__(self, table: Tensor, sizes: Sequence[int]) -> None:
        self._table = table
        starts = torch.tensor([0, *sizes[:-1]], device=table.device).cumsum(0)
        self._starts = starts

    @property
    def is_cpu(self) -> bool:
        return self._table.is_cpu

    def numbers(self, codes: Tensor) -> Tensor:
        """Rows of the table that the codes of IDs have, ``(n, n_layers)``."""
        return codes + self._starts

    def __call__(self, codes: Tensor) -> Tensor:
        """Map IDs ``(n, n_layers)`` to sums ``(n, dim)``."""
        return _summed(self._table, self.numbers(codes))


def _summed(table: Tensor, numbers: Tensor) -> Tensor:
    """Sums of the rows with these numbers, ``(n, k)``."""
    if table.is_cpu:
        return F.embedding_bag(numbers, table, mode="sum")
    # On CUDA, `embedding_bag` takes longer.
    first, *others = numbers.unbind(1)
    total = table[first]
    for each in others:
        total += table[each]
    return total


def fits_in_tables(decoder: SkipMLP, n_codes: int) -> bool:
    """Whether the tables of a decoder for so many codes take little memory."""
    experts = decoder.experts
    if experts is None:
        return True
    return n_codes * experts.first.bias.numel() <= _MAX_HIDDEN_VALUES
