"""Validation of `X` beyond scikit-learn's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite

_ROWS_AT_ONCE = 8192


def check_finite(X: NDArray[Any], *, estimator_name: str) -> None:
    """Raise if `X` has NaN or infinite values; checked block by block.

    scikit-learn allocates a mask of the size of its argument when the sum overflows, as
    it often does in float16.
    """
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = X[start : start + _ROWS_AT_ONCE]
        assert_all_finite(block, estimator_name=estimator_name, input_name="X")


def check_binary_columns(X: NDArray[Any], n_cat_features: int) -> None:
    """Raise if the last `n_cat_features` columns of `X` are not all 0 or 1."""
    first = X.shape[1] - n_cat_features
    for start in range(0, len(X), _ROWS_AT_ONCE):
        binary = X[start : start + _ROWS_AT_ONCE, first:]
        wrong = (binary != 0) & (binary != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"n_cat_features={n_cat_features} says that the last columns of X are "
                f"binary, all 0 or 1. Got {binary[row, column]!r} in row "
                f"{start + row}, column {first + column}."
            )
