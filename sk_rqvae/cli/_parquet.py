"""Parquet files, in and out, a batch of rows at a time."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.cli._blocks import (
    ROWS_AT_ONCE,
    AppendIDs,
    Block,
    Columns,
    Source,
    number_columns,
)


def parquet_source(path: Path, columns: Columns) -> Source:
    """The rows of a Parquet file: columns of numbers, or of lists of them."""
    arrow, parquet = _libraries()
    try:
        with parquet.ParquetFile(path) as file:
            schema, n_rows = file.schema_arrow, file.metadata.num_rows
    except arrow.ArrowInvalid as error:
        raise ValueError(f"{path} is not a whole Parquet file: {error}.") from error
    chosen = number_columns(path, schema.names, columns)
    dtype = _dtype(path, [schema.field(name) for name in chosen])
    read = [*chosen, *filter(None, [columns.item])]

    def blocks() -> Iterator[Block]:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=read):
                items = None if columns.item is None else batch[columns.item]
                yield Block(
                    None if items is None else items.to_numpy(zero_copy_only=False),
                    _matrix(path, [batch[name] for name in chosen], dtype),
                )

    return Source(path, n_rows, blocks)


@contextmanager
def parquet_ids(file: BinaryIO, names: Sequence[str]) -> Iterator[AppendIDs]:
    """Write a Parquet file of IDs, a row group a block; the first has the types."""
    arrow, parquet = _libraries()
    with ExitStack() as opened:
        writer: Any = None

        def append(items: NDArray[Any], codes: IntArray) -> None:
            nonlocal writer
            table = arrow.table(dict(zip(names, [items, *codes.T], strict=True)))
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema)
                opened.enter_context(writer)
            writer.write_table(table)

        yield append


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module(
            "pyarrow.parquet"
        )
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: `pip install sk-rqvae[parquet]`."
        ) from error


def _dtype(path: Path, fields: list[Any]) -> DTypeLike:
    """float32 where that holds all numbers exactly, else float64."""
    arrow, _ = _libraries()
    kinds = [
        field.type.value_type if _is_list(field.type) else field.type
        for field in fields
    ]
    for field, kind in zip(fields, kinds, strict=True):
        if not (arrow.types.is_floating(kind) or arrow.types.is_integer(kind)):
            raise ValueError(
                f"{path}, column {field.name!r} must have numbers or lists of them. "
                f"Got {field.type}. Columns that have none are left out by "
                "--item-column or --columns."
            )
    narrow = (arrow.float16(), arrow.float32())
    return np.float32 if all(kind in narrow for kind in kinds) else np.float64


def _matrix(path: Path, columns: list[Any], dtype: DTypeLike) -> NDArray[Any]:
    parts = [_values(path, column).astype(dtype) for column in columns]
    return np.concatenate(parts, axis=1)


def _values(path: Path, column: Any) -> NDArray[Any]:
    if not _is_list(column.type):
        return column.to_numpy(zero_copy_only=False)[:, np.newaxis]
    compute = importlib.import_module("pyarrow.compute")
    lengths = compute.unique(compute.list_value_length(column)).to_pylist()
    if len(lengths) != 1 or lengths[0] is None:
        raise ValueError(
            f"{path} must have lists of one length in a column. Got the lengths "
            f"{lengths[:5]}."
        )
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _is_list(kind: Any) -> bool:
    arrow, _ = _libraries()
    types = arrow.types
    return any(
        is_of(kind)
        for is_of in (types.is_list, types.is_large_list, types.is_fixed_size_list)
    )
