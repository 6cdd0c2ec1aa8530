"""Matrices in ``.npy`` files, by memory map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from sk_rqvae.cli.matrix_files.source import (
    ROWS_AT_ONCE,
    Block,
    NoRowsError,
    Source,
)

_READERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}
# What parsing a header of arbitrary bytes can raise.
_HEADER_ERRORS = (
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)


def npy_source(path: Path, name: str | None = None) -> Source:
    """The rows of a ``.npy`` file, which error messages call `name`."""
    name = name or str(path)
    with path.open("rb") as file:
        shape, dtype = check_npy_header(file, name)
        n_bytes = path.stat().st_size - file.tell()
    expected = _n_bytes(shape, dtype)
    if n_bytes < expected:
        raise ValueError(
            f"{name} is truncated: its header says {expected} bytes of numbers. Got "
            f"{n_bytes}."
        )
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)

    def blocks() -> Iterator[Block]:
        for first in range(0, len(matrix), ROWS_AT_ONCE):
            rows = matrix[first : first + ROWS_AT_ONCE]
            yield Block(None, rows.astype(dtype.newbyteorder("="), copy=False))

    return Source(path, shape[0], blocks, matrix=matrix if dtype.isnative else None)


def check_npy_header(
    file: IO[bytes], name: str
) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Read the header of a ``.npy`` file that must hold a matrix of numbers.

    Parameters
    ----------
    file : binary file
        At its beginning; afterwards, at the first number.
    name : str
        What error messages call it.

    Returns
    -------
    shape : tuple of two int
    dtype : dtype

    Raises
    ------
    ValueError
        If it is no ``.npy`` file, or holds anything but a matrix of real numbers with
        at least one row and one column.
    """
    try:
        version = npy.read_magic(file)
        # Version 3 differs in the encoding of the names of fields, which have none.
        shape, _, dtype = _READERS.get(version, npy.read_array_header_2_0)(file)
    except _HEADER_ERRORS as error:
        raise ValueError(f"{name} is not a valid .npy file: {error}.") from error
    if dtype.hasobject:
        raise ValueError(
            f"{name} holds pickled Python objects, which are not opened. Save numbers, "
            "with numpy.save(path, numpy.asarray(rows, dtype=float))."
        )
    if len(shape) != 2 or dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must hold a matrix of numbers, one row per item. Got an array of "
            f"shape {shape} and dtype {dtype}."
        )
    if shape[1] < 1:
        raise ValueError(f"{name} must have at least one column. Got shape {shape}.")
    if shape[0] < 1:
        raise NoRowsError(
            f"{name} must have at least one row. Got shape {shape}.", n_columns=shape[1]
        )
    return shape, dtype


def _n_bytes(shape: tuple[int, int], dtype: np.dtype[Any]) -> int:
    return shape[0] * shape[1] * dtype.itemsize


class GrowingNpy:
    """A ``.npy`` file to which blocks of rows are appended.

    Parameters
    ----------
    file : binary file
        Empty and seekable.
    width : int
        Columns.
    dtype : dtype
    """

    def __init__(self, file: BinaryIO, width: int, dtype: DTypeLike) -> None:
        self.file = file
        self.width = width
        self.dtype = np.dtype(dtype)
        self.n_rows = 0
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows after the ones so far."""
        if rows.shape[1] != self.width:
            raise ValueError(
                f"All rows must have one width. Got {rows.shape[1]} after {self.width}."
            )
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.n_rows += len(rows)

    def close(self) -> None:
        """Write the final number of rows to the header."""
        self.file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        """Write the header; NumPy pads it, so that a longer number fits later."""
        npy.write_array_header_1_0(
            self.file,
            {
                "descr": npy.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.n_rows, self.width),
            },
        )
