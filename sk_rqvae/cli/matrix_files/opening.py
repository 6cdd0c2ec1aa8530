"""Open a file of rows by the ending of its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files.checks import checked
from sk_rqvae.cli.matrix_files.csv_file import csv_source
from sk_rqvae.cli.matrix_files.npy_file import npy_source
from sk_rqvae.cli.matrix_files.npz_file import npz_source
from sk_rqvae.cli.matrix_files.parquet_file import parquet_source
from sk_rqvae.cli.matrix_files.regular_file import check_regular_file
from sk_rqvae.cli.matrix_files.source import Reading, Source
from sk_rqvae.cli.matrix_files.temporary_folder import temporary_folder

FORMATS = (".npy", ".npz", ".csv", ".parquet")
_TABLES = (".csv", ".parquet")
_COMPRESSED = (".npz", ".parquet")


@contextmanager
def open_source(path: Path, reading: Reading) -> Iterator[Source]:
    """Open a file of rows, which may be larger than memory.

    Parameters
    ----------
    path : Path
        Of a ``.npy``, ``.npz``, ``.csv`` or ``.parquet`` file.
    reading : Reading

    Yields
    ------
    Source
        Its rows are checked while they are read.
    """
    check_reading(path, reading)
    check_regular_file(path)
    kind = path.suffix.lower()
    if kind == ".npz":
        with temporary_folder() as folder:
            yield checked(npz_source(path, reading.array, reading.unpack_limit, folder))
        return
    if kind == ".npy":
        yield checked(npy_source(path))
    else:
        read = csv_source if kind == ".csv" else parquet_source
        yield checked(read(path, reading))


def check_reading(path: Path, reading: Reading) -> None:
    """Raise a UsageError if the options do not fit the format of the file."""
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise UsageError(
            f"{path} must end in {', '.join(FORMATS)} to be read as a matrix."
        )
    wrong = [
        name
        for name, is_given, kinds in (
            ("--item-column", reading.key_column is not None, _TABLES),
            ("--columns", reading.columns is not None, _TABLES),
            ("--header", reading.has_header is not None, (".csv",)),
            ("--array", reading.array is not None, (".npz",)),
            ("--unpack-limit", reading.unpack_limit is not None, _COMPRESSED),
        )
        if is_given and kind not in kinds
    ]
    if wrong:
        raise UsageError(f"{wrong[0]} is not for {kind} files. Got {path}.")
    if reading.unpack_limit is not None and not reading.unpack_limit > 0:
        raise UsageError(
            f"--unpack-limit must be a positive number. Got {reading.unpack_limit}."
        )
