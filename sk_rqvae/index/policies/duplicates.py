"""Items with equal embeddings, which every quantiser gives the same codes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, n_distinct

_ROWS_AT_ONCE = 4096


def row_digests(X: NDArray[Any]) -> IntArray:
    """Hash the values of every row to 64 bits, whatever the dtype of `X`."""
    digests = np.empty(len(X), dtype=np.int64)
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = np.ascontiguousarray(X[start : start + _ROWS_AT_ONCE], dtype="<f8")
        # -0.0 equals 0.0 and has other bytes.
        block = block + 0.0
        digests[start : start + len(block)] = [_digest(row) for row in block]
    return digests


def n_repeated(digests: IntArray) -> int:
    """Number of rows that are equal to an earlier one."""
    return len(digests) - n_distinct(digests)


def _digest(row: NDArray[np.float64]) -> int:
    digest = hashlib.blake2b(row.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
