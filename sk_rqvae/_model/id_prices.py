"""Prices of IDs that several training rows share. They are part of the model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_MULTIPLIER = 0x1E3779B97F4A7C15


class PriceList(NamedTuple):
    """What some IDs cost on top of their error.

    Attributes
    ----------
    keys : Tensor of shape (m,), int64
        Keys of the IDs, ascending.
    prices : Tensor of shape (m,), float64
        Positive, in the units of the errors.
    """

    keys: Tensor
    prices: Tensor


def no_prices(device: torch.device) -> PriceList:
    """A list that charges for nothing."""
    keys = torch.zeros(0, dtype=torch.int64, device=device)
    return PriceList(keys, torch.zeros(0, dtype=torch.float64, device=device))


def id_keys(codes: Tensor) -> Tensor:
    """One integer for each ID: its codes, hashed into 64 bits.

    Parameters
    ----------
    codes : Tensor of shape (..., n_layers), int64

    Returns
    -------
    Tensor of shape (...), int64

    Notes
    -----
    A polynomial in an odd number, modulo 2**64. Two IDs with one key would at worst
    share a price.
    """
    keys = torch.zeros_like(codes[..., 0])
    for level in range(codes.shape[-1]):
        keys = (keys + codes[..., level] + 1) * _MULTIPLIER
    return keys


def look_up(price_list: PriceList, keys: Tensor) -> Tensor:
    """Prices of `keys`; zero where there is none."""
    if len(price_list.keys) == 0:
        return torch.zeros(keys.shape, dtype=torch.float64, device=keys.device)
    place = torch.searchsorted(price_list.keys, keys)
    place = place.clamp_max(len(price_list.keys) - 1)
    listed = price_list.keys[place] == keys
    return torch.where(listed, price_list.prices[place], 0.0)
