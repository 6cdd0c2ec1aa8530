"""Codes as ids of a tokenizer's tokens, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.index.formats.tokens import level_tokens

_INT64 = np.iinfo(np.int64)


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
        If a code has no token id, two codes of a level have the same, or one is no
        number of a token.
    """
    if isinstance(token_ids, Mapping):
        return [
            _of_vocabulary(level, width, token_ids, name)
            for level, width in enumerate(widths)
        ]
    levels = [
        _checked_ids(np.asarray(ids), name, level)
        for level, ids in enumerate(token_ids)
    ]
    if len(levels) != len(widths):
        raise ValueError(
            f"{name} must have the token ids of {len(widths)} levels. Got "
            f"{len(levels)}."
        )
    for level, (ids, width) in enumerate(zip(levels, widths, strict=True)):
        if ids.ndim != 1 or len(ids) < width:
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
    found = np.array([token_ids[token] for token in tokens])
    ids = _checked_ids(found, name, level)
    if len(tokens):
        _check_distinct(ids, name, level)
    return ids


def _checked_ids(ids: NDArray[Any], name: str, level: int) -> IntArray:
    if ids.size == 0:
        return ids.astype(np.int64)
    # Comparing would fail for strings, and the largest uint64 is no int64.
    if ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() > _INT64.max:
        raise ValueError(
            f"{name} must be integers from 0 to 2**63 - 1. Got {ids.tolist()!r:.80} "
            f"for level {level + 1}."
        )
    return ids.astype(np.int64)


def _check_distinct(ids: IntArray, name: str, level: int) -> None:
    if len(np.unique(ids)) < len(ids):
        raise ValueError(
            f"{name} must give different tokens different ids. Got "
            f"{len(np.unique(ids))} ids for the {len(ids)} codes of level {level + 1}."
        )
