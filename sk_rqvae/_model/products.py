"""Matrix products in full float32 precision, whatever PyTorch is set to.

`torch.set_float32_matmul_precision` lets a program trade the precision of all float32
products for speed. Codes are decided by small differences of distances, so their
products must not follow it. The setting belongs to the program: it is read here and
never changed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def addmm(
    summand: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """``summand + alpha * left @ right``, for float32 matrices."""
    if not _is_reduced():
        return torch.addmm(summand, left, right, alpha=alpha, out=out)
    exact = summand.double() + alpha * (left.double() @ right.double())
    return exact.to(left.dtype) if out is None else out.copy_(exact)


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right``, for float32 matrices."""
    if _is_reduced():
        return (left.double() @ right.double()).to(left.dtype)
    return left @ right


class Linear(nn.Linear):
    """A float32 linear layer, in full precision in evaluation."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, bias=bias, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not _is_reduced():
            return super().forward(x)
        bias: Tensor | None = self.bias
        if bias is not None:
            bias = bias.double()
        return F.linear(x.double(), self.weight.double(), bias).to(x.dtype)


def _is_reduced() -> bool:
    """Whether float32 products may be computed with less precision."""
    if torch.compiler.is_compiling():
        return False
    return torch.get_float32_matmul_precision() != "highest"
