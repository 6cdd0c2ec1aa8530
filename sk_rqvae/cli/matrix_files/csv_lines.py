"""Lines of CSV files, with errors that name the file and the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_LARGEST_FIELD = 2**24  # characters


class Line(NamedTuple):
    """The fields of a row, and the number of the line where it ends."""

    number: int
    fields: list[str]


def csv_lines(path: Path, separator: str = ",") -> Iterator[Line]:
    """Rows that are not blank, all with as many fields as the first.

    In a table of one column, a blank line between others is a row whose value is
    missing.

    Raises
    ------
    ValueError
        If a row has more or fewer fields, or the file is not CSV in UTF-8.
    """
    width = 0
    missing: list[Line] = []
    # Spreadsheets begin UTF-8 with a mark, which is no part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        while True:
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, after line {reader.line_num} must be UTF-8: "
                    f"{error.reason}."
                ) from error
            if fields is None:
                return
            if not fields and width == 1:
                missing.append(Line(reader.line_num, [""]))
            width = width or len(fields)
            if len(fields) not in (0, width):
                raise ValueError(
                    f"{path}, line {reader.line_num} must have {width} fields. Got "
                    f"{len(fields)}."
                )
            if fields:
                yield from missing
                missing.clear()
                yield Line(reader.line_num, fields)


@contextmanager
def long_fields() -> Iterator[None]:
    """Let fields be as long as a description, not only as Python's limit.

    The limit is one for all readers of the process, so the program sets it once. It
    stays finite: after a quote that is never closed, the whole file is one field.
    """
    before = csv.field_size_limit(_LARGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
