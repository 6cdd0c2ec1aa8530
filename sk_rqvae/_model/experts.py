"""A wide hidden layer that is divided among experts, of which each input uses one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_rqvae._model.products import matmul

# Rows of one matrix product in evaluation. Math libraries choose kernels by shape, and
# kernels round differently. With one shape, a result does not depend on the other rows.
_ROWS_AT_ONCE = {"cpu": 32, "cuda": 128}


class ExpertLinear(nn.Module):
    """One matrix for each expert.

    Parameters
    ----------
    n_experts, n_in, n_out : int

    Attributes
    ----------
    weight : Parameter of shape (n_experts, n_in, n_out)
        Initialised like that of `torch.nn.Linear`. With the axes in this order, results
        do not depend on the position of a row. With the other order they do, for
        matrices of a few columns on a CPU.
    """

    def __init__(self, n_experts: int, n_in: int, n_out: int) -> None:
        super().__init__()
        weight = torch.empty(n_experts, n_in, n_out, dtype=torch.float32)
        bound = n_in**-0.5
        self.weight = nn.Parameter(nn.init.uniform_(weight, -bound, bound))


class Experts(nn.Module):
    r"""An MLP with one hidden layer that is divided among experts.

    Every expert has hidden units of its own. An input is computed by one expert, the
    one whose centre has the direction nearest to that of the input. So `n_experts`
    times as many hidden units as one expert has take about the time of one expert.

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

    Notes
    -----
    While training on CUDA, all experts compute every input, and all but one result is
    dropped: the shapes of the products must not depend on the data there, because the
    CPU would have to wait for them.

    References
    ----------
    Jacobs, Jordan, Nowlan and Hinton (1991), "Adaptive mixtures of local experts";
    Roller et al. (2021), "Hash layers for large sparse models", arXiv:2106.04426, for
    experts that are assigned once and for all.
    """

    centres: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        n_experts: int,
        width: int,
        activation: nn.Module,
    ) -> None:
        super().__init__()
        self.first = ExpertLinear(n_experts, n_in, width)
        bound = n_in**-0.5
        bias = torch.empty(n_experts, width, dtype=torch.float32)
        self.first_bias = nn.Parameter(nn.init.uniform_(bias, -bound, bound))
        self.activation = activation
        self.last = ExpertLinear(n_experts, width, n_out)
        self.bias = nn.Parameter(torch.zeros(n_out, dtype=torch.float32))
        centres = torch.zeros(n_experts, n_in, dtype=torch.float32)
        self.register_buffer("centres", centres)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs ``(n, n_in)`` to outputs ``(n, n_out)``."""
        experts = self.nearest(x)
        if torch.compiler.is_compiling() or (self.training and not x.is_cpu):
            return self._by_all(x, experts) + self.bias
        if self.training:
            return self._in_groups(x, experts) + self.bias
        return self._in_blocks(x, experts) + self.bias

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the expert of each input, ``(n,)``, int64."""
        # In float64, because another expert would change the output visibly.
        return (x.detach().double() @ self.centres.T.double()).argmax(1)

    def _by_all(self, x: Tensor, experts: Tensor) -> Tensor:
        n_experts = len(self.centres)
        weight = self.first.weight.transpose(0, 1).flatten(1)
        hidden = self.activation(x @ weight + self.first_bias.flatten())
        is_used = F.one_hot(experts, n_experts).to(hidden.dtype)
        hidden = hidden.unflatten(1, (n_experts, -1)) * is_used.unsqueeze(2)
        return hidden.flatten(1) @ self.last.weight.flatten(0, 1)

    def _in_groups(self, x: Tensor, experts: Tensor) -> Tensor:
        order = experts.argsort(stable=True)
        counts = experts.bincount(minlength=len(self.centres)).tolist()
        # The gradient of unbind is one stack, that of an index a matrix of zeros.
        parts = zip(
            x[order].split(counts),
            self.first.weight.unbind(),
            self.first_bias.unbind(),
            self.last.weight.unbind(),
            strict=True,
        )
        outputs = [
            self.activation(torch.addmm(bias, part, first)) @ last
            for part, first, bias, last in parts
            if len(part)
        ]
        return torch.cat(outputs)[_inverse(order)]

    def _in_blocks(self, x: Tensor, experts: Tensor) -> Tensor:
        blocks = _Blocks(experts, len(self.centres))
        padded = x.new_zeros(len(blocks.expert) * blocks.size, x.shape[1])
        padded[blocks.slots] = x
        padded = padded.unflatten(0, (-1, blocks.size))
        if x.is_cpu:
            outputs = torch.cat(
                [
                    self._expert(block, expert)
                    for block, expert in zip(
                        padded, blocks.expert.tolist(), strict=True
                    )
                ]
            )
        else:  # without waiting for the device to say which block is whose
            outputs = self._expert(padded, blocks.expert).flatten(0, 1)
        return outputs[blocks.slots]

    def _expert(self, x: Tensor, expert: int | Tensor) -> Tensor:
        hidden = matmul(x, self.first.weight[expert])
        hidden = self.activation(hidden + self.first_bias[expert].unsqueeze(-2))
        return matmul(hidden, self.last.weight[expert])


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
        Expert of each block. How many blocks there are depends on `n` alone.
    slots : Tensor of shape (n,), int64
        Position of each input among all blocks.
    """

    def __init__(self, experts: Tensor, n_experts: int) -> None:
        self.size = _ROWS_AT_ONCE.get(experts.device.type, _ROWS_AT_ONCE["cpu"])
        n = len(experts)
        counts = experts.new_zeros(n_experts)
        counts.index_add_(0, experts, torch.ones_like(experts))
        ends = (-(counts // -self.size)).cumsum(0)
        order = experts.argsort(stable=True)
        rank = _inverse(order) - (counts.cumsum(0) - counts)[experts]
        first_slots = self.size * F.pad(ends[:-1], (1, 0))
        self.slots = first_slots[experts] + rank
        block = torch.arange(-(n // -self.size) + n_experts, device=experts.device)
        self.expert = torch.searchsorted(ends, block, right=True)
        self.expert.clamp_(max=n_experts - 1)


def _inverse(order: Tensor) -> Tensor:
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse
