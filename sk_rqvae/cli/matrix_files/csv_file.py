"""Matrices in CSV files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae.cli.matrix_files.columns import chosen_columns
from sk_rqvae.cli.matrix_files.csv_header import has_header, is_number, is_unnamed
from sk_rqvae.cli.matrix_files.csv_lines import Line, csv_lines
from sk_rqvae.cli.matrix_files.source import (
    ROWS_AT_ONCE,
    Block,
    NoRowsError,
    Reading,
    Source,
)

_LINES_LOOKED_AT = 10
_TEXT_SHOWN = 40


def csv_source(path: Path, reading: Reading) -> Source:
    """The rows of a CSV file."""
    lines = csv_lines(path)
    first = next(lines, Line(0, [])).fields
    if not first:
        kind = NoRowsError if reading.has_header is False else ValueError
        raise kind(f"{path} must have at least one row. Got an empty file.")
    _check_separator(path, first)
    following = [line.fields for line in islice(lines, _LINES_LOOKED_AT)]
    is_named = has_header(path, first, following, reading)
    names = first if is_named else [str(number) for number in range(len(first))]
    labels = [names[0]] if is_named and is_unnamed(names[0]) else []
    unnamed = [number for number, name in enumerate(names) if name == "" and number]
    if unnamed:
        raise ValueError(
            f"{path}, line 1 must have a name for every column but the first. Got none "
            f"for column {unnamed[0]}."
        )
    columns = chosen_columns(path, names, reading, labels)
    positions = [names.index(name) for name in columns.numbers]
    key = None if columns.key is None else names.index(columns.key)

    def blocks() -> Iterator[Block]:
        lines = islice(csv_lines(path), 1 if is_named else 0, None)
        while block := list(islice(lines, ROWS_AT_ONCE)):
            keys = None if key is None else _keys(block, key)
            rows = [_numbers(path, names, positions, line) for line in block]
            yield Block(keys, np.array(rows), [line.number for line in block])

    return Source(path, None, blocks, names=columns.numbers if is_named else None)


def _check_separator(path: Path, first: Sequence[str]) -> None:
    """Recognise files whose fields are not separated by commas."""
    for name, separator in {"semicolons": ";", "tabs": "\t"}.items():
        if separator in first[0] and (len(first) == 1 or separator in first[-1]):
            raise ValueError(
                f"{path}, line 1 must have commas between its fields, and points in "
                f"numbers. Got {name}."
            )


def _keys(block: Sequence[Line], position: int) -> NDArray[Any]:
    return np.array([line.fields[position] for line in block], dtype=object)


def _numbers(
    path: Path, names: Sequence[str], positions: Sequence[int], line: Line
) -> list[float]:
    fields = [line.fields[position] for position in positions]
    try:
        if not any("_" in field for field in fields):
            return [float(field) for field in fields]
    except ValueError:
        pass
    position = next(p for p in positions if not is_number(line.fields[p]))
    got = line.fields[position]
    shown = repr(got[:_TEXT_SHOWN]) if got else "an empty field"
    raise ValueError(
        f"{path}, line {line.number}, column {names[position]!r} must be a number. Got "
        f"{shown}. If the column has keys, name it with --item-column; --columns names "
        "those with numbers."
    )
