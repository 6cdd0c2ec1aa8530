"""Arrays of integers of several types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = np.uint64(np.iinfo(np.int64).max)


def joined_integers(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate arrays of integers to one of integers.

    NumPy would make float64 of int64 and uint64. Values of uint64 that int64 does not
    have become its largest one.
    """
    if not rows:
        return np.empty(0, dtype=np.int64)
    if len({row.dtype for row in rows}) > 1:
        rows = [_as_int64(row) for row in rows]
    return np.concatenate(rows)


def _as_int64(row: NDArray[Any]) -> NDArray[np.int64]:
    if row.dtype == np.uint64:
        row = np.minimum(row, _LARGEST)
    return row.astype(np.int64)
