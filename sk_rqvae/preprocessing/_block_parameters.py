"""Checks of the parameters of a `BlockScaler`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.scalars import check_choice, check_int, check_real

# Bounds the time: n blocks need n * (2**(n - 1) - 1) regressions, 186 for six. Results
# for fewer blocks do not depend on it.
_MAX_PREDICTED = 6


def check_blocks(blocks: Any, n_features: int) -> tuple[list[str], list[int]]:
    """Names and sizes of the blocks, which add up to `n_features` columns."""
    if blocks is None:
        return ["block0"], [n_features]
    if isinstance(blocks, Mapping):
        names, sizes = list(blocks), list(blocks.values())
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"blocks must have str as keys. Got {name!r}.")
    else:
        sizes = _entries("blocks", blocks)
        names = [f"block{number}" for number in range(len(sizes))]
    sizes = [
        check_int(f"blocks[{name!r}]", size, minimum=1)
        for name, size in zip(names, sizes, strict=True)
    ]
    if sum(sizes) != n_features:
        raise ValueError(
            f"blocks must add up to the {n_features} columns of X. Got {sizes}, which "
            f"add up to {sum(sizes)}."
        )
    return names, sizes


def check_fill(fill: Any, n_blocks: int) -> str:
    """How to fill missing blocks; the number of regressions grows exponentially."""
    checked = check_choice("fill", fill, ["prediction", "mean"])
    if checked == "prediction" and n_blocks > _MAX_PREDICTED:
        raise ValueError(
            f"fill must be 'mean' for more than {_MAX_PREDICTED} blocks. Got "
            f"{n_blocks} blocks and fill='prediction'."
        )
    return checked


def check_shares(shares: Any, names: list[str]) -> NDArray[np.float64]:
    """Shares of the blocks in their order, with a sum of 1."""
    if shares is None:
        return np.full(len(names), 1 / len(names))
    if isinstance(shares, Mapping):
        if set(shares) != set(names):
            raise ValueError(
                f"shares must have the names of the blocks, {names}, as keys. Got "
                f"{list(shares)}."
            )
        values = [shares[name] for name in names]
    else:
        values = _entries("shares", shares)
    if len(values) != len(names):
        raise ValueError(
            f"shares must have one entry per block, {len(names)}. Got {len(values)}."
        )
    checked = np.array(
        [
            check_real(f"shares[{name!r}]", value, low=0, low_open=True)
            for name, value in zip(names, values, strict=True)
        ]
    )
    checked /= checked.max()  # so that the sum is finite
    return checked / checked.sum()


def _entries(name: str, value: Any) -> list[Any]:
    is_array = isinstance(value, np.ndarray) and value.ndim == 1
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not (is_array or is_sequence):
        raise TypeError(
            f"{name} must be a dict, a sequence of numbers or None. Got {value!r}."
        )
    return list(value)
