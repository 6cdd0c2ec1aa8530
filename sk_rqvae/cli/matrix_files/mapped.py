"""The rows of a file as one memory map."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._sklearn.progress_bars import progress_bar
from sk_rqvae.cli.matrix_files.npy_file import GrowingNpy
from sk_rqvae.cli.matrix_files.source import Source
from sk_rqvae.cli.matrix_files.temporary_folder import temporary_folder


class Mapped(NamedTuple):
    """All rows of a file.

    Attributes
    ----------
    rows : memmap of shape (n_rows, n_columns)
    keys : ndarray of shape (n_rows,) or None
        The items' keys, where they were asked for and the file has them.
    """

    rows: NDArray[Any]
    keys: NDArray[Any] | None


@contextmanager
def mapped(source: Source, *, keep_keys: bool = False) -> Iterator[Mapped]:
    """Read all rows once, so that they are checked, and map them.

    Rows that the file does not hold as they are, those of tables, are copied to a
    temporary file in the folder that ``TMPDIR`` names.
    """
    with temporary_folder() as folder:
        copy = folder / "rows.npy"
        keys = _read(source, copy, keep_keys)
        rows = np.load(copy, mmap_mode="r") if source.matrix is None else source.matrix
        yield Mapped(rows, keys)


def _read(source: Source, copy: Path, keep_keys: bool) -> NDArray[Any] | None:
    blocks = source.read()
    first = next(blocks)
    keys = []
    with (
        copy.open("wb") as file,
        progress_bar("reading", source.n_rows, shown=False) as on_progress,
    ):
        array = GrowingNpy(file, first.rows.shape[1], first.rows.dtype)
        for block in itertools.chain([first], blocks):
            if source.matrix is None:
                array.append(block.rows)
            if keep_keys and block.keys is not None:
                keys.append(block.keys)
            on_progress(len(block.rows))
        array.close()
    return np.concatenate(keys) if keys else None
