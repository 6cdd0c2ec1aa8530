"""The checks of rows and codes, in arrays or in tensors on a device.

For tensors, each reads one boolean from the device. Only if that says that something is
wrong, the block concerned is copied to the CPU, where the check of arrays names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._checks import codes as array_codes
from sk_rqvae._checks import rows as array_rows

_ROWS_AT_ONCE = 8192


def check_finite(X: Any) -> None:
    """Raise ValueError if `X` has NaN or infinite values."""
    if not isinstance(X, Tensor):
        array_rows.check_finite(X)
    elif X.is_floating_point():
        _check_blocks(X, lambda block: ~block.isfinite(), array_rows.check_finite)


def check_binary_columns(X: Any, n_binary: int) -> None:
    """Raise ValueError if the last `n_binary` columns of `X` are not all 0 or 1."""
    if not isinstance(X, Tensor):
        array_rows.check_binary_columns(X, n_binary)
        return
    first = X.shape[1] - n_binary
    _check_blocks(
        X,
        lambda block: (block[:, first:] != 0) & (block[:, first:] != 1),
        lambda block, start: array_rows.check_binary_columns(block, n_binary, start),
    )


def check_codes(codes: Any, sizes: Sequence[int], name: str) -> Any:
    """Return valid codes as int64, and raise TypeError or ValueError for others."""
    if not isinstance(codes, Tensor):
        return array_codes.check_codes(codes, sizes, name=name)
    if _are_valid(codes, sizes):
        return codes.long()
    checked = array_codes.check_codes(_on_host(codes), sizes, name=name)
    return torch.from_numpy(checked).to(codes.device)


def _are_valid(codes: Tensor, sizes: Sequence[int]) -> bool:
    is_numeric = codes.dtype != torch.bool and not codes.is_complex()
    if codes.ndim != 2 or codes.shape[1] == 0 or not is_numeric:
        return False
    values = codes.double()
    too_large = values >= torch.tensor(sizes, device=codes.device)
    return not bool(((values != values.floor()) | (values < 0) | too_large).any())


def _check_blocks(
    X: Tensor,
    find_wrong: Callable[[Tensor], Tensor],
    check: Callable[[NDArray[Any], int], None],
) -> None:
    """Apply a check of arrays to the blocks of rows that have wrong values."""
    blocks = X.split(_ROWS_AT_ONCE)
    has_wrong = torch.stack([find_wrong(block).any() for block in blocks])
    if not bool(has_wrong.any()):
        return
    for index in has_wrong.nonzero().flatten().tolist():
        check(_on_host(blocks[index]), index * _ROWS_AT_ONCE)


def _on_host(values: Tensor) -> NDArray[Any]:
    if values.is_floating_point():  # NumPy has no bfloat16
        values = values.double()
    array: NDArray[Any] = values.cpu().numpy()
    return array
