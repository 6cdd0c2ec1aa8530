"""Files of IDs, written a block of rows at a time."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae.cli._arrays import GrowingNpy
from sk_rqvae.cli._blocks import AppendIDs
from sk_rqvae.cli._parquet import parquet_ids

_ITEM_COLUMN = "item_id"


@contextmanager
def open_ids(path: Path | None, n_layers: int) -> Iterator[AppendIDs]:
    """Open a file for IDs, which is there when the block has ended without an error.

    Tables have the columns ``item_id``, ``level_1``, ``level_2`` and so on, which
    `SemanticIDIndex.from_table` reads. Arrays have the codes alone.

    Parameters
    ----------
    path : Path or None
        None is the standard output, as CSV.
    n_layers : int

    Yields
    ------
    callable
        Writes some items and their codes.
    """
    names = [_ITEM_COLUMN, *(f"level_{level + 1}" for level in range(n_layers))]
    if path is None:
        yield _csv_appender(sys.stdout, names)
        sys.stdout.flush()
        return
    with (
        atomic_write(path) as file,
        _WRITERS[path.suffix.lower()](file, names) as append,
    ):
        yield append


def check_id_path(path: Path | None) -> None:
    """Raise an error if IDs cannot be written to a file of this name."""
    if path is None:
        return
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(f"{path} must end in {', '.join(_WRITERS)} to be written.")
    if not path.parent.is_dir():
        raise NotADirectoryError(f"{path.parent} is not a folder.")


@contextmanager
def _npy_ids(file: BinaryIO, names: Sequence[str]) -> Iterator[AppendIDs]:
    array = GrowingNpy(file, len(names) - 1, np.int64)
    yield lambda items, codes: array.append(codes)
    array.close()


@contextmanager
def _npz_ids(file: BinaryIO, names: Sequence[str]) -> Iterator[AppendIDs]:
    with TemporaryFile() as unpacked:
        with _npy_ids(unpacked, names) as append:
            yield append
        unpacked.seek(0)
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("codes.npy", "w", force_zip64=True) as packed,
        ):
            shutil.copyfileobj(unpacked, packed, 2**20)


@contextmanager
def _csv_ids(file: BinaryIO, names: Sequence[str]) -> Iterator[AppendIDs]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    yield _csv_appender(text, names)
    text.detach()


def _csv_appender(text: TextIO, names: Sequence[str]) -> AppendIDs:
    writer = csv.writer(text, lineterminator="\n")
    header = [names]

    def append(items: NDArray[Any], codes: IntArray) -> None:
        # Not before there are rows: an error before them prints nothing.
        while header:
            writer.writerow(header.pop())
        rows = zip(items.tolist(), codes.tolist(), strict=True)
        writer.writerows((item, *row) for item, row in rows)

    return append


_WRITERS: dict[str, Any] = {
    ".npy": _npy_ids,
    ".npz": _npz_ids,
    ".parquet": parquet_ids,
    ".csv": _csv_ids,
}
