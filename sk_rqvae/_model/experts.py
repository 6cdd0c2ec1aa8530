"""A wide hidden layer that is divided among experts, of which each input uses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

SORTED_BLOCK_SIZE = 128
"""Inputs of a block of `sorted_blocks`.

Of 2048 rows with ten candidates each, blocks of 64 take 1.26 times as long.
"""


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

    def outputs_of_hidden(self, hidden: Tensor, experts: Tensor | int) -> Tensor:
        """Outputs where what enters the hidden units is known.

        Parameters
        ----------
        hidden : Tensor of shape (n, width)
            Inputs of the hidden units.
        experts : Tensor of shape (n,), int64, or int
            Expert of each input, or of all.

        Returns
        -------
        Tensor of shape (n, n_out)
        """
        if isinstance(experts, int):
            return self._from_hidden(hidden, experts)
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
        order = experts.argsort(stable=True)
        counts = experts.bincount(minlength=len(self.centres)).tolist()
        hidden = self.activation(_grouped_linear(self.first, x[order], counts))
        return _grouped_linear(self.last, hidden, counts)[_inverse(order)]

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
        blocks = _Blocks(experts, len(self.centres))
        padded = x.new_zeros(len(blocks.expert) * blocks.size, x.shape[1])
        padded[blocks.slots] = x
        padded = padded.unflatten(0, (-1, blocks.size))
        if x.is_cpu:
            outputs = x.new_empty(*padded.shape[:2], self.last.bias.shape[1])
            for block, expert in enumerate(
                blocks.expert[: int(blocks.n_used)].tolist()
            ):
                outputs[block] = compute(padded[block], expert)
        else:  # with copies of the weights, so that no index goes to the CPU
            outputs = compute(padded, blocks.expert)
        return outputs.flatten(0, 1)[blocks.slots]

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


class _Blocks:
    """Inputs in blocks of one shape, each for one expert.

    Parameters
    ----------
    experts : Tensor of shape (n,), int64
        Expert of each input.
    n_experts : int

    Attributes
    ----------
    size : int
        Inputs of a block. Where an expert has fewer left, the rest is padding.
    expert : Tensor of shape (n_blocks,), int64
        Expert of each block. How many blocks there are depends on `n` alone; the last
        ones may be empty.
    n_used : Tensor of shape (), int64
        Number of blocks that are not empty.
    slots : Tensor of shape (n,), int64
        Position of each input among all blocks.
    """

    def __init__(self, experts: Tensor, n_experts: int) -> None:
        self.size = _BLOCK_SIZES.get(experts.device.type, _BLOCK_SIZES["cpu"])
        n = len(experts)
        counts = experts.new_zeros(n_experts)
        counts.index_add_(0, experts, torch.ones_like(experts))
        ends = (-(counts // -self.size)).cumsum(0)
        order = experts.argsort(stable=True)
        rank = _inverse(order) - (counts.cumsum(0) - counts)[experts]
        first_slots = self.size * F.pad(ends[:-1], (1, 0))
        self.slots = first_slots[experts] + rank
        block = torch.arange(-(n // -self.size) + n_experts, device=experts.device)
        self.n_used = ends[-1]
        self.expert = torch.searchsorted(ends, block, right=True)
        self.expert.clamp_(max=n_experts - 1)


def sorted_blocks(experts: Tensor) -> Iterator[tuple[int, slice]]:
    """Divide inputs that are sorted by expert into blocks, each for one expert.

    Parameters
    ----------
    experts : Tensor of shape (n,), int64
        Expert of each input, in any order.

    Yields
    ------
    expert : int
    part : slice
        Up to `SORTED_BLOCK_SIZE` of the sorted inputs.
    """
    start = 0
    for expert, count in enumerate(experts.bincount().tolist()):
        stop = start + count
        for first in range(start, stop, SORTED_BLOCK_SIZE):
            yield expert, slice(first, min(first + SORTED_BLOCK_SIZE, stop))
        start = stop


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse
