"""Column means of a matrix that may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sk_rqvae._inference.blocks import as_float64, beside, blocks
from sk_rqvae._inference.row_subset import ArrayOrTensor, Matrix

_VALUES_AT_ONCE = 2**22


def parts_of(X: Matrix) -> Iterator[ArrayOrTensor]:
    """Blocks of rows as they are, each small enough to be copied."""
    n_rows = max(1, _VALUES_AT_ONCE // X.shape[1])
    for part in blocks(len(X), n_rows):
        yield X[part]


def blocks_of(X: Matrix) -> Iterator[Any]:
    """Blocks of rows, copied to float64, on the device of the rows.

    A block is valid until the next one: those of an array share memory, because new
    memory for each would take half as long again.
    """
    memory: NDArray[np.float64] | None = None
    for part in parts_of(X):
        if isinstance(part, Tensor):
            yield as_float64(part)
            continue
        if memory is None:
            memory = np.empty(part.shape)
        block = memory[: len(part)]
        block[...] = part
        yield block


def column_means(X: Matrix, weights: NDArray[np.float64] | None = None) -> Any:
    """Mean of each column, without overflow even for the largest floats.

    `weights`, one positive weight per row, makes it the weighted mean. Rows in a tensor
    give a tensor on its device.
    """
    # Dividing before summing avoids the overflow.
    first = as_float64(X[0])
    if weights is not None:
        return first + _weighted_sum_of_differences(X, first, shares_of(weights))
    total = beside(first, np.zeros(X.shape[1]))
    for block in blocks_of(X):
        block /= len(X)
        block -= first / len(X)
        total += block.sum(axis=0)
    return first + total


def shares_of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights divided by their sum, which may be too large for a float."""
    relative = weights / weights.max()
    return relative / relative.sum()


def _weighted_sum_of_differences(
    X: Matrix, first: Any, shares: NDArray[np.float64]
) -> Any:
    total, n_read = beside(first, np.zeros(X.shape[1])), 0
    shares = beside(first, shares)
    for block in blocks_of(X):
        share = shares[n_read : n_read + len(block), np.newaxis]
        n_read += len(block)
        block *= share
        block -= share * first
        total += block.sum(axis=0)
    return total
