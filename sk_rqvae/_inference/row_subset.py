"""Some rows of a matrix, read when they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class RowSubset:
    """Chosen rows of a matrix, without a copy of them.

    It has what this package uses of a matrix: `shape`, `len` and slices of rows, which
    are read from the matrix.

    Parameters
    ----------
    X : ndarray, Tensor or RowSubset of shape (n, n_features)
        Often a memory map.
    index : ndarray of shape (m,), int64
        Which rows, in the order in which they are to appear.
    """

    def __init__(self, X: Matrix, index: NDArray[np.int64]) -> None:
        self.X = X
        self.index = index
        self.shape: tuple[int, ...] = (len(index), X.shape[1])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> ArrayOrTensor:
        return self.X[self.index[rows]]


ArrayOrTensor = NDArray[Any] | Tensor
Matrix = ArrayOrTensor | RowSubset
