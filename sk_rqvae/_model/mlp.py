"""A perceptron beside a linear path."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sk_rqvae._defaults import CLIPPING_RADIUS

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": partial(nn.ReLU, inplace=True),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class SkipMLP(nn.Module):
    """A multi-layer perceptron, optionally beside a linear path from end to end.

    Parameters
    ----------
    n_in, n_out : int
        Widths of input and output.
    hidden_dims : sequence of int
        Widths of the hidden layers; empty leaves a linear map.
    activation : str
        A key of `ACTIVATIONS`.
    dropout : float
        Share of hidden units silenced in training.
    linear_path : bool
        Add a linear map of the input to the output. The perceptron's last layer then
        starts at zero, so that training begins from the linear map alone, and the
        perceptron sees rows that are longer than `reach` at that length.

    Attributes
    ----------
    reach : float
        Twice the root mean square length of standardised rows. A step of Adam moves an
        output by as much as the hidden units add up to, and for a row far out these
        would add up to more than the whole row.
    mixed_precision : bool
        Multiply in bfloat16 while training. In evaluation, where codes are decided,
        and beyond the output all is in the input's dtype whatever this says.
    """

    mixed_precision = False

    def __init__(
        self,
        n_in: int,
        n_out: int,
        hidden_dims: Sequence[int],
        *,
        activation: str,
        dropout: float,
        linear_path: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_in
        for hidden in hidden_dims:
            bend = nn.Sequential(ACTIVATIONS[activation](), Dropout(dropout))
            layers += [_linear(width, hidden, generator), bend]
            width = hidden
        last = _linear(width, n_out, generator)
        self.mlp = nn.Sequential(*layers, last)
        self.linear = (
            _linear(n_in, n_out, generator, bias=False) if linear_path else None
        )
        self.reach = CLIPPING_RADIUS * math.sqrt(max(n_in, n_out))
        if linear_path:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.linear is None:
            return self._bend(x)
        length = x.norm(dim=-1, keepdim=True)
        bent = self._bend(x * (self.reach / length.clamp_min(self.reach)))
        with self._precision(x.device):
            straight = self.linear(x)
        return bent + straight.to(x.dtype)

    def _bend(self, x: Tensor) -> Tensor:
        with self._precision(x.device):
            bent = self.mlp(x)
        return bent.to(x.dtype)

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.mixed_precision and self.training:
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return nullcontext()


class Dropout(nn.Module):
    """Dropout that draws from `generator` where it has one.

    Parameters
    ----------
    share : float
        Share of the values set to zero in training.

    Attributes
    ----------
    generator : torch.Generator or None
        None is torch's global generator.
    """

    generator: torch.Generator | None = None

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.share, generator=self.generator)
        return x * kept.div_(1 - self.share)


class _Linear(nn.Linear):
    """A linear layer whose weights are drawn by `_linear`."""

    def reset_parameters(self) -> None:
        """Draw nothing: torch's own draw would be from the global generator."""


def _linear(
    n_in: int, n_out: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    """A float32 linear layer, initialised as torch does, from `generator`."""
    layer = _Linear(n_in, n_out, bias=bias, dtype=torch.float32)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
    if bias:
        bound = 1 / math.sqrt(n_in)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
