"""IDs as a table: CSV or Parquet, one column a level."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray, check_codes
from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.regular_files import open_regular_file, read_regular_file
from sk_rqvae.index.formats.native import PathLike
from sk_rqvae.index.items import ITEM_COLUMN

_ROWS_AT_ONCE = 65536
# What the csv module reads unless a program asks for more.
_LONGEST_FIELD = 131_072
_SUFFIX_COLUMN = "suffix"
_LEVEL = re.compile(r"level_([1-9][0-9]*)")
_DIGITS = len(str(2**63))
_INTEGER = re.compile(r"-?[0-9]+")
# What pandas calls an index that has no name, in CSV and in Parquet.
_INDEX_COLUMNS = ("", "__index_level_0__")


class Layout(NamedTuple):
    """The meaning of the columns of a table.

    Attributes
    ----------
    item : int
    codes : list of int
        The levels in order, and the suffix if there is one.
    named : bool
        Whether the columns are called ``level_1`` and so on.
    has_suffix : bool
        Whether one is called ``suffix``.
    """

    item: int
    codes: list[int]
    named: bool
    has_suffix: bool


def write_table(
    path: PathLike, ids: IntArray, items: NDArray[Any], *, numbered: bool
) -> None:
    """Write a table with the items and one column a level, CSV or Parquet.

    With `numbered`, the last column of the IDs is the suffix.
    """
    values = items.tolist()
    _check_encodable(values)
    n_layers = ids.shape[1] - numbered
    names = [ITEM_COLUMN, *(f"level_{level + 1}" for level in range(n_layers))]
    names += [_SUFFIX_COLUMN] * numbered
    if _is_parquet(path):
        columns = [values if items.dtype == object else items, *ids.T]
        with atomic_write(path) as file:
            _write_parquet(file, dict(zip(names, columns, strict=True)))
        return
    _check_csv_items(values)
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows(
            (item, *codes) for item, codes in zip(values, _rows(ids), strict=True)
        )
        text.detach()


def _check_encodable(items: list[Any]) -> None:
    for item in items:
        try:
            str(item).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "items of a table must be valid text, without lone surrogates. Got "
                f"{item!r}. Write JSON, which can have them."
            ) from None


def read_table(path: PathLike, policy: str) -> tuple[Any, Any, bool]:
    """Read IDs and items, and whether there is a column ``suffix``.

    Items of a CSV file come as strings.

    Raises
    ------
    ValueError
        If the file is not a table of IDs, or has no suffix where `policy` needs one.
    """
    if _is_parquet(path):
        names, columns = _read_parquet(path)
        layout = _checked_layout(path, names, policy)
        # NumPy would stack columns of different integer types as floats.
        codes = [
            _checked_column(columns[at], f"{path}, column {names[at]!r}")
            for at in layout.codes
        ]
        return np.column_stack(codes), columns[layout.item], layout.has_suffix
    try:
        return _read_csv(path, policy)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be in UTF-8: {error}.") from error


def layout_of(path: PathLike, names: Sequence[str]) -> Layout:
    """Find the items and the levels by the names of the columns.

    Columns called ``level_1``, ``level_2`` and so on are the levels, with ``suffix``
    after them. The items are in ``item_id``, or in the one other column. If no column
    is called ``level_1``, the first column has the items and the others the levels.

    Raises
    ------
    ValueError
        If the names leave that open.
    """
    if len(names) < 2:
        raise ValueError(
            f"{path} must have a column of items and one per level. Got the columns "
            f"{list(names)}."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path} has columns of the same name. Got {repeated}.")
    levels = {
        int(match[1]): at
        for at, name in enumerate(names)
        if (match := _LEVEL.fullmatch(name))
    }
    if not levels:
        if any(name in _INDEX_COLUMNS for name in names):
            raise ValueError(
                f"{path} has a column without a name, which pandas writes for its "
                "index. Call the columns item_id, level_1 and so on, or write the "
                "table without its index."
            )
        item = names.index(ITEM_COLUMN) if ITEM_COLUMN in names else 0
        codes = [at for at in range(len(names)) if at != item]
        return Layout(item, codes, named=False, has_suffix=False)
    if sorted(levels) != list(range(1, len(levels) + 1)):
        raise ValueError(
            f"{path} must have the columns level_1 to level_{max(levels)}. Got "
            f"{len(levels)} of them."
        )
    codes = [levels[level] for level in sorted(levels)]
    has_suffix = _SUFFIX_COLUMN in names
    if has_suffix:
        codes.append(names.index(_SUFFIX_COLUMN))
    others = [at for at in range(len(names)) if at not in codes]
    if ITEM_COLUMN in names:
        item = names.index(ITEM_COLUMN)
        unknown = [
            names[at] for at in others if at != item and names[at] not in _INDEX_COLUMNS
        ]
        if unknown:
            raise ValueError(
                f"{path} has columns that are neither items nor levels. Got {unknown}."
            )
        return Layout(item, codes, named=True, has_suffix=has_suffix)
    if len(others) != 1:
        raise ValueError(
            f"{path} must have one column of items, called item_id. Got the columns "
            f"{list(names)}."
        )
    return Layout(others[0], codes, named=True, has_suffix=has_suffix)


def _checked_layout(path: PathLike, names: Sequence[str], policy: str) -> Layout:
    layout = layout_of(path, names)
    if policy == "suffix" and layout.named and not layout.has_suffix:
        raise ValueError(
            f"{path} must have a column suffix to be read with policy='suffix'. Got "
            f"{list(names)}. To make IDs of codes without a suffix, read them with "
            "policy='none' and give its ids_ and item_ids_ to fit."
        )
    return layout


def _read_csv(path: PathLike, policy: str) -> tuple[IntArray, list[str], bool]:
    # Spreadsheets begin UTF-8 with a mark, which is no part of the first name.
    with (
        open_regular_file(path) as binary,
        io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
    ):
        reader = csv.reader(file, strict=True)
        lines = _lines(path, reader)
        names = next(lines, [])
        if len(names) > 1 and all(map(_INTEGER.fullmatch, names[1:])):
            raise ValueError(
                f"{path} must begin with a line of column names. Got {names}."
            )
        layout = _checked_layout(path, names, policy)
        items: list[str] = []
        ids: list[list[int]] = []
        for fields in lines:
            if len(fields) != len(names):
                raise ValueError(
                    f"{path}, line {reader.line_num} must have {len(names)} fields. "
                    f"Got {len(fields)}."
                )
            item = fields[layout.item]
            if not item:
                raise ValueError(
                    f"{path}, line {reader.line_num} must have an item. Got an empty "
                    f"field in column {names[layout.item]!r}."
                )
            items.append(item)
            codes = [fields[at] for at in layout.codes]
            ids.append(_codes_of(codes, path, reader.line_num))
    codes_of_all = np.array(ids, dtype=np.int64).reshape(-1, len(layout.codes))
    return codes_of_all, items, layout.has_suffix


def _lines(path: PathLike, reader: Any) -> Iterator[list[str]]:
    """Rows that are not blank."""
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}.") from error
        if fields is None:
            return
        if fields:
            yield fields


def _checked_column(column: NDArray[Any], name: str) -> IntArray:
    if column.dtype.kind not in "iuf":
        raise ValueError(f"{name} must have whole numbers. Got {column.dtype}.")
    return check_codes(column[:, None], name=name)[:, 0]


def _check_csv_items(items: Sequence[Any]) -> None:
    """Check that the reader of CSV files will take items."""
    for row, item in enumerate(items):
        if item == "":
            raise ValueError(
                "items must not be empty to be written as CSV, where an empty field is "
                f"a missing item. Got '' in row {row}. Write Parquet or JSON."
            )
        if isinstance(item, str) and len(item) > _LONGEST_FIELD:
            raise ValueError(
                f"items must have at most {_LONGEST_FIELD} characters to be written as "
                f"CSV. Got {len(item)} in {item!r:.40}. Write Parquet."
            )


def _rows(ids: IntArray) -> Iterator[list[int]]:
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        yield from ids[start : start + _ROWS_AT_ONCE].tolist()


def _codes_of(fields: list[str], path: PathLike, line: int) -> list[int]:
    for field in fields:
        # Converting a field of thousands of digits would be slow, or an error.
        is_integer = _INTEGER.fullmatch(field) and len(field) <= _DIGITS
        if not is_integer or int(field) >= 2**63:
            raise ValueError(
                f"{path}, line {line} must have whole numbers for codes. Got {field!r}."
            )
    return [int(field) for field in fields]


def _is_parquet(path: PathLike) -> bool:
    kind = Path(path).suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise ValueError(
            f"path must end in '.parquet' or '.csv'. Got {os.fspath(path)!r}."
        )
    return kind == ".parquet"


def _write_parquet(file: Any, columns: dict[str, Any]) -> None:
    name, library = _parquet_library()
    if name == "polars":
        library.DataFrame(columns).write_parquet(file)
        return
    importlib.import_module("pyarrow.parquet").write_table(library.table(columns), file)


def _read_parquet(path: PathLike) -> tuple[list[str], list[Any]]:
    name, library = _parquet_library()
    content = read_regular_file(path)
    if name == "polars":
        try:
            frame = library.read_parquet(io.BytesIO(content))
        except library.exceptions.PolarsError as error:
            raise ValueError(f"{path} is not a Parquet file: {error}.") from error
        return list(frame.columns), [column.to_numpy() for column in frame]
    try:
        table = importlib.import_module("pyarrow.parquet").read_table(
            io.BytesIO(content)
        )
        # Here it finds strings that are not in UTF-8.
        columns = [column.to_numpy(zero_copy_only=False) for column in table.columns]
    except (library.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a Parquet file: {error}.") from error
    return list(table.column_names), columns


def _parquet_library() -> tuple[str, Any]:
    for name in ("pyarrow", "polars"):
        if importlib.util.find_spec(name) is not None:
            return name, importlib.import_module(name)
    raise ImportError(
        "Parquet files need pyarrow or polars: pip install 'sk-rqvae[parquet]'."
    )
