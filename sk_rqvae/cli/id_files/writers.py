"""Write IDs to a stream, a block of rows at a time, one function a format."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from sk_rqvae._checks.codes import IntArray
from sk_rqvae.cli.id_files.rows import AppendIDs, Layout
from sk_rqvae.cli.matrix_files.npy_file import GrowingNpy
from sk_rqvae.cli.matrix_files.parquet_file import parquet_libraries

_BETWEEN = ",\n"  # two items of JSON
_MIB = 2**20
Writer = Callable[[BinaryIO, Layout], AbstractContextManager[AppendIDs]]


@contextmanager
def write_npy(file: BinaryIO, layout: Layout) -> Iterator[AppendIDs]:
    """The codes alone, as a matrix."""
    array = GrowingNpy(file, layout.n_columns, np.int64)
    yield lambda keys, ids: array.append(ids)
    array.close()


@contextmanager
def write_npz(file: BinaryIO, layout: Layout) -> Iterator[AppendIDs]:
    """The codes alone, as the array ``codes``."""
    with TemporaryFile() as unpacked:
        with write_npy(unpacked, layout) as append:
            yield append
        unpacked.seek(0)
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("codes.npy", "w", force_zip64=True) as packed,
        ):
            shutil.copyfileobj(unpacked, packed, _MIB)


@contextmanager
def write_csv(file: BinaryIO, layout: Layout) -> Iterator[AppendIDs]:
    """A table with a header."""
    with _as_text(file) as text, csv_lines(text, layout) as append:
        yield append


@contextmanager
def write_json(file: BinaryIO, layout: Layout) -> Iterator[AppendIDs]:
    """One object with one item per line: its key and its codes or tokens."""
    with _as_text(file) as text, json_lines(text, layout) as append:
        yield append


@contextmanager
def write_parquet(file: BinaryIO, layout: Layout) -> Iterator[AppendIDs]:
    """A table, a row group a block."""
    arrow, parquet = parquet_libraries()
    names = layout.columns()
    with ExitStack() as opened:
        writer: Any = None

        def append(keys: NDArray[Any], ids: IntArray) -> None:
            nonlocal writer
            if layout.as_tokens:
                texts = [text for (text,) in layout.fields(ids)]
                columns = [arrow.array(texts, arrow.string())]
            else:
                columns = list(ids.T)
            # No texts would get the type of nulls.
            kind = arrow.string() if keys.dtype == object else None
            columns.insert(0, arrow.array(keys, kind))
            table = arrow.table(dict(zip(names, columns, strict=True)))
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema)
                opened.enter_context(writer)
            writer.write_table(table)

        yield append
        if writer is None:
            append(np.empty(0, dtype=object), np.empty((0, layout.n_columns), np.int64))


@contextmanager
def csv_lines(text: TextIO, layout: Layout) -> Iterator[AppendIDs]:
    """CSV to a text stream. Nothing is written before the first rows or the end."""
    writer = csv.writer(_LineFeeds(text), lineterminator="\r\n")
    header = [layout.columns()]

    def append(keys: NDArray[Any], ids: IntArray) -> None:
        values = keys.tolist()
        if "" in values:
            raise ValueError(
                "items must not be empty to be written as CSV, where an empty field is "
                "a missing item. Write JSON, or Parquet to a file."
            )
        while header:
            writer.writerow(header.pop())
        rows = zip(values, layout.fields(ids), strict=True)
        writer.writerows((key, *fields) for key, fields in rows)

    yield append
    writer.writerows(header)


class _LineFeeds:
    """Ends lines with LF that `csv` ends with CRLF.

    Up to Python 3.12, `csv` quotes a field with a CR only if CR is part of its line
    ends.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text

    def write(self, line: str) -> None:
        self._text.write(line.removesuffix("\r\n") + "\n")


@contextmanager
def json_lines(text: TextIO, layout: Layout) -> Iterator[AppendIDs]:
    """JSON to a text stream. Nothing is written before the first rows or the end."""
    lead = "{\n"

    def append(keys: NDArray[Any], ids: IntArray) -> None:
        nonlocal lead
        for key, elements in zip(keys.tolist(), layout.elements(ids), strict=True):
            text.write(f"{lead}{json.dumps(str(key))}: {json.dumps(elements)}")
            lead = _BETWEEN

    yield append
    text.write("\n}\n" if lead == _BETWEEN else "{\n}\n")


@contextmanager
def _as_text(file: BinaryIO) -> Iterator[TextIO]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    yield text
    text.detach()


TO_FILES: dict[str, Writer] = {
    ".csv": write_csv,
    ".json": write_json,
    ".npy": write_npy,
    ".npz": write_npz,
    ".parquet": write_parquet,
}
TO_TEXT: dict[str, Callable[[TextIO, Layout], AbstractContextManager[AppendIDs]]] = {
    ".csv": csv_lines,
    ".json": json_lines,
}
