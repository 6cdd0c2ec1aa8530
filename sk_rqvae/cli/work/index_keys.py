"""Convert keys that were typed or read as text to items of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.index import SemanticIDIndex


def keys_like(index: SemanticIDIndex, keys: NDArray[Any]) -> NDArray[Any]:
    """Turn texts into integers where the items of an index are integers.

    Raises
    ------
    ValueError
        If a text is no integer of 64 bits.
    """
    if keys.dtype != object or index.item_ids_.dtype == object:
        return keys
    return np.array([_integer(key) for key in keys.tolist()], dtype=np.int64)


def check_new(index: SemanticIDIndex, keys: NDArray[Any], path: Path) -> None:
    """Raise ValueError if an index has a key of a file."""
    found = index.ids_of(keys, default=None)
    for key, known in zip(keys.tolist(), found, strict=True):
        if known is not None:
            raise ValueError(
                f"{path} has the item {key!r}, which has an ID. Use --skip-known to "
                "leave such items out."
            )


def _integer(key: str) -> int:
    try:
        return int(np.int64(int(key)))
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"The items of the index are integers. Got the key {key!r}."
        ) from error
