"""Validation of `X` beyond scikit-learn's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.missing import check_unmasked

_ROWS_AT_ONCE = 8192


def refuse_other_kinds(X: Any) -> None:
    """Raise for arrays that would lose their meaning as numbers.

    Raises
    ------
    TypeError
        If `X` has masked values, dates, durations or lists.
    """
    check_unmasked(X, "X", instead="X.filled(0)")
    dtypes = getattr(X, "dtypes", getattr(X, "dtype", None))
    if not np.iterable(dtypes):  # a column has one under both names
        dtypes = [dtypes]
    for dtype in dtypes:
        if getattr(dtype, "kind", None) in ("m", "M"):
            raise TypeError(f"X must be numeric. Got dates or durations, {dtype}.")
    if any(map(_may_be_nested, dtypes)) and np.shape(X):
        _refuse_lists(X)


def _may_be_nested(dtype: Any) -> bool:
    """Whether values of a column can be lists, by its type in pandas or polars."""
    is_nested = getattr(dtype, "is_nested", None)
    return getattr(dtype, "kind", None) == "O" or bool(is_nested and is_nested())


def _refuse_lists(X: Any) -> None:
    columns = getattr(X, "columns", None)
    for position, value in enumerate(np.asarray(X[:1]).ravel()):
        if np.ndim(value) == 0:
            continue
        found, column = "a row", "X"
        if columns is not None:
            name = list(columns)[position]
            found, column = f"column {name!r}", f"X[{name!r}]"
        raise TypeError(
            f"X must have one number in each cell. Got a list in {found}. For a "
            f"column of lists, pass np.stack({column})."
        )


def check_finite(X: NDArray[Any], first_row: int = 0) -> None:
    """Raise if `X` has NaN or infinite values; checked block by block.

    scikit-learn's check names no row, and allocates a mask of the size of `X` when the
    sum overflows. `first_row` is the number of the first row in messages.

    Raises
    ------
    ValueError
        Naming the first row and column.
    """
    if X.dtype.kind != "f":
        return
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = X[start : start + _ROWS_AT_ONCE]
        if _has_finite_squares(block):
            continue
        wrong = ~np.isfinite(block)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = block[row, column]
            text = "NaN" if np.isnan(value) else str(value)
            raise ValueError(
                "X must have finite values, no NaN and no inf. Got "
                f"{text} in row {first_row + start + row}, column {column}."
            )


def _has_finite_squares(block: NDArray[Any]) -> bool:
    """Whether the sum of squares is finite: then all values are.

    It is one product of a BLAS library, which uses several threads.
    """
    values = block if block.dtype.itemsize >= 4 else block.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.vdot(values, values)))


def check_binary_columns(
    X: NDArray[Any], n_cat_features: int, first_row: int = 0
) -> None:
    """Raise if the last `n_cat_features` columns of `X` are not all 0 or 1.

    `first_row` is the number of the first row in messages.
    """
    first = X.shape[1] - n_cat_features
    for start in range(0, len(X), _ROWS_AT_ONCE):
        binary = X[start : start + _ROWS_AT_ONCE, first:]
        wrong = (binary != 0) & (binary != 1)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(
                f"n_cat_features={n_cat_features} says that the last columns of X are "
                f"binary, all 0 or 1. Got {binary[row, column].item()!r} in row "
                f"{first_row + start + row}, column {first + column}."
            )
