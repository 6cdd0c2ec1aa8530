"""The files that the command line reads and writes."""

from __future__ import annotations

import csv
import io
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae.cli._arrays import GrowingNpy
from sk_rqvae.cli._blocks import Columns
from sk_rqvae.cli._ids import open_ids
from sk_rqvae.cli._sources import mapped, open_source

ROWS = np.arange(60, dtype=np.float64).reshape(20, 3) / 7
KEYS = [f"B{row}" for row in range(20)]


@pytest.fixture(params=[3, 8192], ids=["small blocks", "one block"], autouse=True)
def rows_at_once(request, monkeypatch):
    for reader in ("_arrays", "_csv", "_parquet"):
        monkeypatch.setattr(f"sk_rqvae.cli.{reader}.ROWS_AT_ONCE", request.param)
    return request.param


ALL = Columns()


def read(path, columns=ALL, array=None):
    """All rows of a file, and the items' keys."""
    with open_source(path, columns, array) as source:
        blocks = list(source.blocks())
        assert source.n_rows in (None, sum(len(block.rows) for block in blocks))
        with mapped(source) as matrix:
            rows = np.concatenate([block.rows for block in blocks])
            np.testing.assert_array_equal(matrix, rows)
            assert matrix.dtype == rows.dtype
    if blocks[0].items is None:
        return rows, None
    return rows, np.concatenate([block.items for block in blocks]).tolist()


def frame(**columns):
    return pd.DataFrame({"a": ROWS[:, 0], "b": ROWS[:, 1], "c": ROWS[:, 2]} | columns)


# Arrays


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8]
)
def test_an_array_is_mapped_as_it_is(tmp_path, dtype):
    rows = ROWS.astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    with open_source(tmp_path / "rows.npy", Columns(), None) as source:
        assert isinstance(source.matrix, np.memmap)
        assert source.matrix.dtype == dtype
    np.testing.assert_array_equal(read(tmp_path / "rows.npy")[0], rows)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_an_archive_is_chosen_by_name(tmp_path, save, order):
    path = tmp_path / "rows.npz"
    save(path, rows=np.asarray(ROWS, order=order), other=ROWS[:2])
    np.testing.assert_array_equal(read(path, array="rows")[0], ROWS)
    with pytest.raises(
        ValueError, match="has the arrays rows, other: pass one as --ar"
    ):
        read(path)
    with pytest.raises(ValueError, match="Got third"):
        read(path, array="third")


def test_the_only_array_of_an_archive_needs_no_name(tmp_path):
    np.savez(tmp_path / "rows.npz", rows=ROWS)
    np.testing.assert_array_equal(read(tmp_path / "rows.npz")[0], ROWS)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_file_that_is_no_array_is_an_error_that_names_it(tmp_path, kind, content):
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"rows.{kind} is not a whole .{kind} file"):
        read(path)


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"rows\.npy is not a whole \.npy file"):
        read(tmp_path / "rows.npy")


@pytest.mark.parametrize("array", [np.ones(3), np.ones((2, 2, 2)), np.array([["a"]])])
def test_an_array_must_be_a_matrix_of_numbers(tmp_path, array):
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(ValueError, match="must hold a matrix of numbers"):
        read(tmp_path / "rows.npy")


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 5), max_size=6), width=st.integers(0, 4))
def test_a_growing_file_is_the_array_of_all_blocks(lengths, width):
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(length, width)) for length in lengths]
    file = io.BytesIO()
    array = GrowingNpy(file, width, np.float64)
    for block in blocks:
        array.append(block)
    array.close()
    file.seek(0)
    np.testing.assert_array_equal(
        np.load(file), np.concatenate([np.empty((0, width)), *blocks])
    )


# CSV


def test_a_csv_file_without_names_is_all_numbers(tmp_path):
    frame().to_csv(tmp_path / "rows.csv", header=False, index=False)
    np.testing.assert_array_equal(read(tmp_path / "rows.csv")[0], ROWS)


def test_a_csv_file_with_names_is_read_by_them(tmp_path):
    path = tmp_path / "rows.csv"
    frame(key=KEYS, note="a, b\nc").to_csv(path, index=False)
    rows, keys = read(path, Columns("key", ("c", "a")))
    np.testing.assert_array_equal(rows, ROWS[:, [2, 0]])
    assert keys == KEYS
    with pytest.raises(ValueError, match=r"line 3 must have numbers: .*--columns"):
        read(path)


def test_keys_are_no_numbers_even_if_they_look_like_them(tmp_path):
    path = tmp_path / "rows.csv"
    frame(key=[f"{row:04d}" for row in range(20)]).to_csv(path, index=False)
    rows, keys = read(path, Columns("key"))
    np.testing.assert_array_equal(rows, ROWS)
    assert keys[:2] == ["0000", "0001"]


