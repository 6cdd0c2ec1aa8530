"""An MLP with an optional linear skip connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn

from sk_rqvae._model.experts import Experts
from sk_rqvae._model.products import Linear

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "relu": partial(nn.ReLU, inplace=True),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class SkipMLP(nn.Module):
    """An MLP, optionally with a linear path from its input to its output.

    With the linear path the output is ``linear(x) + mlp(x)``. The last layer of the MLP
    is initialised with zeros, so training begins from the linear path alone.

    Parameters
    ----------
    n_in, n_out : int
        Widths of input and output.
    hidden_dims : sequence of int
        Widths of the hidden layers. If empty, the MLP is one linear layer, and with a
        linear path and experts there is no MLP.
    activation : str
        A key of `ACTIVATIONS`.
    dropout : float
        Dropout probability of the hidden units.
    linear_path : bool
        Whether to add the linear path.
    n_experts, expert_width : int, default=0
        Number of experts, and hidden units of each. Their output is added to that of
        the MLP, see `Experts`.

    Attributes
    ----------
    mixed_precision : bool
        Multiply matrices in bfloat16 while training. Evaluation, in which codes are
        assigned, always uses the dtype of the input, and so does the output.
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
        n_experts: int = 0,
        expert_width: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = n_in
        for hidden in hidden_dims:
            layers += [Linear(width, hidden), _nonlinearity(activation, dropout)]
            width = hidden
        self.mlp = None
        if hidden_dims or not (linear_path and n_experts):
            self.mlp = nn.Sequential(*layers, Linear(width, n_out))
        self.experts = None
        if n_experts:
            nonlinearity = _nonlinearity(activation, dropout)
            self.experts = Experts(n_in, n_out, n_experts, expert_width, nonlinearity)
        self.linear = Linear(n_in, n_out, bias=False) if linear_path else None
        if linear_path:
            if self.mlp is not None:
                _set_to_zero(self.mlp[-1])
            if self.experts is not None:
                _set_to_zero(self.experts.last)

    def forward(self, x: Tensor) -> Tensor:
        with self._precision(x.device):
            parts = [
                part(x)
                for part in (self.mlp, self.experts, self.linear)
                if part is not None
            ]
        return reduce(torch.add, [part.to(x.dtype) for part in parts])

    def _precision(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.mixed_precision and self.training:
            # If a caller has autocast too, a cache of rounded weights would outlive the
            # steps of the optimizer: torch clears it when the outermost one ends.
            return torch.autocast(
                device.type, dtype=torch.bfloat16, cache_enabled=False
            )
        return nullcontext()


def _set_to_zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _nonlinearity(activation: str, dropout: float) -> nn.Module:
    return nn.Sequential(ACTIVATIONS[activation](), Dropout(dropout))


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own, if it has one.

    Parameters
    ----------
    probability : float
        Probability that a value is set to zero while training.

    Attributes
    ----------
    generator : torch.Generator or None
        None is torch's global generator.
    """

    generator: torch.Generator | None = None

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        kept = torch.empty_like(x)
        kept.bernoulli_(1 - self.probability, generator=self.generator)
        return x * kept.div_(1 - self.probability)
