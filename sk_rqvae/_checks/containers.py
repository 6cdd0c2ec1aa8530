"""Rows in containers other than arrays and data frames."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import issparse


def dense_in_memory(X: Any) -> Any:
    """Return a tensor on the CPU as an array, and other dense rows as they are.

    A bfloat16 tensor becomes float32, which has all its values. Other tensors are not
    copied.

    Raises
    ------
    TypeError
        If `X` is sparse, on another device, or part of a graph of derivatives.
    """
    if issparse(X) or (isinstance(X, torch.Tensor) and X.layout != torch.strided):
        raise TypeError(
            "X must be dense. Got sparse rows. Put TruncatedSVD before the "
            "transformer: make_pipeline(TruncatedSVD(256), RQVAETransformer())."
        )
    if not isinstance(X, torch.Tensor):
        return X
    if X.device.type != "cpu":
        raise TypeError(
            f"X must be in the memory of the CPU. Got a tensor on {X.device}. Pass "
            "X.cpu(); the parameter device says where to compute."
        )
    if X.requires_grad:
        raise TypeError(
            "X must be data. Got a tensor that requires a gradient. Pass X.detach()."
        )
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()
