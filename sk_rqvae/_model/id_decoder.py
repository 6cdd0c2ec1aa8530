"""Losses of many candidate IDs, by tables of what each of their codes adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.columns import Columns
from sk_rqvae._model.experts import ExpertBlocks, Experts
from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import Linear, baddbmm, matmul
from sk_rqvae._model.row_minima import nearest

_MAX_HIDDEN_VALUES = 2**26  # a bound of memory: 256 MiB

# IDs of a block, and blocks of one expert that are decoded at once, on a CPU. As many
# IDs in half or in twice as many blocks take the same time. Larger blocks have more
# padding if there are few rows.
_BLOCK_SIZE = 64
_MAX_BLOCKS = 4
# IDs whose experts are chosen at once, on a CPU: few enough for a cache to hold their
# products with the centres. With 128 experts and 40 960 IDs at once, `transform` takes
# 1.07 times as long.
_CHOSEN_AT_ONCE = 1024


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
    columns : Columns
        What the decoded values are.
    """

    def __init__(
        self, decoder: SkipMLP, codebooks: Sequence[Tensor], columns: Columns
    ) -> None:
        if decoder.linear is None:
            raise ValueError("Tables need a decoder with a linear path.")
        self._columns = columns
        vectors = torch.cat(list(codebooks))
        sizes = [len(codebook) for codebook in codebooks]
        self._linear = _SumOfCodes(decoder.linear(vectors), sizes)
        self._mlp = None
        if decoder.mlp is not None:
            self._mlp = _TabulatedMLP(decoder.mlp, vectors, sizes)
        self._experts = None
        if decoder.experts is not None:
            self._experts = _TabulatedExperts(decoder.experts, vectors, sizes)
        self._last_weights: dict[int, Tensor] = {}

    @property
    def groups_by_expert(self) -> bool:
        """Whether experts compute their IDs in groups, and so are faster with more."""
        return self._experts is not None and self._linear.is_cpu

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
        if self._experts is not None and self.groups_by_expert:
            losses = self._losses_by_expert(x, flat, self._experts)
            return losses.view(codes.shape[:2])
        decoded = self._linear(flat)
        for part in (self._mlp, self._experts):
            if part is not None:
                decoded += part.outputs(flat)
        decoded = decoded.unflatten(0, codes.shape[:2])
        return self._losses_of(x.unsqueeze(1), decoded)

    def _losses_by_expert(
        self, x: Tensor, codes: Tensor, experts: _TabulatedExperts
    ) -> Tensor:
        """Losses of IDs, as many for each row, one expert after another.

        Blocks have one shape, so that a loss does not depend on the other IDs.
        """
        per_row = len(codes) // len(x)
        rows = torch.arange(len(codes)).div_(per_row, rounding_mode="floor")
        blocks = experts.blocks(codes)
        codes, rows = blocks.pad(codes), blocks.pad(rows)
        # A row minus the linear paths and the bias of its ID, as one sum. Several
        # operations would each write a tensor as large as the decoded IDs.
        table = torch.cat([x, -self._linear.table, -self._last_biases(experts)])
        bias = len(table) - experts.n_experts + blocks.expert
        numbers = torch.cat(
            [
                rows.unsqueeze(2),
                len(x) + self._linear.numbers(codes),
                bias.view(-1, 1, 1).expand(*rows.shape, 1),
            ],
            dim=2,
        )
        losses = x.new_empty(rows.shape)
        for expert, part in blocks.runs(_MAX_BLOCKS):
            target = _summed(table, numbers[part].flatten(0, 1))
            target = target.unflatten(0, (-1, rows.shape[1]))
            units = self._last_units(codes[part], expert, experts)
            weight = self._last_weight(expert, experts).expand(len(units), -1, -1)
            errors = baddbmm(target, units, weight, alpha=-1, out=target)
            losses[part] = self._losses_of_errors(errors, x, rows[part])
        return blocks.unpad(losses)

    def _last_units(
        self, codes: Tensor, expert: int, experts: _TabulatedExperts
    ) -> Tensor:
        """Last hidden units of MLP and expert, for blocks ``(n_blocks, size, k)``."""
        units = experts.last_units(codes, expert)
        if self._mlp is None:
            return units
        return torch.cat([self._mlp.last_units(codes), units], 2)

    def _last_weight(self, expert: int, experts: _TabulatedExperts) -> Tensor:
        """Weight of the last layers of the MLP and of an expert, side by side."""
        if expert not in self._last_weights:
            weight = experts.last.weight[expert]
            if self._mlp is not None:
                weight = torch.cat([self._mlp.last.weight.T, weight])
            self._last_weights[expert] = weight
        return self._last_weights[expert]

    def _last_biases(self, experts: _TabulatedExperts) -> Tensor:
        """Last bias of the MLP plus that of each expert, ``(n_experts, width)``."""
        biases = experts.last.bias
        return biases if self._mlp is None else biases + self._mlp.last.bias

    def _losses_of_errors(self, errors: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        """Losses from rows minus decoded IDs, both standardised, ``(..., width)``."""
        if not self._columns.n_binary:
            return torch.linalg.vector_norm(errors, dim=-1).square_()
        x = x[rows]
        return self._losses_of(x, x - errors)

    def _losses_of(self, x: Tensor, decoded: Tensor) -> Tensor:
        columns = self._columns
        return columns.row_losses(x, columns.with_logits(decoded))


class _TabulatedMLP:
    """The MLP of a decoder, for many complete IDs.

    Parameters
    ----------
    mlp : nn.Sequential
    vectors : Tensor of shape (sum of sizes, dim)
        The code vectors of all levels.
    sizes : list of int
        Codes of each level.
    """

    def __init__(self, mlp: nn.Sequential, vectors: Tensor, sizes: list[int]) -> None:
        first = cast(Linear, mlp[0])
        table = matmul(vectors, first.weight.T)
        table[: sizes[0]] += first.bias
        self._hidden = _SumOfCodes(table, sizes)
        self._later_layers = nn.Sequential(*list(mlp)[1:])
        self.last = cast(Linear, mlp[-1])

    def outputs(self, codes: Tensor) -> Tensor:
        """Outputs for IDs ``(n, n_layers)``, ``(n, n_out)``."""
        outputs: Tensor = self._later_layers(self._hidden(codes))
        return outputs

    def last_units(self, codes: Tensor) -> Tensor:
        """Last hidden units for blocks of IDs, ``(n_blocks, size, n_layers)``."""
        nonlinearity, *inner_layers, _ = self._later_layers
        hidden = self._hidden(codes.flatten(0, 1)).unflatten(0, codes.shape[:2])
        units: Tensor = nonlinearity(hidden)
        if not inner_layers:
            return units
        # Each block by itself: products of one shape round a row alike, whatever the
        # rest.
        return torch.stack([nn.Sequential(*inner_layers)(block) for block in units])


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
        self.n_experts = len(experts.centres)
        self.last = experts.last
        self._distances = _SumOfCodes(-experts.scores(vectors), sizes)
        self._hidden_of_one: dict[int, _SumOfCodes] = {}
        self._hidden_of_all: Tensor | None = None

    def blocks(self, codes: Tensor) -> ExpertBlocks:
        """Divide IDs among the experts that are nearest to them."""
        return ExpertBlocks(self._nearest(codes), self.n_experts, _BLOCK_SIZE)

    def last_units(self, codes: Tensor, expert: int) -> Tensor:
        """Hidden units of one expert for blocks ``(n_blocks, size, n_layers)``."""
        if expert not in self._hidden_of_one:  # few IDs need few experts
            table = self._hidden_inputs(expert)
            self._hidden_of_one[expert] = _SumOfCodes(table, self._sizes)
        hidden = self._hidden_of_one[expert](codes.flatten(0, 1))
        units: Tensor = self._experts.activation(hidden)
        return units.unflatten(0, codes.shape[:2])

    def outputs(self, codes: Tensor) -> Tensor:
        """Outputs of the nearest expert of each ID, ``(n, n_out)``."""
        experts = self._nearest(codes)
        if self._hidden_of_all is None:
            self._hidden_of_all = self._hidden_inputs(slice(None)).flatten(0, 1)
        first = len(self._vectors) * experts.unsqueeze(1)
        hidden = _summed(self._hidden_of_all, self._distances.numbers(codes) + first)
        return self._experts.outputs_of_hidden(hidden, experts)

    def _nearest(self, codes: Tensor) -> Tensor:
        """The expert of each ID, ``(n,)``, int64."""
        # On CUDA, parts would mean as many launches more.
        parts = codes.split(_CHOSEN_AT_ONCE if codes.is_cpu else len(codes))
        return torch.cat([nearest(self._distances(part)) for part in parts])

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
        self.table = table
        starts = torch.tensor([0, *sizes[:-1]], device=table.device).cumsum(0)
        self._starts = starts

    @property
    def is_cpu(self) -> bool:
        return self.table.is_cpu

    def numbers(self, codes: Tensor) -> Tensor:
        """Rows of the table that the codes of IDs have, ``(n, n_layers)``."""
        return codes + self._starts

    def __call__(self, codes: Tensor) -> Tensor:
        """Map IDs ``(n, n_layers)`` to sums ``(n, dim)``."""
        return _summed(self.table, self.numbers(codes))


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
