"""Matrix products in full float32 precision, the same for equal rows.

`torch.set_float32_matmul_precision` lets a program trade the precision of all float32
products for speed. Codes are decided by small differences of distances, so their
products must not follow it. The setting belongs to the program: it is read here and
never changed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where a product has 4 to 11 columns, MKL rounds a row by its position among the rows:
# equal rows get different results. With 12 columns or more it does not.
_MIN_COLUMNS = 16


def addmm(
    summand: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """``summand + alpha * left @ right``, for float32 matrices."""
    return _in_one(torch.addmm, summand, left, right, alpha, out)


def baddbmm(
    summand: Tensor,
    left: Tensor,
    right: Tensor,
    *,
    alpha: float = 1,
    out: Tensor | None = None,
) -> Tensor:
    """``summand + alpha * left @ right``, for batches of float32 matrices."""
    return _in_one(torch.baddbmm, summand, left, right, alpha, out)


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right``, for float32 matrices."""
    if is_reduced():
        return (left.double() @ right.double()).to(left.dtype)
    n_columns = right.shape[-1]
    if _is_narrow(left, n_columns):
        wide = left @ F.pad(right, (0, _MIN_COLUMNS - n_columns))
        return wide[..., :n_columns].contiguous()
    return left @ right


class Linear(nn.Linear):
    """A float32 linear layer, in full precision in evaluation."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, bias=bias, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        bias: Tensor | None = self.bias
        if is_reduced():
            if bias is not None:
                bias = bias.double()
            return F.linear(x.double(), self.weight.double(), bias).to(x.dtype)
        if _is_narrow(x, self.out_features):
            product = matmul(x, self.weight.T)
            return product if bias is None else product + bias
        return super().forward(x)


def _in_one(
    operation: Callable[..., Tensor],
    summand: Tensor,
    left: Tensor,
    right: Tensor,
    alpha: float,
    out: Tensor | None,
) -> Tensor:
    """A sum with a product by one operation, where that keeps full precision."""
    if is_reduced() or _is_narrow(left, right.shape[-1]):
        total = summand + alpha * matmul(left, right)
        return total if out is None else out.copy_(total)
    return operation(summand, left, right, alpha=alpha, out=out)


def is_reduced() -> bool:
    """Whether float32 products may be computed with less precision."""
    if torch.compiler.is_compiling():
        return False
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # backends differ, by `torch.backends.*.fp32_precision`
        return True


def _is_narrow(left: Tensor, n_columns: int) -> bool:
    """Whether a product has so few columns that it needs more."""
    if torch.compiler.is_compiling():
        return False
    return left.is_cpu and n_columns < _MIN_COLUMNS
