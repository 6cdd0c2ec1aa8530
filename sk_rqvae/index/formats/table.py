"""IDs as a table: CSV or Parquet, one column a level."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae._persistence.atomic import atomic_write

PathLike = str | os.PathLike[str]

_ROWS_AT_ONCE = 65536
_ITEM_COLUMN = "item_id"


def write_table(
    path: PathLike, ids: IntArray, items: NDArray[Any], columns: Sequence[str]
) -> None:
    """Write a table with the items and one column a level, CSV or Parquet."""
    names = [_ITEM_COLUMN, *columns]
    if _is_parquet(path):
        values = [items.tolist() if items.dtype == object else items, *ids.T]
        with atomic_write(path) as file:
            _write_parquet(file, dict(zip(names, values, strict=True)))
        return
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows(
            (item, *codes)
            for item, codes in zip(items.tolist(), _rows(ids), strict=True)
        )
        text.detach()


def read_table(path: PathLike) -> tuple[IntArray | NDArray[Any], Sequence[Any]]:
    """Read IDs and items from a table with the items in its first column.

    Items of a CSV file come as strings.
    """
    if _is_parquet(path):
        columns = _read_parquet(Path(path))
        if len(columns) < 2:
            raise ValueError(
                f"{path} must have a column of items and one a level. Got "
                f"{len(columns)} columns."
            )
        return np.column_stack(columns[1:]), columns[0]
    with Path(path).open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        if len(header) < 2:
            raise ValueError(
                f"{path} must have a column of items and one a level. Got the header "
                f"{header}."
            )
        items: list[str] = []
        ids: list[list[int]] = []
        for row in reader:
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num} must have {len(header)} fields. "
                    f"Got {len(row)}."
                )
            items.append(row[0])
            ids.append(_codes_of(row[1:], path, reader.line_num))
    return np.array(ids, dtype=np.int64).reshape(-1, len(header) - 1), items


def as_integers(items: Sequence[str], path: PathLike) -> IntArray:
    """Items that were written as text, as the integers they were."""
    try:
        return np.array([int(item) for item in items], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{path} must hold integer items to be read with item_type=int: {error}."
        ) from error


def _rows(ids: IntArray) -> Iterator[list[int]]:
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        yield from ids[start : start + _ROWS_AT_ONCE].tolist()


def _codes_of(fields: list[str], path: PathLike, line: int) -> list[int]:
    try:
        return [int(field) for field in fields]
    except ValueError as error:
        raise ValueError(
            f"{path}, line {line} must have whole numbers after the item: {error}."
        ) from error


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


def _read_parquet(path: Path) -> list[Any]:
    name, library = _parquet_library()
    if name == "polars":
        return [column.to_numpy() for column in library.read_parquet(path)]
    table = importlib.import_module("pyarrow.parquet").read_table(path)
    return [column.to_numpy(zero_copy_only=False) for column in table.columns]


def _parquet_library() -> tuple[str, Any]:
    for name in ("pyarrow", "polars"):
        if importlib.util.find_spec(name) is not None:
            return name, importlib.import_module(name)
    raise ImportError("Parquet files need pyarrow or polars. Got neither installed.")
