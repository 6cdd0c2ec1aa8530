"""Runs of equal values."""

from __future__ import annotations

import torch
from torch import Tensor


def first_of_runs(values: Tensor) -> Tensor:
    """Which values differ from the one before, ``(n,)``, bool; the first one does."""
    is_first = torch.ones_like(values, dtype=torch.bool)
    is_first[1:] = values[1:] != values[:-1]
    return is_first