def test_the_mark_of_spreadsheets_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "rows.csv"
    frame().to_csv(path, index=False, encoding="utf-8-sig")
    np.testing.assert_array_equal(read(path, Columns(None, ("a",)))[0], ROWS[:, :1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with a row"),
        ("a,b\n", "must have at least one row. Got none"),
        ("1,2\n3\n", "line 2 must have 2 fields. Got 1"),
        ("1,2\n\n3,x\n", "line 3 must have numbers"),
        ('1,2\n3,"4', "line 2: unexpected end of data"),
    ],
)
def test_a_csv_file_that_cannot_be_read_is_an_error_with_the_line(
    tmp_path, text, message
):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"rows.csv,? {message}"):
        read(path)


# Parquet


def test_a_parquet_file_is_read_by_names(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    frame(key=KEYS).to_parquet(path, row_group_size=7)
    rows, keys = read(path, Columns("key"))
    np.testing.assert_array_equal(rows, ROWS)
    assert rows.dtype == np.float64
    assert keys == KEYS
    np.testing.assert_array_equal(read(path, Columns(None, ("b",)))[0], ROWS[:, [1]])


@pytest.mark.parametrize("kind", ["list_", "large_list", "fixed"])
@pytest.mark.parametrize(
    ("numbers", "dtype"), [("float16", "f4"), ("float32", "f4"), ("int32", "f8")]
)
def test_a_column_of_lists_is_a_matrix(tmp_path, kind, numbers, dtype):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    value = getattr(arrow, numbers)()
    of = arrow.list_(value, 3) if kind == "fixed" else getattr(arrow, kind)(value)
    rows = (7 * ROWS).astype(numbers)
    table = arrow.table({"key": KEYS, "vector": arrow.array(list(rows), of)})
    parquet.write_table(table, tmp_path / "rows.parquet")
    read_rows, keys = read(tmp_path / "rows.parquet", Columns("key"))
    np.testing.assert_array_equal(read_rows, rows)
    assert read_rows.dtype == dtype
    assert keys == KEYS


def test_lists_of_different_lengths_are_an_error(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    for last in ([1.0], None):
        pd.DataFrame({"vector": [[1.0, 2.0], last] * 5}).to_parquet(path)
        with pytest.raises(ValueError, match="lists of one length"):
            read(path)


def test_a_column_of_text_is_an_error_that_says_how_to_leave_it_out(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    frame(title="x").to_parquet(path)
    with pytest.raises(ValueError, match=r"'title' must have numbers .* --item-column"):
        read(path)


def test_a_file_that_is_no_parquet_is_an_error_that_names_it(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"rows\.parquet is not a whole Parquet file"):
        read(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"need pyarrow: `pip install sk-rqvae\[par"):
        read(tmp_path / "rows.parquet")


# Any file


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(
    tmp_path, kind
):
    pytest.importorskip("pyarrow")
    path = tmp_path / f"rows.{kind}"
    getattr(frame(), f"to_{kind}")(path, index=False)
    for columns in (Columns("asin"), Columns(None, ("a", "asin"))):
        with pytest.raises(ValueError, match=r"no column 'asin'\. Got a, b, c"):
            read(path, columns)


def test_options_for_other_formats_are_errors(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    for arguments in ({"columns": Columns("key")}, {"array": "rows"}):
        with pytest.raises(ValueError, match="with names to choose from"):
            read(tmp_path / "rows.npy", **arguments)


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.csv.gz"])
def test_a_file_of_another_format_is_an_error_that_names_the_known(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.npy, \.npz, \.csv, \.parquet"):
        read(tmp_path / name)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    pytest.importorskip("pyarrow")
    for kind in ("npy", "npz", "csv", "parquet"):
        with pytest.raises(FileNotFoundError, match=f"nothing.{kind}"):
            read(tmp_path / f"nothing.{kind}")


# IDs


@pytest.mark.parametrize("kind", [".npy", ".npz", ".csv", ".parquet"])
def test_ids_that_fail_half_way_leave_no_file(tmp_path, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")

    def fail_half_way():
        with open_ids(tmp_path / f"ids{kind}", 2) as append:
            append(np.arange(3), np.arange(6).reshape(3, 2))
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_keys_with_commas_and_quotes_come_back_from_csv(tmp_path):
    keys = ["a,b", 'say "x"', "two\nlines", ""]
    with open_ids(tmp_path / "ids.csv", 1) as append:
        append(np.array(keys, dtype=object), np.arange(4)[:, np.newaxis])
    with (tmp_path / "ids.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["item_id", *keys]
