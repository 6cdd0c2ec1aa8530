"""Prices that make rows which share an ID choose different ones.

Training ends with an auction that finds the prices; they are saved with the model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# The odd multiplier of SplitMix64, without the highest bit, which int64 lacks. Saved
# models have keys that it made.
_MULTIPLIER = 0x1E3779B97F4A7C15


class PriceList(NamedTuple):
    """Prices of IDs: `assign` adds them to the errors of candidate IDs.

    Attributes
    ----------
    keys : Tensor of shape (m,), int64
        Keys of the IDs that have a price, as `id_keys` computes them, ascending.
    prices : Tensor of shape (m,), float64
        In the units of the errors. A negative price is a discount.
    """

    keys: Tensor
    prices: Tensor


def no_prices(device: torch.device) -> PriceList:
    """An empty price list."""
    keys = torch.zeros(0, dtype=torch.int64, device=device)
    return PriceList(keys, torch.zeros(0, dtype=torch.float64, device=device))


def id_keys(codes: Tensor) -> Tensor:
    """Hash each ID to one 64-bit integer.

    Parameters
    ----------
    codes : Tensor of shape (..., n_layers), int64

    Returns
    -------
    Tensor of shape (...), int64

    Notes
    -----
    The hash is a polynomial of the codes, evaluated at an odd number modulo 2**64. If
    two IDs collide, they share a price, and nothing worse happens.
    """
    keys = torch.zeros_like(codes[..., 0])
    for level in range(codes.shape[-1]):
        keys = (keys + codes[..., level] + 1) * _MULTIPLIER
    return keys


def look_up(price_list: PriceList, keys: Tensor) -> Tensor:
    """Prices of IDs by their keys; 0 for IDs that are not listed."""
    if len(price_list.keys) == 0:
        return torch.zeros(keys.shape, dtype=torch.float64, device=keys.device)
    positions = torch.searchsorted(price_list.keys, keys)
    positions = positions.clamp_max(len(price_list.keys) - 1)
    is_listed = price_list.keys[positions] == keys
    return torch.where(is_listed, price_list.prices[positions], 0.0)
