"""Matrices in Parquet files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sk_rqvae.cli.matrix_files.columns import chosen_columns
from sk_rqvae.cli.matrix_files.source import (
    ROWS_AT_ONCE,
    Block,
    NoRowsError,
    Reading,
    Source,
)
from sk_rqvae.cli.matrix_files.unpacked_size import check_unpacked_size


def parquet_source(path: Path, reading: Reading) -> Source:
    """The rows of a Parquet file: columns of numbers, or of lists of them.

    Columns of numbers have names, and so do several columns of lists. A single column
    of lists is a matrix without names.
    """
    _, parquet = parquet_libraries()
    with errors_name_the_file(path), parquet.ParquetFile(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        index = _row_labels(path, schema)
    columns = chosen_columns(path, schema.names, reading, index)
    if metadata.num_rows == 0:
        # pandas writes texts and lists as nulls then, so their types say nothing. A
        # single column can have lists.
        names = columns.numbers if len(columns.numbers) > 1 else None
        raise NoRowsError(f"{path} must have at least one row. Got none.", names=names)
    if reading.key_column is None and not _has_keys(schema, columns.key):
        columns = columns._replace(key=None)
    fields = [schema.field(name) for name in columns.numbers]
    dtype = _dtype(path, fields)
    if columns.key is not None:
        _check_key_type(path, schema.field(columns.key))
    n_bytes = _n_values(metadata, columns.numbers) * np.dtype(dtype).itemsize
    check_unpacked_size(str(path), n_bytes, path, reading.unpack_limit)
    wanted = [*columns.numbers, *([] if columns.key is None else [columns.key])]

    def blocks() -> Iterator[Block]:
        n_before = 0
        with errors_name_the_file(path), parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted):
                parts = [
                    _values(path, name, batch[name], n_before).astype(dtype)
                    for name in columns.numbers
                ]
                keys = None if columns.key is None else batch[columns.key]
                yield Block(
                    None if keys is None else _keys(path, columns.key, keys, n_before),
                    np.concatenate(parts, axis=1),
                )
                n_before += batch.num_rows

    return Source(path, metadata.num_rows, blocks, names=_names(path, fields))


def parquet_libraries() -> tuple[Any, Any]:
    """Import pyarrow and its module for Parquet.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    """
    try:
        return importlib.import_module("pyarrow"), importlib.import_module(
            "pyarrow.parquet"
        )
    except ImportError as error:
        raise ImportError(
            "Parquet files need pyarrow: pip install 'sk-rqvae[parquet]'."
        ) from error


@contextmanager
def errors_name_the_file(path: Path) -> Iterator[None]:
    """Errors of a damaged file as a ValueError with its name."""
    arrow, _ = parquet_libraries()
    try:
        yield
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is not a valid Parquet file: {error}.") from error


def _row_labels(path: Path, schema: Any) -> list[str]:
    """The columns that pandas wrote as the index of a frame."""
    try:
        metadata = schema.pandas_metadata
    except ValueError as error:
        raise ValueError(f"{path} has metadata that is not JSON: {error}.") from error
    columns = metadata.get("index_columns") if isinstance(metadata, dict) else None
    if not isinstance(columns, list):
        return []
    return [name for name in columns if isinstance(name, str) and name in schema.names]


def _names(path: Path, fields: Sequence[Any]) -> tuple[str, ...] | None:
    """Names of the numbers; those of a list have its name and their positions."""
    are_lists = [_is_list(field.type) for field in fields]
    if are_lists == [True]:
        return None
    if not any(are_lists):
        return tuple(field.name for field in fields)
    _, parquet = parquet_libraries()
    with errors_name_the_file(path), parquet.ParquetFile(path) as file:
        columns = [field.name for field in fields]
        rows = next(file.iter_batches(1, columns=columns), None)
    if rows is None:
        return None
    return tuple(
        label
        for field, is_list in zip(fields, are_lists, strict=True)
        for label in (
            [
                f"{field.name}[{position}]"
                for position in range(len(rows[field.name][0].as_py() or ()))
            ]
            if is_list
            else [field.name]
        )
    )


def _n_values(metadata: Any, names: Sequence[str]) -> int:
    """Numbers in some columns; the elements of lists count each."""
    wanted, total = set(names), 0
    for group in (metadata.row_group(part) for part in range(metadata.num_row_groups)):
        for position in range(group.num_columns):
            column = group.column(position)
            name = metadata.schema.column(position).path
            if name in wanted or name.partition(".")[0] in wanted:
                total += column.num_values
    return total


def _dtype(path: Path, fields: Sequence[Any]) -> DTypeLike:
    """float32 where that holds all numbers exactly, else float64."""
    arrow, _ = parquet_libraries()
    kinds = [
        field.type.value_type if _is_list(field.type) else field.type
        for field in fields
    ]
    for field, kind in zip(fields, kinds, strict=True):
        if not (arrow.types.is_floating(kind) or arrow.types.is_integer(kind)):
            raise ValueError(
                f"{path}, column {field.name!r} must have numbers or lists of them. "
                f"Got {field.type}. If the column has keys, name it with "
                "--item-column; --columns names those with numbers."
            )
    narrow = (arrow.float16(), arrow.float32())
    return np.float32 if all(kind in narrow for kind in kinds) else np.float64


def _values(path: Path, name: str, column: Any, n_before: int) -> NDArray[Any]:
    """The numbers of one column as a matrix."""
    _refuse_null(path, name, column, n_before)
    if not _is_list(column.type):
        return column.to_numpy(zero_copy_only=False)[:, np.newaxis]
    compute = importlib.import_module("pyarrow.compute")
    lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        raise ValueError(
            f"{path}, row {n_before + other[0]}, column {name!r} must be as long as "
            f"the lists before it, {lengths[0]}. Got {lengths[other[0]]}."
        )
    flat = column.flatten()
    if flat.null_count:
        position = int(np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0])
        row, element = divmod(position, int(lengths[0]))
        raise ValueError(
            f"{path}, row {n_before + row}, column {name!r} must have numbers. Got "
            f"null at position {element}."
        )
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)


def _keys(path: Path, name: Any, column: Any, n_before: int) -> NDArray[Any]:
    arrow, _ = parquet_libraries()
    if arrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    _refuse_null(path, name, column, n_before)
    if arrow.types.is_integer(column.type):
        return column.to_numpy(zero_copy_only=False)
    return np.array(column.to_pylist(), dtype=object)


def _refuse_null(path: Path, name: str, column: Any, n_before: int) -> None:
    """Raise an error before a null becomes NaN, and integers beside it floats."""
    if column.null_count:
        nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        raise ValueError(
            f"{path}, row {n_before + nulls[0]}, column {name!r} must have a value. "
            "Got null."
        )


def _has_keys(schema: Any, name: str | None) -> bool:
    """Whether the labels of rows are keys, which dates and fractions are not."""
    return name is not None and _is_key_type(schema.field(name).type)


def _is_key_type(kind: Any) -> bool:
    arrow, _ = parquet_libraries()
    types = arrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    # Older releases of pyarrow have no views.
    is_view = getattr(types, "is_string_view", types.is_string)
    kinds = (types.is_string, types.is_large_string, is_view, types.is_integer)
    return any(is_of(kind) for is_of in kinds)


def _check_key_type(path: Path, field: Any) -> None:
    if not _is_key_type(field.type):
        raise ValueError(
            f"{path}, column {field.name!r} must have keys that are integers or text. "
            f"Got {field.type}."
        )


def _is_list(kind: Any) -> bool:
    arrow, _ = parquet_libraries()
    types = arrow.types
    return any(
        is_of(kind)
        for is_of in (types.is_list, types.is_large_list, types.is_fixed_size_list)
    )
