"""Checks of the rows and keys of every file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.cli.matrix_files.seen_keys import SeenKeys
from sk_rqvae.cli.matrix_files.source import Block, NoRowsError, Source, row_name


def checked(source: Source) -> Source:
    """The same source, whose rows are checked while they are read.

    There must be a row, numbers must be finite, and keys neither empty nor repeated.
    """

    def blocks() -> Iterator[Block]:
        n_rows = 0
        seen = SeenKeys()
        for block in source.read():
            check_finite(source, block, n_rows)
            if block.keys is not None:
                _check_keys(source, block, block.keys, n_rows, seen)
            n_rows += len(block.rows)
            yield block
        if n_rows == 0:
            raise NoRowsError(
                f"{source.path} must have at least one row. Got none.",
                n_columns=None if source.names is None else len(source.names),
            )

    return replace(source, read=blocks)


def check_finite(source: Source, block: Block, n_before: int) -> None:
    """Raise a ValueError that names the first row and column without a number."""
    if block.rows.dtype.kind != "f":
        return
    # A sum is finite only if all its parts are, and needs no mask as large as the rows.
    with np.errstate(all="ignore"):
        total = block.rows.sum()
    if np.isfinite(total):
        return
    bad = ~np.isfinite(block.rows)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{source.path}, {row_name(block, n_before, row)}, {source.column(column)} "
            f"must be a finite number. Got {block.rows[row, column]}."
        )


def _check_keys(
    source: Source, block: Block, keys: NDArray[Any], n_before: int, seen: SeenKeys
) -> None:
    if keys.dtype == object and (keys == "").any():
        row = int(np.flatnonzero(keys == "")[0])
        raise ValueError(
            f"{source.path}, {row_name(block, n_before, row)} must have a key. Got "
            "none."
        )
    for row in seen.add(keys):
        earlier = _first_row_with(source, keys[row])
        if earlier != row_name(block, n_before, row):
            raise ValueError(
                f"{source.path}, {row_name(block, n_before, row)} repeats the key "
                f"{keys[row]!r} of {earlier}."
            )


def _first_row_with(source: Source, key: Any) -> str:
    """Read the file again for the row that a key was seen in first."""
    n_before = 0
    for block in source.read():
        if block.keys is not None and len(found := np.flatnonzero(block.keys == key)):
            return row_name(block, n_before, int(found[0]))
        n_before += len(block.rows)
    raise ValueError(f"{source.path} changed while it was read.")
