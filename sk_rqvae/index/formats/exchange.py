"""An index made of IDs and items that were read from a file of another program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.code_model import route_of
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.state import IndexState, Rules, state_of_ids


def state_of_file(
    path: PathLike,
    rules: Rules,
    codebook_size: Any,
    ids: Any,
    items: Any,
    model: Any,
    *,
    allow_gaps: bool,
) -> IndexState:
    """Make a state of what a file has, and name the file if that cannot be."""
    route = None if model is None else route_of(model)
    try:
        return state_of_ids(
            rules, codebook_size, ids, items, route, allow_gaps=allow_gaps
        )
    except TypeError as error:
        raise TypeError(f"{path} is not a file of IDs: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a file of IDs: {error}") from error


def items_of_type(items: Any, item_type: type | None, path: PathLike) -> Any:
    """Turn items that were read from a file to strings or integers.

    Raises
    ------
    ValueError
        If an item is missing, it is neither a string nor an integer, or it is not an
        integer where integers are asked for.
    """
    if item_type not in (None, int, str):
        raise ValueError(f"item_type must be int or str. Got {item_type!r}.")
    values = items.tolist() if isinstance(items, np.ndarray) else list(items)
    for row, item in enumerate(values):
        if item is None or (isinstance(item, float) and item != item):
            raise ValueError(
                f"{path} must have an item in every row. Got {item!r} in row {row}."
            )
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise ValueError(
                f"{path} must hold strings or integers as items. Got {item!r} in row "
                f"{row}."
            )
    if item_type is int:
        return _as_integers(values, path)
    if item_type is str:
        return list(map(str, values))
    return items if isinstance(items, np.ndarray) else values


def _as_integers(items: Sequence[Any], path: PathLike) -> IntArray:
    integers = np.empty(len(items), dtype=np.int64)
    for row, item in enumerate(items):
        try:
            integers[row] = _integer(item)
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{path} must hold integer items to be read with item_type=int. Got "
                f"{item!r} in row {row}: {error}."
            ) from error
    return integers


def _integer(item: str | int) -> int:
    """Read an integer that was written as one, without underscores or spaces."""
    if isinstance(item, str):
        digits = item.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError("it is not written as an integer")
    return int(item)
