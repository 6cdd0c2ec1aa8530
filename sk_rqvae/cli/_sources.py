"""Matrices in files of any format."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._sklearn.progress_bars import progress_bar
from sk_rqvae.cli._arrays import GrowingNpy, npy_source, npz_source
from sk_rqvae.cli._blocks import Columns, Source
from sk_rqvae.cli._csv import csv_source
from sk_rqvae.cli._parquet import parquet_source

_ARRAYS = (".npy", ".npz")
_TABLES = {".csv": csv_source, ".parquet": parquet_source}


@contextmanager
def open_source(path: Path, columns: Columns, array: str | None) -> Iterator[Source]:
    """Open a file of rows. What is read does not fit in memory, perhaps.

    Parameters
    ----------
    path : Path
        Of a ``.npy``, ``.npz``, ``.parquet`` or ``.csv`` file.
    columns : Columns
        Which columns are read, of a table.
    array : str or None
        Which array is read, of an ``.npz`` file; None if it has but one.
    """
    kind = path.suffix.lower()
    if kind not in (*_ARRAYS, *_TABLES):
        raise ValueError(
            f"{path} must end in {', '.join([*_ARRAYS, *_TABLES])} to be read."
        )
    if kind not in _TABLES and columns != Columns():
        raise ValueError(f"{path} has no columns with names to choose from.")
    if kind != ".npz" and array is not None:
        raise ValueError(f"{path} has no arrays with names to choose from.")
    if kind == ".npy":
        yield npy_source(path)
    elif kind == ".npz":
        with TemporaryDirectory(prefix="sk-rqvae-") as folder:
            yield npz_source(path, array, Path(folder))
    else:
        yield _TABLES[kind](path, columns)


@contextmanager
def mapped(source: Source) -> Iterator[NDArray[Any]]:
    """The rows as one memory map; those of a table are copied to a temporary file."""
    if source.matrix is not None:
        yield source.matrix
        return
    with TemporaryDirectory(prefix="sk-rqvae-") as folder:
        copy = Path(folder) / "rows.npy"
        _copy(source, copy)
        yield np.load(copy, mmap_mode="r")


def _copy(source: Source, path: Path) -> None:
    blocks = source.blocks()
    first = next(blocks)
    with (
        path.open("wb") as file,
        progress_bar("reading", source.n_rows, shown=True) as advance,
    ):
        copy = GrowingNpy(file, first.rows.shape[1], first.rows.dtype)
        for block in itertools.chain([first], blocks):
            copy.append(block.rows)
            advance(len(block.rows))
        copy.close()
