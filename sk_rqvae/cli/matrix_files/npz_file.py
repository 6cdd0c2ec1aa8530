"""Matrices in ``.npz`` files, unpacked to a temporary file."""

from __future__ import annotations

import errno
import lzma
import shutil
import zipfile
import zlib
from pathlib import Path

from sk_rqvae.cli.matrix_files.npy_file import check_npy_header, npy_source
from sk_rqvae.cli.matrix_files.source import Source
from sk_rqvae.cli.matrix_files.unpacked_size import check_unpacked_size

_MIB = 2**20
# What reading an archive of arbitrary bytes can raise; RuntimeError is encryption.
_ARCHIVE_ERRORS = (
    EOFError,
    NotImplementedError,
    RuntimeError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def npz_source(
    path: Path, array: str | None, limit_mb: float | None, folder: Path
) -> Source:
    """The rows of one array of an ``.npz`` file.

    Parameters
    ----------
    path : Path
    array : str or None
        None if the file has but one.
    limit_mb : float or None
        MiB that the array may take. None is 20 times the size of the file, and at
        least 100.
    folder : Path
        Where the array is unpacked.

    Raises
    ------
    ValueError
        If the file is damaged, has no such array, or the array is larger than the
        limit.
    """
    unpacked = folder / "array.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _chosen(path, archive, array)
            name = f"{path}, array {entry.filename.removesuffix('.npy')!r}"
            with archive.open(entry) as file:
                check_npy_header(file, name)
            check_unpacked_size(name, entry.file_size, path, limit_mb)
            with archive.open(entry) as packed, unpacked.open("wb") as file:
                shutil.copyfileobj(packed, file, _MIB)
    except _ARCHIVE_ERRORS as error:
        raise ValueError(f"{path} is not a valid .npz file: {error}.") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a position before the beginning of the file
            raise
        raise ValueError(f"{path} is not a valid .npz file: {error}.") from error
    source = npy_source(unpacked, name)
    return Source(path, source.n_rows, source.read, matrix=source.matrix)


def _chosen(path: Path, archive: zipfile.ZipFile, array: str | None) -> zipfile.ZipInfo:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.filelist}
    if array is None and len(entries) == 1:
        return next(iter(entries.values()))
    if array not in entries:
        got = "none" if array is None else repr(array)
        raise ValueError(
            f"{path} has the arrays {', '.join(entries)}: name one with --array. Got "
            f"{got}."
        )
    return entries[array]
