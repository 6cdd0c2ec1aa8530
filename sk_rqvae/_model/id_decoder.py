"""Losses of many candidate IDs, by tables of what each of their codes adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.codebook import level_offsets
from sk_rqvae._model.columns import Columns
from sk_rqvae._model.experts import ExpertBlocks, Experts
from sk_rqvae._model.mlp import SkipMLP
from sk_rqvae._model.products import Linear, baddbmm, matmul
from sk_rqvae._model.row_minima import nearest

# A bound of memory: 256 MiB for experts, and on a CPU about as much for a copy of what
# codes add to the MLP beside each expert. Both are made for experts that have IDs.
_MAX_HIDDEN_VALUES = 2**26

# IDs of a block, and blocks of one expert that are decoded at once, on a CPU. Larger
# blocks have more padding if there are few rows. With at most 4, 8 and 16 blocks at
# once, `transform` of nouns took 49, 47 and 44 us a row, and 64 took no less than 16.
_BLOCK_SIZE = 64
_MAX_BLOCKS = 16
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

    @torch.no_grad()
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
        self._by_expert = None
        if self._experts is not None and vectors.is_cpu:
            self._by_expert = _DecoderByExpert(self._linear, self._mlp, self._experts)

    @property
    def max_bytes(self) -> int:
        """Memory of the tables once each expert has had an ID."""
        tables = [self._linear.table]
        if self._mlp is not None:
            tables.append(self._mlp.hidden.table)
        if self._experts is not None:
            tables += [self._experts.vectors, self._experts.negative_scores.table]
        total = sum(table.nbytes for table in tables)
        if self._by_expert is not None:
            return total + self._by_expert.max_bytes
        if self._experts is not None:
            total += self._experts.n_experts * self._experts.bytes_of_hidden
        return total

    @property
    def groups_by_expert(self) -> bool:
        """Whether experts compute their IDs in groups, and so are faster with more."""
        return self._by_expert is not None

    @torch.no_grad()
    def losses(self, x: Tensor, codes: Tensor) -> Tensor:
        """Losses of the decoded candidates, up to rounding and without gradients.

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
        if self._by_expert is not None:
            losses = self._losses_by_expert(x, flat, self._by_expert)
            return losses.view(codes.shape[:2])
        decoded = self._linear(flat)
        for part in (self._mlp, self._experts):
            if part is not None:
                decoded += part.outputs(flat)
        decoded = decoded.unflatten(0, codes.shape[:2])
        return self._losses_of(x.unsqueeze(1), decoded)

    def _losses_by_expert(
        self, x: Tensor, codes: Tensor, decoder: _DecoderByExpert
    ) -> Tensor:
        """Losses of IDs, as many for each row, one expert after another.

        Blocks have one shape, so that a loss does not depend on the other IDs.
        """
        per_row = len(codes) // len(x)
        rows = torch.arange(len(codes)).div_(per_row, rounding_mode="floor")
        blocks = decoder.blocks(codes)
        rows, table_rows = blocks.pad(rows), blocks.pad(self._linear.table_rows(codes))
        losses = x.new_empty(rows.shape)
        for part, errors in decoder.errors(x, rows, table_rows, blocks):
            losses[part] = self._losses_of_errors(errors, x, rows[part])
        return blocks.unpad(losses)

    def _losses_of_errors(self, errors: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        """Losses from rows minus decoded IDs, both standardised, ``(..., width)``."""
        if not self._columns.n_binary:
            return torch.linalg.vector_norm(errors, dim=-1).square_()
        x = x[rows]
        return self._losses_of(x, x - errors)

    def _losses_of(self, x: Tensor, decoded: Tensor) -> Tensor:
        columns = self._columns
        return columns.row_losses(x, columns.with_logits(decoded))


class _DecoderByExpert:
    """A decoder for groups of IDs that have one expert, on a CPU.

    The MLP of the decoder and the expert compute side by side, as one layer.

    Parameters
    ----------
    linear : _SumOfCodes
    mlp : _TabulatedMLP or None
    experts : _TabulatedExperts
    """

    def __init__(
        self,
        linear: _SumOfCodes,
        mlp: _TabulatedMLP | None,
        experts: _TabulatedExperts,
    ) -> None:
        self._mlp, self._experts = mlp, experts
        bias: Tensor = experts.last.bias
        if mlp is not None:
            bias = bias + mlp.last.bias
        self._n_linear = len(linear.table)
        self._subtracted = -torch.cat([linear.table, bias])
        # Few IDs need few experts.
        self._of_expert: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def max_bytes(self) -> int:
        """Memory of what is made here, once each expert has had an ID."""
        of_each = self._experts.bytes_of_hidden
        if self._mlp is not None:
            weights = (self._mlp.last.weight, self._experts.last.weight[0])
            of_each += sum(each.nbytes for each in weights)
            of_each += self._mlp.hidden.table.nbytes
        return self._subtracted.nbytes + self._experts.n_experts * of_each

    def blocks(self, codes: Tensor) -> ExpertBlocks:
        """Divide IDs among the experts that are nearest to them."""
        experts = self._experts
        return ExpertBlocks(experts.nearest(codes), experts.n_experts, _BLOCK_SIZE)

    def errors(
        self, x: Tensor, rows: Tensor, table_rows: Tensor, blocks: ExpertBlocks
    ) -> Iterator[tuple[slice, Tensor]]:
        """Rows minus decoded IDs, a few blocks at a time.

        Parameters
        ----------
        x : Tensor of shape (n, width)
            Standardised rows.
        rows : Tensor of shape (n_blocks, size), int64
            For each ID, which of the rows it is subtracted from.
        table_rows : Tensor of shape (n_blocks, size, n_layers), int64
            Which rows of the tables the codes of each ID have.
        blocks : ExpertBlocks

        Yields
        ------
        part : slice
            Which blocks.
        errors : Tensor of shape (n_of_part, size, width)
        """
        # A row minus the linear paths and the bias of its ID, as one sum. Several
        # operations would each write a tensor as large as the decoded IDs.
        table = torch.cat([x, self._subtracted])
        bias = (len(x) + self._n_linear + blocks.expert).view(-1, 1, 1)
        summands = torch.cat(
            [rows.unsqueeze(2), len(x) + table_rows, bias.expand(*rows.shape, 1)], dim=2
        )
        for expert, part in blocks.runs(_MAX_BLOCKS):
            hidden, weight = self._layers(expert)
            target = _summed_in_blocks(table, summands[part])
            units = self._last_units(_summed_in_blocks(hidden, table_rows[part]))
            weights = weight.expand(len(units), -1, -1)
            yield part, baddbmm(target, units, weights, alpha=-1, out=target)

    def _layers(self, expert: int) -> tuple[Tensor, Tensor]:
        """What codes add to hidden units of MLP and expert, and their last weights."""
        if expert not in self._of_expert:
            hidden = self._experts.hidden_inputs(expert)
            weight = self._experts.last.weight[expert]
            if self._mlp is not None:
                hidden = torch.cat([self._mlp.hidden.table, hidden], 1)
                weight = torch.cat([self._mlp.last.weight.T, weight])
            self._of_expert[expert] = hidden, weight
        return self._of_expert[expert]

    def _last_units(self, inputs: Tensor) -> Tensor:
        """Last hidden units of MLP and expert, ``(n_blocks, size, k)``."""
        units: Tensor = self._experts.activation(inputs)
        if self._mlp is None or not len(self._mlp.inner_layers):
            return units
        width = self._mlp.hidden.table.shape[1]
        # Each block by itself: products of one shape round a row alike, whatever the
        # rest.
        inner = [
            self._mlp.inner_layers(block) for block in units[..., :width].contiguous()
        ]
        return torch.cat([torch.stack(inner), units[..., width:]], 2)


class _TabulatedMLP:
    """The MLP of a decoder, for many complete IDs.

    Parameters
    ----------
    mlp : nn.Sequential
    vectors : Tensor of shape (sum of sizes, dim)
        The code vectors of all levels.
    sizes : list of int
        Codes of each level.

    Attributes
    ----------
    hidden : _SumOfCodes
        The inputs of the first hidden units.
    inner_layers : nn.Sequential
        The layers between the first hidden units and the last layer.
    last : Linear
    """

    def __init__(self, mlp: nn.Sequential, vectors: Tensor, sizes: list[int]) -> None:
        first, self.last = cast(Linear, mlp[0]), cast(Linear, mlp[-1])
        table = matmul(vectors, first.weight.T)
        table[: sizes[0]] += first.bias
        self.hidden = _SumOfCodes(table, sizes)
        layers = list(mlp)
        self.inner_layers = nn.Sequential(*layers[2:-1])
        self._later_layers = nn.Sequential(*layers[1:])

    def outputs(self, codes: Tensor) -> Tensor:
        """Outputs for IDs ``(n, n_layers)``, ``(n, n_out)``."""
        outputs: Tensor = self._later_layers(self.hidden(codes))
        return outputs


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
        self._experts, self.vectors, self._sizes = experts, vectors, sizes
        self.n_experts = len(experts.centres)
        self.activation = experts.activation
        self.last = experts.last
        self.negative_scores = _SumOfCodes(-experts.scores(vectors), sizes)
        self._hidden_of_all: Tensor | None = None

    @property
    def bytes_of_hidden(self) -> int:
        """Memory of what codes add to the hidden units of one expert."""
        return len(self.vectors) * self._experts.first.bias[0].nbytes

    def outputs(self, codes: Tensor) -> Tensor:
        """Outputs of the nearest expert of each ID, ``(n, n_out)``."""
        experts = self.nearest(codes)
        if self._hidden_of_all is None:
            self._hidden_of_all = self.hidden_inputs(slice(None)).flatten(0, 1)
        first = len(self.vectors) * experts.unsqueeze(1)
        table_rows = self.negative_scores.table_rows(codes) + first
        hidden = _summed(self._hidden_of_all, table_rows)
        return self._experts.outputs_of_hidden(hidden, experts)

    def nearest(self, codes: Tensor) -> Tensor:
        """The expert of each ID, ``(n,)``, int64."""
        # On CUDA, parts would mean as many launches more.
        parts = codes.split(_CHOSEN_AT_ONCE if codes.is_cpu else len(codes))
        return torch.cat([nearest(self.negative_scores(part)) for part in parts])

    def hidden_inputs(self, expert: int | slice) -> Tensor:
        """What each code adds to the inputs of hidden units, ``(..., n_codes, width)``.

        Those of the first level include the bias.
        """
        layer = self._experts.first
        table = matmul(self.vectors, layer.weight[expert])
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
        self._offsets = level_offsets(sizes, table.device)

    def table_rows(self, codes: Tensor) -> Tensor:
        """Rows of the table that the codes of IDs have, ``(n, n_layers)``."""
        return codes + self._offsets

    def __call__(self, codes: Tensor) -> Tensor:
        """Map IDs ``(n, n_layers)`` to sums ``(n, dim)``."""
        return _summed(self.table, self.table_rows(codes))


def _summed_in_blocks(table: Tensor, table_rows: Tensor) -> Tensor:
    """Sums of these rows of the table, ``(n_blocks, size, k)``."""
    return _summed(table, table_rows.flatten(0, 1)).unflatten(0, table_rows.shape[:2])


def _summed(table: Tensor, table_rows: Tensor) -> Tensor:
    """Sums of these rows of the table, ``(n, k)``."""
    if table.is_cpu:
        return F.embedding_bag(table_rows, table, mode="sum")
    # On CUDA, `embedding_bag` takes longer.
    first, *others = table_rows.unbind(1)
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
