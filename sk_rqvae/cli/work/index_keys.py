"""Convert keys that were typed or read as text to items of an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.index import SemanticIDIndex

_INTEGER = re.compile(r"0|-?[1-9]\d{0,18}", re.ASCII)


def keys_like(index: SemanticIDIndex, keys: NDArray[Any]) -> NDArray[Any]:
    """Turn keys into the kind that an index has: texts into integers, or the reverse.

    Integers are not turned into texts if the index has a text such as 007, which is not
    how an integer is written.

    Raises
    ------
    ValueError
        If a text is no integer of 64 bits, written as Python writes it.
    """
    has_texts = index.item_type_ is str
    if has_texts and keys.dtype != object:
        if not all(map(_INTEGER.fullmatch, index.item_ids_.tolist())):
            return keys
        return keys.astype(str).astype(object)
    if has_texts or keys.dtype != object:
        return keys
    return np.array([_integer(key) for key in keys.tolist()], dtype=np.int64)


def are_known(index: SemanticIDIndex, keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Which keys an index has."""
    found = index.ids_of(keys, default=None)
    return np.array([ids is not None for ids in found], dtype=bool)


def known_items(index: SemanticIDIndex, keys: list[str]) -> NDArray[Any]:
    """Items of an index among keys that were typed; other keys are left out."""
    if index.item_type_ is not str:
        keys = [key for key in keys if _is_integer(key)]
    items = keys_like(index, np.array(keys, dtype=object))
    return items[are_known(index, items)]


def check_new(index: SemanticIDIndex, keys: NDArray[Any], path: Path) -> None:
    """Raise ValueError if an index has a key of a file."""
    known = keys[are_known(index, keys)].tolist()
    if known:
        raise ValueError(
            f"{path} has the item {known[0]!r}, which has an ID. Use --skip-known to "
            "leave such items out."
        )


def check_known(index: SemanticIDIndex, keys: NDArray[Any], path: Path) -> None:
    """Raise KeyError if the index of a file does not have a key."""
    unknown = keys[~are_known(index, keys)].tolist()
    if unknown:
        raise KeyError(
            f"{path} has no item {unknown[0]!r}. Use --skip-unknown to leave such keys "
            "out."
        )


def _is_integer(key: str) -> bool:
    # int() would also take 1_0 and 007, which are other keys.
    return bool(_INTEGER.fullmatch(key)) and -(2**63) <= int(key) < 2**63


def _integer(key: str) -> int:
    if not _is_integer(key):
        raise ValueError(f"The items of the index are integers. Got the key {key!r}.")
    return int(key)
