"""A wide hidden layer that is divided among experts, of which each input uses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sk_rqvae._model.products import addmm, baddbmm

# Inputs of a block. On a CPU, each expert has few of the 256 IDs that are decoded at
# once: blocks of 8, 16, 32 and 64 took 57, 42, 54 and 65 us an ID. On CUDA, each block
# has a copy of its expert's weights; 256 was not measured.
_BLOCK_SIZES = {"cpu": 16, "cuda": 256}

# Mean rows of padding for each expert, in a training step on a CPU. With 64 experts and
# up to 8 such rows on one thread, or 30 on two, one product of all experts takes less
# time than a product for each.
_MAX_PADDING = 16


class ExpertLinear(nn.Module):
    """A linear layer for each expert, initialised like `torch.nn.Linear`.

    Parameters
    ----------
    n_experts, n_in, n_out : int

    Attributes
    ----------
    weight : Parameter of shape (n_experts, n_in, n_out)
    bias : Parameter of shape (n_experts, n_out)
    """

    def __init__(self, n_experts: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = n_in**-0.5
        weight = torch.empty(n_experts, n_in, n_out, dtype=torch.float32)
        bias = torch.empty(n_experts, n_out, dtype=torch.float32)
        self.weight = nn.Parameter(nn.init.uniform_(weight, -bound, bound))
        self.bias = nn.Parameter(nn.init.uniform_(bias, -bound, bound))


class Experts(nn.Module):
    r"""Several MLPs with one hidden layer, of which each input uses one.

    An input belongs to the expert whose centre has the direction nearest to its own. So
    the experts together can have many hidden units, and an input takes the time of few.

    Parameters
    ----------
    n_in, n_out : int
        Widths of input and output.
    n_experts : int
    width : int
        Hidden units of each expert.
    activation : nn.Module
        Applied to the hidden units.

    Attributes
    ----------
    centres : Tensor of shape (n_experts, n_in)
        Unit vectors.

    References
    ----------
    Jacobs, Jordan, Nowlan and Hinton (1991), "Adaptive mixtures of local experts";
    Roller et al. (2021), "Hash layers for large sparse models", arXiv:2106.04426, for
    experts that are chosen without a trained gate.
    """

    centres: Tensor

    def __init__(
        self, n_in: int, n_out: int, n_experts: int, width: int, activation: nn.Module
    ) -> None:
        super().__init__()
        self.first = ExpertLinear(n_experts, n_in, width)
        self.activation = activation
        self.last = ExpertLinear(n_experts, width, n_out)
        centres = torch.zeros(n_experts, n_in, dtype=torch.float32)
        self.register_buffer("centres", centres)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs ``(n, n_in)`` to outputs ``(n, n_out)``."""
        experts = self.nearest(x)
        if torch.compiler.is_compiling() or (self.training and not x.is_cpu):
            return self._by_all(x, experts)
        if self.training:
            return self._in_groups(x, experts)
        return self._in_blocks(x, experts, self._expert)

    def outputs_of_hidden(self, hidden: Tensor, experts: Tensor) -> Tensor:
        """Outputs where what enters the hidden units is known.

        Parameters
        ----------
        hidden : Tensor of shape (n, width)
            Inputs of the hidden units.
        experts : Tensor of shape (n,), int64
            Expert of each input.

        Returns
        -------
        Tensor of shape (n, n_out)
        """
        return self._in_blocks(hidden, experts, self._from_hidden)

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the expert of each input, ``(n,)``, int64."""
        return self.scores(x).argmax(1)

    def scores(self, x: Tensor) -> Tensor:
        """Product of each input with each centre, ``(n, n_experts)``, float64.

        In float64, because another expert would change the output visibly.
        """
        return x.detach().double() @ self.centres.T.double()

    def _by_all(self, x: Tensor, experts: Tensor) -> Tensor:
        """Let all experts compute all inputs, and drop all outputs but one.

        The shapes do not depend on the inputs, so a GPU need not tell them to the CPU.
        """
        one_hot = F.one_hot(experts, len(self.centres)).to(x.dtype)
        first = self.first.weight.transpose(0, 1).flatten(1)
        hidden = self.activation(torch.addmm(self.first.bias.flatten(), x, first))
        of_expert = hidden.unflatten(1, (*one_hot.shape[1:], -1))
        of_expert = of_expert * one_hot.to(hidden.dtype).unsqueeze(2)
        output = of_expert.flatten(1) @ self.last.weight.flatten(0, 1)
        return output + one_hot @ self.last.bias

    def _in_groups(self, x: Tensor, experts: Tensor) -> Tensor:
        """Let each expert compute its inputs, however many these are."""
        counts = _counts(experts, len(self.centres))
        most = int(counts.max())
        if most * len(counts) - len(x) <= _MAX_PADDING * len(counts):
            return self._in_equal_groups(x, experts, most)
        order = experts.argsort(stable=True)
        sizes = counts.tolist()
        hidden = self.activation(_grouped_linear(self.first, x[order], sizes))
        return _grouped_linear(self.last, hidden, sizes)[_inverse(order)]

    def _in_equal_groups(self, x: Tensor, experts: Tensor, size: int) -> Tensor:
        """Let the experts compute as many rows each, their inputs and padding."""
        n_experts = len(self.centres)
        slots = experts * size + _ranks(experts, n_experts)
        padded = x.new_zeros(n_experts * size, x.shape[1]).index_copy(0, slots, x)
        inputs = padded.unflatten(0, (n_experts, size))
        hidden = self.activation(_equal_groups_linear(self.first, inputs))
        return _equal_groups_linear(self.last, hidden).flatten(0, 1)[slots]

    def _in_blocks(
        self,
        x: Tensor,
        experts: Tensor,
        compute: Callable[[Tensor, int | Tensor], Tensor],
    ) -> Tensor:
        """Let each expert compute its inputs in blocks of one shape.

        Math libraries choose kernels by shape, and kernels round differently. With one
        shape, an output does not depend on the other inputs.
        """
        size = _BLOCK_SIZES.get(x.device.type, _BLOCK_SIZES["cpu"])
        blocks = ExpertBlocks(experts, len(self.centres), size)
        padded = blocks.pad(x)
        if x.is_cpu:
            outputs = x.new_empty(*padded.shape[:2], self.last.bias.shape[1])
            for block, expert in enumerate(blocks.used()):
                outputs[block] = compute(padded[block], expert)
        else:  # with copies of the weights, so that no index goes to the CPU
            outputs = compute(padded, blocks.expert)
        return blocks.unpad(outputs)

    def _expert(self, x: Tensor, expert: int | Tensor) -> Tensor:
        """Outputs of one expert, or of one for each block of inputs."""
        return self._from_hidden(_linear(self.first, x, expert), expert)

    def _from_hidden(self, hidden: Tensor, expert: int | Tensor) -> Tensor:
        return _linear(self.last, self.activation(hidden), expert)


def _linear(layer: ExpertLinear, x: Tensor, expert: int | Tensor) -> Tensor:
    weight, bias = layer.weight[expert], layer.bias[expert]
    if isinstance(expert, int):
        return addmm(bias, x, weight)
    return baddbmm(bias.unsqueeze(-2), x, weight)


def _equal_groups_linear(layer: ExpertLinear, x: Tensor) -> Tensor:
    """Apply a layer to inputs ``(n_experts, size, n_in)``, as many of each expert."""
    return torch.baddbmm(layer.bias.unsqueeze(1), x, layer.weight)


def _grouped_linear(layer: ExpertLinear, x: Tensor, counts: list[int]) -> Tensor:
    """Apply a layer to inputs that are sorted by expert, `counts` of each expert."""
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    tensors = (tensor.to(dtype) for tensor in (x, layer.weight, layer.bias))
    output: Tensor = _GroupedLinear.apply(  # type: ignore[no-untyped-call]
        *tensors, counts
    )
    return output


class _GroupedLinear(torch.autograd.Function):
    """One product for each expert.

    Its gradient writes each expert's part into one tensor. That of indexed or unbound
    weights would copy all weights in every step.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, counts: list[int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.counts = counts
        output = x.new_empty(len(x), bias.shape[1])
        groups = zip(x.split(counts), output.split(counts), strict=True)
        for expert, (part, part_output) in enumerate(groups):
            torch.addmm(bias[expert], part, weight[expert], out=part_output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = torch.empty_like(x), torch.empty_like(weight)
        of_bias = weight.new_empty(len(weight), weight.shape[2])
        parts = (tensor.split(ctx.counts) for tensor in (x, gradient, of_x))
        for expert, (part, part_gradient, of_part) in enumerate(
            zip(*parts, strict=True)
        ):
            torch.mm(part_gradient, weight[expert].T, out=of_part)
            torch.mm(part.T, part_gradient, out=of_weight[expert])
            torch.sum(part_gradient, dim=0, out=of_bias[expert])
        return of_x, of_weight, of_bias, None


class ExpertBlocks:
    """Inputs in blocks of one shape, each for one expert.

    Parameters
    ----------
    experts : Tensor of shape (n,), int64
        Expert of each input.
    n_experts : int
    size : int
        Inputs of a block. Where an expert has fewer left, the rest is padding.

    Attributes
    ----------
    expert : Tensor of shape (n_blocks,), int64
        Expert of each block. How many blocks there are depends on `n` alone; the last
        ones may be empty.
    """

    def __init__(self, experts: Tensor, n_experts: int, size: int) -> None:
        self._size = size
        blocks_of_each = -(_counts(experts, n_experts) // -size)
        ends = blocks_of_each.cumsum(0)
        first_slots = size * (ends - blocks_of_each)
        self._slots = first_slots[experts] + _ranks(experts, n_experts)
        self._n_used = ends[-1]
        n_blocks = -(len(experts) // -size) + n_experts
        block = torch.arange(n_blocks, device=experts.device)
        self.expert = torch.searchsorted(ends, block, right=True)
        self.expert.clamp_(max=n_experts - 1)

    def used(self) -> list[int]:
        """Expert of each block that is not empty; waits for the device."""
        experts: list[int] = self.expert[: int(self._n_used)].tolist()
        return experts

    def runs(self, max_blocks: int) -> Iterator[tuple[int, slice]]:
        """Each expert with up to `max_blocks` of its blocks; waits for the device."""
        start = 0
        for expert, group in groupby(self.used()):
            stop = start + len(list(group))
            for first in range(start, stop, max_blocks):
                yield expert, slice(first, min(first + max_blocks, stop))
            start = stop

    def pad(self, x: Tensor) -> Tensor:
        """Divide ``(n, ...)`` into blocks, ``(n_blocks, size, ...)``, with zeros."""
        n_slots = len(self.expert) * self._size
        padded = x.new_zeros(n_slots, *x.shape[1:])
        padded[self._slots] = x
        return padded.unflatten(0, (-1, self._size))

    def unpad(self, blocks: Tensor) -> Tensor:
        """Undo `pad`."""
        return blocks.flatten(0, 1)[self._slots]


def _counts(experts: Tensor, n_experts: int) -> Tensor:
    """Inputs of each expert; unlike `bincount`, without waiting for the device."""
    counts = experts.new_zeros(n_experts)
    return counts.index_add_(0, experts, torch.ones_like(experts))


def _ranks(experts: Tensor, n_experts: int) -> Tensor:
    """Position of each input among those of its expert, ``(n,)``."""
    counts = _counts(experts, n_experts)
    order = experts.argsort(stable=True)
    return _inverse(order) - (counts.cumsum(0) - counts)[experts]


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse
