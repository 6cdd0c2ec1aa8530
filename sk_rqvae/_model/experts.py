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

# Inputs that the product of all experts computes in the time that a product for one
# expert takes beyond its inputs, forward and backward, on a CPU: 28 on one thread, 40
# on two, with 64 experts of 285 inputs and 128 units.
_INPUTS_PER_PRODUCT = 32

# Experts that have a product of their own, each with how many inputs that has.
Groups = list[tuple[int, int]]


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
        """Let each expert compute its inputs, most of them in one product of all.

        For that product, each expert gets as many inputs or padding. The inputs that an
        expert has beyond these are its group, for a product of its own.
        """
        counts = _counts(experts, len(self.centres))
        ranks = _ranks(experts, counts)
        counts_list: list[int] = counts.tolist()
        size = _size_for_all(counts_list)
        groups = [
            (expert, count - size)
            for expert, count in enumerate(counts_list)
            if count > size
        ]
        n_padded = size * len(counts)
        in_group = (counts - size).clamp_(min=0)
        group_starts = n_padded + in_group.cumsum(0) - in_group
        slots = torch.where(
            ranks < size, experts * size + ranks, group_starts[experts] + ranks - size
        )
        n_slots = n_padded + sum(count for _, count in groups)
        inputs = x.new_zeros(n_slots, x.shape[1]).index_copy(0, slots, x)
        hidden = self.activation(_grouped_linear(self.first, inputs, size, groups))
        return _grouped_linear(self.last, hidden, size, groups)[slots]

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


def _size_for_all(counts: list[int]) -> int:
    """Inputs per expert in the product of all at which the estimated time is least.

    A larger size pads the experts that have fewer inputs. A smaller one gives more
    experts a second product for the inputs that are left.
    """
    sizes = sorted([0, *counts])
    costs = (
        len(counts) * size + _INPUTS_PER_PRODUCT * n_larger
        for size, n_larger in zip(sizes, reversed(range(len(sizes))), strict=True)
    )
    return min(zip(costs, sizes, strict=True))[1]


def _grouped_linear(
    layer: ExpertLinear, x: Tensor, size: int, groups: Groups
) -> Tensor:
    """Apply a layer to `size` inputs of each expert, then to groups of some experts."""
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
    tensors = (tensor.to(dtype) for tensor in (x, layer.weight, layer.bias))
    output: Tensor = _GroupedLinear.apply(  # type: ignore[no-untyped-call]
        *tensors, size, groups
    )
    return output


class _GroupedLinear(torch.autograd.Function):
    """One product of all experts, and one more for each group.

    Its gradient writes each expert's part into one tensor. That of indexed or unbound
    weights would copy all weights in every step.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, size: int, groups: Groups
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.size, ctx.groups = size, groups
        output = x.new_empty(len(x), bias.shape[1])
        for_all, *parts = _parts(x, len(weight), size, groups)
        output_for_all, *output_parts = _parts(output, len(weight), size, groups)
        torch.baddbmm(bias.unsqueeze(1), for_all, weight, out=output_for_all)
        for (expert, _), part, of_part in zip(groups, parts, output_parts, strict=True):
            torch.addmm(bias[expert], part, weight[expert], out=of_part)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = torch.empty_like(x)
        (for_all, *parts), (gradient_for_all, *gradient_parts), (of_all, *of_parts) = (
            _parts(rows, len(weight), ctx.size, ctx.groups)
            for rows in (x, gradient, of_x)
        )
        torch.bmm(gradient_for_all, weight.transpose(1, 2), out=of_all)
        of_weight = torch.bmm(for_all.transpose(1, 2), gradient_for_all)
        of_bias = gradient_for_all.sum(1)
        for (expert, _), part, part_gradient, of_part in zip(
            ctx.groups, parts, gradient_parts, of_parts, strict=True
        ):
            torch.mm(part_gradient, weight[expert].T, out=of_part)
            of_weight[expert].addmm_(part.T, part_gradient)
            of_bias[expert] += part_gradient.sum(0)
        return of_x, of_weight, of_bias, None, None


def _parts(
    rows: Tensor, n_experts: int, size: int, groups: Groups
) -> tuple[Tensor, ...]:
    """The rows of all experts, ``(n_experts, size, n)``, then those of each group."""
    for_all, *parts = rows.split([n_experts * size, *(count for _, count in groups)])
    return for_all.unflatten(0, (n_experts, size)), *parts


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
        counts = _counts(experts, n_experts)
        blocks_of_each = -(counts // -size)
        ends = blocks_of_each.cumsum(0)
        first_slots = size * (ends - blocks_of_each)
        self._slots = first_slots[experts] + _ranks(experts, counts)
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


def _ranks(experts: Tensor, counts: Tensor) -> Tensor:
    """Position of each input among those of its expert, ``(n,)``."""
    order = experts.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    ranks = torch.empty_like(order)
    ranks[order] = (
        torch.arange(len(order), device=order.device) - starts[experts[order]]
    )
    return ranks
