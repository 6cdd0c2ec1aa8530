"""Validate codes, and turn rows of codes into sortable integer keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.missing import check_unmasked

IntArray = NDArray[np.int64]

_LARGEST_KEY = np.iinfo(np.int64).max


def layer_sizes(codebook_size: Any, n_layers: int) -> tuple[int, ...]:
    """Expand `codebook_size`, an int or one int per level, to one int per level."""
    sizes = np.atleast_1d(np.asarray(codebook_size))
    if sizes.ndim != 1 or not np.issubdtype(sizes.dtype, np.integer):
        raise TypeError(
            "codebook_size must be an int or a sequence of ints, one per level. "
            f"Got {codebook_size!r}."
        )
    if np.ndim(codebook_size) and len(sizes) != n_layers:
        raise ValueError(
            f"codebook_size must be an int or have one entry per level ({n_layers}). "
            f"Got {sizes.size} entries."
        )
    if (sizes < 1).any():
        raise ValueError(f"codebook_size must be at least 1. Got {codebook_size!r}.")
    return tuple(int(size) for size in np.broadcast_to(sizes, (n_layers,)))


def check_codes(
    codes: Any, codebook_size: Any = None, *, name: str = "codes"
) -> IntArray:
    """Validate a matrix of codes and return it as int64.

    Parameters
    ----------
    codes : array-like of shape (n, n_layers)
        Whole numbers of any numeric dtype. Floats are accepted if they are whole.
    codebook_size : int or sequence of int, default=None
        Exclusive upper bounds. With None, codes must only be non-negative.
    name : str, default="codes"
        Name of `codes` in error messages.

    Returns
    -------
    ndarray of shape (n, n_layers), dtype int64

    Raises
    ------
    TypeError
        If `codes` is not numeric.
    ValueError
        If `codes` is not 2-D, has no column, or a code is fractional, negative, not
        finite or too large for its codebook.
    """
    check_unmasked(codes, name, instead=f"np.ma.compress_rows({name})")
    array = np.asarray(codes)
    if array.dtype.kind == "f" and isinstance(codes, list | tuple):
        # NumPy makes floats of integers of several types.
        array = np.array(codes, dtype=object)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be 2-D, (n_items, n_layers). Got {array.ndim}-D, "
            f"shape {array.shape}."
        )
    if array.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column. Got {array.shape}.")
    if array.dtype == object:
        array = _numbers(array, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be whole numbers. Got dtype {array.dtype}.")
    if array.dtype.kind == "f":
        _reject(~np.isfinite(array), array, name, "must be finite")
        _reject(array != np.floor(array), array, name, "must be whole numbers")
    _reject(array < 0, array, name, "must not be negative")
    if codebook_size is None:
        _reject(array >= 2**63, array, name, "must fit in 64 bits")
    else:
        sizes = np.asarray(layer_sizes(codebook_size, array.shape[1]))
        _reject(
            array >= sizes, array, name, f"must be below codebook_size {sizes.tolist()}"
        )
    return array.astype(np.int64, copy=False)


def check_code_maps(code_maps: Any, sizes: Sequence[int]) -> list[IntArray]:
    """Validate new names of the codes of each level.

    Parameters
    ----------
    code_maps : sequence of array-like of shape (size,)
        ``code_maps[level][code]`` is the new name of a code.
    sizes : sequence of int
        Codes of each level.

    Returns
    -------
    list of ndarray of int64

    Raises
    ------
    TypeError
        If `code_maps` is no sequence, or a name is no number.
    ValueError
        If there is not one permutation for each level.
    """
    if not isinstance(code_maps, Iterable):
        raise TypeError(
            "code_maps must be a sequence of arrays, one for each codebook. Got "
            f"{type(code_maps).__name__}."
        )
    maps = [_code_map(names) for names in code_maps]
    rule = "code_maps must have a permutation of the codes of each codebook"
    found = list(map(len, maps))
    if found != list(sizes):
        raise ValueError(f"{rule}, of sizes {list(sizes)}. Got sizes {found}.")
    for level, names in enumerate(maps):
        missing = np.setdiff1d(np.arange(len(names)), names)
        if len(missing):
            raise ValueError(
                f"{rule}. Got no code with the name {missing[0]} in level {level}."
            )
    return maps


def _code_map(names: Any) -> IntArray:
    try:
        array = np.asanyarray(names)  # masked names are refused below
    except ValueError as error:
        raise ValueError(f"code_maps must have arrays of codes. Got: {error}") from None
    if array.ndim != 1:
        raise ValueError(
            f"code_maps must have 1-D arrays, one for each level. Got {array.ndim}-D."
        )
    return check_codes(array[:, np.newaxis], name="code_maps")[:, 0]


def _numbers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """An array of objects as one of numbers, which is exact for integers."""
    kind: type[np.generic] = np.float64
    if all(isinstance(code, int | np.integer) for code in array.flat):
        too_large = [not -(2**63) <= code < 2**63 for code in array.flat]
        _reject(np.reshape(too_large, array.shape), array, name, "must fit in 64 bits")
        kind = np.int64
    try:
        return array.astype(kind)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be whole numbers. Got {error}.") from error


def check_order_of_columns(codes: Any, names: NDArray[Any], *, name: str = "X") -> None:
    """Raise if a data frame of codes has the known columns in another order.

    Parameters
    ----------
    codes : array-like or DataFrame
        Without string names, or with other names, it passes.
    names : ndarray of shape (n_layers,)
        Names of the levels, in their order.
    name : str, default="X"
        Name of `codes` in error messages.

    Raises
    ------
    ValueError
        If the names are those of some levels, but not of the first ones in order.
    """
    columns = getattr(codes, "columns", None)
    if columns is None:
        return
    found, expected = list(columns), list(names)
    if set(found) <= set(expected) and found != expected[: len(found)]:
        raise ValueError(
            f"{name} must have the columns {expected[: len(found)]}, in this order. "
            f"Got {found}."
        )


def row_keys(codes: IntArray) -> IntArray:
    """One integer per row; comparing keys is comparing rows lexicographically.

    The columns are the digits of a mixed-radix number. Before that number would exceed
    64 bits, the digits so far are replaced by their ranks.
    """
    n_rows, n_layers = codes.shape
    keys = np.zeros(n_rows, dtype=np.int64)
    if n_rows == 0:
        return keys
    n_keys = 1
    for level in range(n_layers):
        column = codes[:, level]
        radix = int(column.max()) + 1
        if n_keys * radix > _LARGEST_KEY:
            distinct, keys = np.unique(keys, return_inverse=True)
            n_keys = len(distinct)
        if n_keys * radix > _LARGEST_KEY:
            distinct, column = np.unique(column, return_inverse=True)
            radix = len(distinct)
        keys = keys * radix + column
        n_keys *= radix
    return keys


def _reject(bad: NDArray[np.bool_], array: NDArray[Any], name: str, rule: str) -> None:
    if bad.any():
        row, column = np.argwhere(bad)[0]
        code = array[row, column]
        code = code.item() if isinstance(code, np.generic) else code
        raise ValueError(f"{name} {rule}. Got {code!r} in row {row}, column {column}.")


def n_distinct(keys: IntArray) -> int:
    """Number of different integers.

    Of many, NumPy's `unique` takes several times as long as sorting: it hashes them.
    """
    ordered = np.sort(keys)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + (len(keys) > 0)
