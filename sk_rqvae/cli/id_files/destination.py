"""The output of IDs: a file that appears when it is complete, or standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.id_files.rows import AppendIDs, Layout
from sk_rqvae.cli.id_files.writers import TO_FILES, TO_TEXT
from sk_rqvae.cli.matrix_files.parquet_file import parquet_libraries
from sk_rqvae.cli.standard_streams import output_errors, standard_output
from sk_rqvae.cli.terminal import printable

_ARRAYS = (".npy", ".npz")


def id_format(path: Path | None, named: str | None, *, as_tokens: bool) -> str:
    """The format of the IDs, such as ``".csv"``.

    Parameters
    ----------
    path : Path or None
        None is standard output.
    named : str or None
        A format without its point. None is that of the path's ending, or CSV.
    as_tokens : bool
        Whether IDs are text, which arrays of codes cannot hold.

    Raises
    ------
    UsageError
        If IDs cannot be written in the format.
    """
    known = TO_TEXT if path is None else TO_FILES
    ending = "" if path is None else path.suffix.lower()
    if named is not None:
        kind = f".{named}"
        if ending in TO_FILES and ending != kind:
            raise UsageError(f"{path} must end in {kind} for --format {named}.")
    else:
        kind = ".csv" if path is None else ending
    if kind not in known:
        if path is None:
            raise UsageError(f"{named} needs a file: name it with -o.")
        raise UsageError(
            f"{path} must end in {', '.join(known)}, or --format must be one of them."
        )
    if as_tokens and kind in _ARRAYS:
        raise UsageError(f"--tokens is not for {kind} files, which have numbers alone.")
    if kind == ".parquet":
        parquet_libraries()
    return kind


@contextmanager
def open_ids(path: Path | None, kind: str, layout: Layout) -> Iterator[AppendIDs]:
    """Open a file for IDs. It is there when the block ends without an error.

    Parameters
    ----------
    path : Path or None
        None is standard output.
    kind : str
        See `id_format`.
    layout : Layout

    Yields
    ------
    callable
        Writes some keys and their IDs.
    """
    if path is None:
        out = standard_output()
        with ExitStack() as opened:
            append = _naming_output(opened.enter_context(TO_TEXT[kind](out, layout)))
            yield _harmless(append) if out.isatty() else append
            with output_errors():
                opened.close()
                out.flush()
        return
    with atomic_write(path) as file, TO_FILES[kind](file, layout) as append:
        yield append


def _naming_output(append: AppendIDs) -> AppendIDs:
    def named(keys: NDArray[Any], ids: IntArray) -> None:
        with output_errors():
            append(keys, ids)

    return named


def _harmless(append: AppendIDs) -> AppendIDs:
    """Keep control sequences in keys from reaching a terminal."""

    def escaped(keys: NDArray[Any], ids: IntArray) -> None:
        if keys.dtype == object:
            keys = np.array([printable(key) for key in keys], dtype=object)
        append(keys, ids)

    return escaped
