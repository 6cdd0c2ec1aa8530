"""Matrices in CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sk_rqvae.cli._blocks import (
    ROWS_AT_ONCE,
    Block,
    Columns,
    Source,
    number_columns,
)


def csv_source(path: Path, columns: Columns) -> Source:
    """The rows of a CSV file; a first line that is not all numbers has the names."""
    with _opened(path) as file:
        first = next(csv.reader(file), [])
    if not first:
        raise ValueError(f"{path} must begin with a row. Got an empty line or file.")
    has_names = not all(map(_is_number, first))
    names = first if has_names else [str(place) for place in range(len(first))]
    chosen = number_columns(path, names, columns)
    places = [names.index(name) for name in chosen]
    item = None if columns.item is None else names.index(columns.item)

    def blocks() -> Iterator[Block]:
        with _opened(path) as file:
            reader = csv.reader(file, strict=True)
            if has_names:
                next(reader)
            lines = _lines(path, reader, len(names))
            while block := list(islice(lines, ROWS_AT_ONCE)):
                items = None if item is None else _items(block, item)
                yield Block(
                    items, np.array([_numbers(path, places, *x) for x in block])
                )

    return Source(path, None, blocks)


def _opened(path: Path) -> TextIO:
    # Spreadsheets begin UTF-8 with a mark, which is no part of the first name.
    return path.open(encoding="utf-8-sig", newline="")


def _lines(path: Path, reader: Any, width: int) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, after the number of their line."""
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
        if fields is None:
            return
        if len(fields) not in (0, width):
            raise ValueError(
                f"{path}, line {reader.line_num} must have {width} fields. Got "
                f"{len(fields)}."
            )
        if fields:
            yield reader.line_num, fields


def _items(block: Sequence[tuple[int, list[str]]], place: int) -> Any:
    return np.array([fields[place] for _, fields in block], dtype=object)


def _numbers(
    path: Path, places: list[int], line: int, fields: list[str]
) -> list[float]:
    try:
        return [float(fields[place]) for place in places]
    except ValueError as error:
        raise ValueError(
            f"{path}, line {line} must have numbers: {error}. Columns that have none "
            "are left out by --item-column or --columns."
        ) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
