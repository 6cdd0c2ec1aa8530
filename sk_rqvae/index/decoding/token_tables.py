"""Codes as ids of a tokenizer's tokens, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.formats.tokens import level_tokens


def token_ids_of_levels(
    token_ids: Any, widths: Sequence[int], *, name: str
) -> list[IntArray]:
    """Return the token id of each code, level by level.

    Parameters
    ----------
    token_ids : mapping of str to int, or sequence of array-like of int
        The tokenizer's vocabulary, or the token ids of the codes of each level.
    widths : sequence of int
        Codes of each level.
    name : str
        What error messages call `token_ids`.

    Raises
    ------
    ValueError
        If a code has no token id, or two codes of a level have the same.
    """
    if isinstance(token_ids, Mapping):
        return [
            _of_vocabulary(level, width, token_ids, name)
            for level, width in enumerate(widths)
        ]
    levels = [np.asarray(ids, dtype=np.int64) for ids in token_ids]
    if len(levels) != len(widths):
        raise ValueError(
            f"{name} must have the token ids of {len(widths)} levels. Got "
            f"{len(levels)}."
        )
    for level, (ids, width) in enumerate(zip(levels, widths, strict=True)):
        if ids.ndim != 1 or len(ids) < width or (ids < 0).any():
            raise ValueError(
                f"{name}[{level}] must have {width} token ids, one a code. Got "
                f"shape {ids.shape}."
            )
        _check_distinct(ids, name, level)
    return levels


def _of_vocabulary(
    level: int, width: int, token_ids: Mapping[str, int], name: str
) -> IntArray:
    tokens = level_tokens(level, width)
    missing = [token for token in tokens if token not in token_ids]
    if missing:
        raise ValueError(
            f"{name} must have every token of the index's vocabulary(). Got "
            f"none for {missing[0]!r} and {len(missing) - 1} more. Add them to the "
            "tokenizer first."
        )
    ids = np.array([token_ids[token] for token in tokens], dtype=np.int64)
    if len(tokens):
        _check_distinct(ids, name, level)
    return ids


def _check_distinct(ids: IntArray, name: str, level: int) -> None:
    if len(np.unique(ids)) < len(ids):
        raise ValueError(
            f"{name} must give different tokens different ids. Got "
            f"{len(np.unique(ids))} ids for the {len(ids)} codes of level {level + 1}."
        )
