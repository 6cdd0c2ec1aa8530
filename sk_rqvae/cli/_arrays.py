"""Matrices in NumPy's files, by memory map."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

from sk_rqvae.cli._blocks import ROWS_AT_ONCE, Block, Source, check_matrix


def npy_source(path: Path, name: str | None = None) -> Source:
    """The rows of a ``.npy`` file, which errors call `name`."""
    name = name or str(path)
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name} is not a whole .npy file of numbers.") from error
    check_matrix(matrix, name)

    def blocks() -> Iterator[Block]:
        for start in range(0, len(matrix), ROWS_AT_ONCE):
            yield Block(None, matrix[start : start + ROWS_AT_ONCE])

    return Source(path, len(matrix), blocks, matrix)


def npz_source(path: Path, array: str | None, folder: Path) -> Source:
    """The rows of one array of an ``.npz`` file, which is unpacked into `folder`."""
    unpacked = folder / "array.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [each.removesuffix(".npy") for each in archive.namelist()]
            chosen = _chosen(path, names, array)
            with archive.open(f"{chosen}.npy") as packed, unpacked.open("wb") as file:
                shutil.copyfileobj(packed, file, 2**20)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole .npz file: {error}.") from error
    return npy_source(unpacked, f"{path}, array {chosen!r}")


def _chosen(path: Path, names: list[str], array: str | None) -> str:
    if array is None and len(names) == 1:
        return names[0]
    if array not in names:
        raise ValueError(
            f"{path} has the arrays {', '.join(names)}: pass one as --array. "
            f"Got {array}."
        )
    return array


class GrowingNpy:
    """A ``.npy`` file that takes blocks of rows; how many need not be known.

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
        """Write rows after those that there are."""
        if rows.shape[1] != self.width:
            raise ValueError(
                f"All rows must have one width. Got {rows.shape[1]} after {self.width}."
            )
        self.file.write(np.ascontiguousarray(rows, dtype=self.dtype).tobytes())
        self.n_rows += len(rows)

    def close(self) -> None:
        """Write down how many rows there are."""
        self.file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        """Write the header; NumPy leaves room in it for more rows."""
        npy.write_array_header_1_0(
            self.file,
            {
                "descr": npy.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.n_rows, self.width),
            },
        )
