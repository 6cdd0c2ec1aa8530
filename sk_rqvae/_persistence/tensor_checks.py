"""Checks of tensors that come from files."""

from __future__ import annotations

import torch
from torch import Tensor


def check_values(name: str, tensor: Tensor) -> None:
    """Check that a tensor has values of its own in memory, and that they are finite.

    Raises
    ------
    ValueError
        If it is sparse, quantized, nested or on the meta device, repeats stored values
        to appear larger than it is, or has values that are not finite.
    """
    what = f"its tensor {name!r}"
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise ValueError(f"{what} is {_layout(tensor)}, expected a dense one")
    if tensor.is_quantized:
        raise ValueError(f"{what} is quantized ({tensor.dtype})")
    if tensor.is_meta:
        raise ValueError(f"{what} is on the meta device and has no values")
    n_bytes = tensor.numel() * tensor.element_size()
    if n_bytes > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"{what} has shape {tuple(tensor.shape)} but repeats fewer stored values"
        )
    if not is_finite(tensor):
        raise ValueError(f"{what} has values that are not finite")


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _layout(tensor: Tensor) -> str:
    return "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
