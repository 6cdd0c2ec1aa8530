"""Losses of many candidate IDs, by tables of what each of their codes adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.experts import ExpertBlocks, Experts
from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import Linear, baddbmm, matmul

_MAX_HIDDEN_VALUES = 2**26  # a bound of memory: 256 MiB

# IDs of a block, and blocks of one expert that are decoded at once, on a CPU. Blocks of
# 32 and of 64 take the same time; with 16, `transform` takes 1.1 times as long. Larger
# blocks have more padding if there are few rows.
_BLOCK_SIZE = 64
_MAX_BLOCKS = 4

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
        self._last_layers: dict[int, tuple[Tensor, Tensor]] = {}

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
        elif self.groups_by_expert:
            losses = self._losses_by_expert(x, flat, self._experts)
            return losses.view(codes.shape[:2])
        else:
            decoded = self._common(flat) + self._experts.of_each(flat)
        return self._row_losses(x.unsqueeze(1), decoded.unflatten(0, codes.shape[:2]))

    def _losses_by_expert(
        self, x: Tensor, codes: Tensor, experts: _TabulatedExperts
    ) -> Tensor:
        """Losses of IDs, as many for each row, one expert after another.

        Blocks have one shape, so that a loss does not depend on the other IDs.
        """
        rows = torch.arange(len(codes)).div_(
            len(codes) // len(x), rounding_mode="floor"
        )
        blocks = experts.blocks(codes)
        codes, rows = blocks.pad(codes), blocks.pad(rows)
        losses = x.new_empty(rows.shape)
        for expert, part in blocks.runs(_MAX_BLOCKS):
            decoded = self._decoded_by(expert, codes[part], experts)
            target = x.index_select(0, rows[part].flatten()).view(decoded.shape)
            losses[part] = self._row_losses(target, decoded)
        return blocks.unpad(losses)

    def _decoded_by(
        self, expert: int, codes: Tensor, experts: _TabulatedExperts
    ) -> Tensor:
        """Decode IDs of one expert, in blocks ``(n_blocks, size, n_layers)``."""
        sums = self._sums(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        linear, hidden = sums.split([self._width, sums.shape[2] - self._width], dim=2)
        units = experts.hidden_units(codes, expert)
        if self._later_layers is not None:
            of_mlp = _last_units(self._later_layers, hidden)
            units = torch.cat([of_mlp, units], 2)
        weight, bias = self._last_layer(expert, experts)
        return baddbmm(linear + bias, units, weight.expand(len(codes), -1, -1))

    def _last_layer(
        self, expert: int, experts: _TabulatedExperts
    ) -> tuple[Tensor, Tensor]:
        """Weight and bias of the last layer of the MLP and of an expert together."""
        if expert not in self._last_layers:
            weight, bias = experts.last_layer(expert)
            if self._later_layers is not None:
                last = cast(Linear, self._later_layers[-1])
                weight = torch.cat([last.weight.T, weight])
                bias = bias + last.bias
            self._last_layers[expert] = weight, bias
        return self._last_layers[expert]

    def _common(self, codes: Tensor) -> Tensor:
        """What the linear path and the MLP give for IDs, ``(n, width)``."""
        sums = self._sums(codes)
        linear, hidden = sums[:, : self._width], sums[:, self._width :]
        if self._later_layers is None:
            return linear
        decoded: Tensor = self._later_layers(hidden) + linear
        return decoded


def _last_units(later_layers: nn.Sequential, hidden: Tensor) -> Tensor:
    """Last hidden units of an MLP, from what enters the first, in equal blocks."""
    nonlinearity, *others, _ = later_layers
    units: Tensor = nonlinearity(hidden)
    if not others:
        return units
    # Each block by itself: products of one shape round a row alike, whatever the rest.
    return torch.stack([nn.Sequential(*others)(block) for block in units])


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

    def blocks(self, codes: Tensor) -> ExpertBlocks:
        """Divide IDs among the experts that are nearest to them."""
        n_experts = len(self._experts.centres)
        return ExpertBlocks(self._nearest(codes), n_experts, _BLOCK_SIZE)

    def hidden_units(self, codes: Tensor, expert: int) -> Tensor:
        """Hidden units of one expert for IDs, ``(..., width)``."""
        if expert not in self._hidden_of_one:  # few IDs need few experts
            table = self._hidden_inputs(expert)
            self._hidden_of_one[expert] = _SumOfCodes(table, self._sizes)
        hidden = self._hidden_of_one[expert](codes.flatten(0, -2))
        return self._experts.activation(hidden).unflatten(0, codes.shape[:-1])

    def last_layer(self, expert: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of an expert's last layer."""
        layer = self._experts.last
        return layer.weight[expert], layer.bias[expert]

    def of_each(self, codes: Tensor) -> Tensor:
        """Outputs of the nearest expert of each ID, ``(n, n_out)``."""
        experts = self._nearest(codes)
        if self._hidden_of_all is None:
            self._hidden_of_all = self._hidden_inputs(slice(None)).flatten(0, 1)
        first = len(self._vectors) * experts.unsqueeze(1)
        hidden = _summed(self._hidden_of_all, self._scores.numbers(codes) + first)
        return self._experts.outputs_of_hidden(hidden, experts)

    def _nearest(self, codes: Tensor) -> Tensor:
        """The expert of each ID, ``(n,)``, int64."""
        return self._scores(codes).argmax(1)

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
