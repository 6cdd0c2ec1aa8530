"""Input checks shared by the metrics. Each error names the argument."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, column_or_1d

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._checks.missing import check_unmasked, first_missing

Matrix = NDArray[Any]

_BLOCK_ENTRIES = 2**16


def check_matrix(X: ArrayLike, *, name: str) -> Matrix:
    """Return `X` as a 2-D array of its own dtype; it must be finite and not empty."""
    check_unmasked(X, name, instead=f"{name}.filled(0)")
    array = check_array(
        X,
        input_name=name,
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must be 2-D, (n_items, n_features), and not empty. "
            f"Got shape {array.shape}."
        )
    matrix = np.asarray(array)
    if matrix.dtype.kind in "mM":
        raise TypeError(
            f"{name} must be numeric. Got dates or durations, {matrix.dtype}."
        )
    if matrix.dtype.kind == "O" or matrix.dtype == np.longdouble:
        # Objects are those of a list with None. The bytes of a long double are not all
        # its value, so equal rows would not have equal bytes.
        matrix = matrix.astype(np.float64)
    if matrix.dtype.kind == "f":
        _check_finite(matrix, name)
    return matrix


def _check_finite(matrix: Matrix, name: str) -> None:
    for block in row_blocks(matrix.shape):
        wrong = ~np.isfinite(matrix[block])
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = matrix[block][row, column]
            kind = "NaN" if np.isnan(value) else "infinity"
            raise ValueError(
                f"{name} must be finite. Input {name} contains {kind} in row "
                f"{block.start + row}, column {column}."
            )


def check_reconstruction(X: ArrayLike, X_rec: ArrayLike) -> tuple[Matrix, Matrix]:
    """Return a matrix and its reconstruction, which must have the same shape."""
    original = check_matrix(X, name="X")
    restored = check_matrix(X_rec, name="X_rec")
    if original.shape != restored.shape:
        raise ValueError(
            f"X and X_rec must have the same shape. Got {original.shape} and "
            f"{restored.shape}."
        )
    return original, restored


def check_item_codes(
    codes: ArrayLike, codebook_size: Any = None, *, name: str = "codes"
) -> IntArray:
    """Check codes as `check_codes` does, and that there is at least one item."""
    array = check_codes(codes, codebook_size, name=name)
    if len(array) == 0:
        raise ValueError(f"{name} must have at least one row. Got shape {array.shape}.")
    return array


def check_same_length(n_given: int, n_codes: int, *, name: str) -> None:
    """Check that the argument `name` has as many rows as `codes`."""
    if n_given != n_codes:
        raise ValueError(
            f"{name} and codes must have the same number of rows. "
            f"Got {n_given} and {n_codes}."
        )


def check_labels(labels: ArrayLike, n_items: int) -> NDArray[Any]:
    """Return labels as a 1-D array, one per item, none missing, which can be sorted."""
    check_unmasked(labels, "labels", instead="labels.filled(-1)")
    given = np.asarray(column_or_1d(labels))
    check_same_length(len(given), n_items, name="labels")
    item = first_missing(labels)
    if item is not None:
        missing = np.asarray(labels, dtype=object).ravel()[item]
        raise ValueError(f"labels must not be missing. Got {missing} for item {item}.")
    if given.dtype == object:
        try:
            np.sort(given)
        except TypeError as error:
            raise TypeError(
                f"labels must be of one kind, which can be sorted. Got: {error}."
            ) from error
    return given


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows, so small that a float64 copy of one fits in the cache."""
    n_rows, n_columns = shape
    step = max(1, _BLOCK_ENTRIES // n_columns)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
