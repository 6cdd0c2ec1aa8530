"""Files of rows: reading them, and the errors of invalid ones."""

from __future__ import annotations

import io
import os
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from command_line import frame as named_frame
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae.cli.failures import UsageError
from sk_rqvae.cli.matrix_files import csv_file, npy_file, parquet_file, seen_keys
from sk_rqvae.cli.matrix_files.mapped import mapped
from sk_rqvae.cli.matrix_files.npy_file import GrowingNpy
from sk_rqvae.cli.matrix_files.opening import open_source
from sk_rqvae.cli.matrix_files.seen_keys import SeenKeys
from sk_rqvae.cli.matrix_files.source import Reading

ROWS = np.arange(60, dtype=np.float64).reshape(20, 3) / 7
KEYS = [f"B{row}" for row in range(20)]
ALL = Reading()


@pytest.fixture(params=[3, 8192], ids=["small blocks", "one block"], autouse=True)
def rows_at_once(request, monkeypatch):
    for reader in (csv_file, npy_file, parquet_file):
        monkeypatch.setattr(reader, "ROWS_AT_ONCE", request.param)
    return request.param


def read(path, reading=ALL):
    """All rows of a file, and the items' keys."""
    with open_source(path, reading) as source:
        blocks = list(source.read())
        assert source.n_rows in (None, sum(len(block.rows) for block in blocks))
        with mapped(source, keep_keys=True) as (matrix, keys):
            rows = np.concatenate([block.rows for block in blocks])
            np.testing.assert_array_equal(matrix, rows)
            assert matrix.dtype == rows.dtype
    return rows, None if keys is None else keys.tolist()


def names_of(path, reading=ALL):
    with open_source(path, reading) as source:
        return source.names


def frame(**others):
    return named_frame(ROWS, **others)


def write(path, text):
    path.write_text(text)
    return path


# NumPy arrays


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8]
)
def test_an_array_is_memory_mapped(tmp_path, dtype):
    rows = ROWS.astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    with open_source(tmp_path / "rows.npy", ALL) as source:
        assert isinstance(source.matrix, np.memmap)
        assert source.matrix.dtype == dtype
    np.testing.assert_array_equal(read(tmp_path / "rows.npy")[0], rows)


def test_an_array_of_another_byte_order_is_read_as_the_same_numbers(tmp_path):
    other = ROWS.dtype.newbyteorder(">" if sys.byteorder == "little" else "<")
    np.save(tmp_path / "rows.npy", ROWS.astype(other))
    rows, _ = read(tmp_path / "rows.npy")
    np.testing.assert_array_equal(rows, ROWS)
    assert rows.dtype.isnative


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_an_archive_is_chosen_by_name(tmp_path, save, order):
    path = tmp_path / "rows.npz"
    save(path, rows=np.asarray(ROWS, order=order), other=ROWS[:2])
    np.testing.assert_array_equal(read(path, Reading(array="rows"))[0], ROWS)
    with pytest.raises(ValueError, match="has the arrays rows, other: name one with"):
        read(path)
    with pytest.raises(ValueError, match="Got 'third'"):
        read(path, Reading(array="third"))


def test_the_only_array_of_an_archive_needs_no_name(tmp_path):
    np.savez(tmp_path / "rows.npz", rows=ROWS)
    np.testing.assert_array_equal(read(tmp_path / "rows.npz")[0], ROWS)


def test_an_archive_that_unpacks_to_a_multiple_of_its_size_needs_an_option(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, rows=np.zeros((110_000, 250), dtype=np.float32))
    with pytest.raises(ValueError, match=r"would take 105 MiB.*--unpack-limit 105\."):
        read(path)
    with open_source(path, Reading(unpack_limit=105)) as source:
        assert source.n_rows == 110_000


@pytest.mark.parametrize("kind", ["numbers", "lists", "lists of one length"])
def test_a_table_that_unpacks_to_much_more_than_its_size_needs_permission(
    tmp_path, kind
):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path, n_rows = tmp_path / "rows.parquet", 110_000
    values = arrow.array(np.zeros(250 * n_rows, dtype=np.float32))
    table = {
        "numbers": lambda: arrow.table(
            {f"f{column}": values[:n_rows] for column in range(250)}
        ),
        "lists": lambda: arrow.table(
            {
                "row": arrow.ListArray.from_arrays(
                    np.arange(0, 250 * n_rows + 1, 250, dtype=np.int32), values
                )
            }
        ),
        "lists of one length": lambda: arrow.table(
            {"row": arrow.FixedSizeListArray.from_arrays(values, 250)}
        ),
    }[kind]()
    parquet.write_table(table, path)
    with pytest.raises(ValueError, match=r"would take 105 MiB.*--unpack-limit 105\."):
        read(path)
    with open_source(path, Reading(unpack_limit=105)) as source:
        assert source.n_rows == n_rows
    if kind == "numbers":
        with open_source(path, Reading(columns=("f0", "f1"))) as source:
            assert source.n_rows == n_rows


NESTED = b"\x93NUMPY\x01\x00\xf0\x03" + b"[" * 1008
ABSURD = (
    b"\x93NUMPY\x01\x00\x76\x00"
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 12), }"
).ljust(127) + b"\n"


@pytest.mark.parametrize(
    "content",
    [b"", b"not an array", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x09\x00", NESTED],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_file_that_is_no_array_is_an_error_that_names_it(tmp_path, kind, content):
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"rows\.{kind} is not a valid \.{kind} file"):
        read(path)


@pytest.mark.parametrize("content", [NESTED, ABSURD, ABSURD[:60]])
def test_a_damaged_array_in_an_archive_is_an_error_that_names_both(tmp_path, content):
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.npy", content)
    with pytest.raises(ValueError, match=r"rows\.npz, array 'rows'"):
        read(path)


def test_a_damaged_archive_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, rows=ROWS)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.npz"):
        read(path)


def test_damage_anywhere_in_an_archive_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, rows=ROWS)
    whole, said = path.read_bytes(), []
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + b"\xff\xff\xff\x7f" + whole[position + 4 :])
        try:
            read(path)  # dates and other fields mean nothing
        except ValueError as error:
            said.append(str(error))
    assert said
    assert all("rows.npz" in message for message in said)


def test_a_truncated_array_is_an_error_that_says_so(tmp_path):
    path = tmp_path / "rows.npy"
    path.write_bytes(ABSURD)
    with pytest.raises(ValueError, match=r"rows\.npy is truncated: its header says 95"):
        read(path)
    np.save(path, ROWS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"says 480 bytes of numbers\. Got 479"):
        read(path)


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"rows\.npy holds pickled Python objects"):
        read(tmp_path / "rows.npy")
    np.savez(tmp_path / "rows.npz", rows=np.array([[{}]]))
    with pytest.raises(ValueError, match=r"array 'rows' holds pickled Python objects"):
        read(tmp_path / "rows.npz")


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3),
        np.ones((2, 2, 2)),
        np.array([["a"]]),
        np.ones((2, 2), dtype=complex),
        np.ones((2, 2), dtype=bool),
        np.ones((2, 2), dtype="m8[s]"),
        np.ones((2, 2), dtype=[("x", "f8")]),
    ],
)
def test_an_array_must_be_a_matrix_of_numbers(tmp_path, array):
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(ValueError, match="must hold a matrix of numbers"):
        read(tmp_path / "rows.npy")


@pytest.mark.parametrize(
    ("shape", "lacks"), [((0, 3), "row"), ((3, 0), "column"), ((0, 0), "column")]
)
def test_an_array_must_have_rows_and_columns(tmp_path, shape, lacks):
    np.save(tmp_path / "rows.npy", np.ones(shape))
    with pytest.raises(ValueError, match=f"must have at least one {lacks}. Got shape"):
        read(tmp_path / "rows.npy")


def test_the_types_of_a_table_without_rows_do_not_matter(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    nulls = arrow.nulls(0)  # what pandas writes for no texts or lists
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"sku": nulls, "row": nulls}), path)
    with pytest.raises(ValueError, match="must have at least one row"):
        read(path, Reading(key_column="sku"))
    with pytest.raises(ValueError, match="has no column 'asin'"):
        read(path, Reading(key_column="asin"))


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


# The header of a CSV file


def test_numbers_alone_are_rows_without_names(tmp_path):
    path = tmp_path / "rows.csv"
    frame().to_csv(path, header=False, index=False)
    np.testing.assert_array_equal(read(path)[0], ROWS)
    assert names_of(path) is None


def test_the_numbers_that_pandas_writes_over_a_matrix_are_names(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame(ROWS).to_csv(path, index=False)
    np.testing.assert_array_equal(read(path)[0], ROWS)
    assert names_of(path) == ("0", "1", "2")


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_unnamed_first_column_has_the_keys(tmp_path, name):
    path = tmp_path / "rows.csv"
    pd.DataFrame(ROWS).to_csv(path, index_label=name)
    rows, keys = read(path)
    np.testing.assert_array_equal(rows, ROWS)
    assert keys == [str(row) for row in range(20)]
    frame(key=KEYS).to_csv(path)
    rows, keys = read(path, Reading(key_column="key"))
    np.testing.assert_array_equal(rows, ROWS)
    assert keys == KEYS


def test_text_that_only_python_reads_as_a_number_is_a_name(tmp_path):
    path = write(tmp_path / "rows.csv", "2_019,2_020\n1,2\n")
    assert names_of(path) == ("2_019", "2_020")
    with pytest.raises(
        ValueError, match=r"line 2, column 'a' must be a number. Got '1_"
    ):
        read(write(path, "a,b\n1_0,2\n"))


@pytest.mark.parametrize(
    "text", ["0,1\n1,0\n", "2019,2020\n0.5,0.3\n", "1,2\n0.5,0.3\n", "0,1\n"]
)
def test_an_ambiguous_first_line_needs_an_option(tmp_path, text):
    path = write(tmp_path / "rows.csv", text)
    with pytest.raises(ValueError, match=r"line 1 can be names or numbers. Pass --hea"):
        read(path)
    n_lines = text.count("\n")
    assert len(read(path, Reading(has_header=False))[0]) == n_lines
    if n_lines > 1:
        assert len(read(path, Reading(has_header=True))[0]) == n_lines - 1


@pytest.mark.parametrize("text", ["3,1\n1,0\n", "5,5\n0.5,0.3\n", "-1,0\n0.5,0.3\n"])
def test_a_first_line_that_no_program_writes_as_names_is_a_row(tmp_path, text):
    assert len(read(write(tmp_path / "rows.csv", text))[0]) == 2


def test_a_key_in_the_first_of_rows_without_names_is_no_name(tmp_path):
    path = write(tmp_path / "rows.csv", "B1,0.5,0.25\nB2,0.1,0.2\n")
    with pytest.raises(ValueError, match=r"line 1, column '0' must be a number"):
        read(path)
    rows, keys = read(path, Reading(key_column="0"))
    np.testing.assert_array_equal(rows, [[0.5, 0.25], [0.1, 0.2]])
    assert keys == ["B1", "B2"]


@given(
    st.lists(
        st.lists(
            st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_row_is_ever_lost_or_invented(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    table = pd.DataFrame(rows, columns=["x", "y"], dtype=float)
    for header in (True, False):
        table.to_csv(path, index=False, header=header)
        np.testing.assert_array_equal(read(path)[0], rows)


# CSV


def test_a_csv_file_with_names_is_read_by_them(tmp_path):
    path = tmp_path / "rows.csv"
    frame(key=KEYS, note="a, b\nc").to_csv(path, index=False)
    rows, keys = read(path, Reading("key", ("c", "a")))
    np.testing.assert_array_equal(rows, ROWS[:, [2, 0]])
    assert keys == KEYS
    with pytest.raises(ValueError, match=r"column 'key' must be a number.*--columns"):
        read(path)


def test_keys_are_text_even_if_they_look_like_numbers(tmp_path):
    path = tmp_path / "rows.csv"
    frame(key=[f"{row:04d}" for row in range(20)]).to_csv(path, index=False)
    rows, keys = read(path, Reading("key"))
    np.testing.assert_array_equal(rows, ROWS)
    assert keys[:2] == ["0000", "0001"]


def test_the_byte_order_mark_of_spreadsheets_is_not_part_of_a_name(tmp_path):
    path = tmp_path / "rows.csv"
    frame().to_csv(path, index=False, encoding="utf-8-sig")
    assert names_of(path) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have at least one row. Got an empty file"),
        ("\n\n", "must have at least one row. Got an empty file"),
        ("\n1.5,2\nx,1\n", "line 3, column '0' must be a number"),
        ("a,b\n", "must have at least one row. Got none"),
        ("1.5,2\n3\n", "line 2 must have 2 fields. Got 1"),
        ("1.5,2\n\n3,x\n", "line 3, column '1' must be a number. Got 'x'"),
        ("a,b\n1,\n", "line 2, column 'b' must be a number. Got an empty field"),
        ("a\n1\n\n3\n", "line 3, column 'a' must be a number. Got an empty field"),
        ("a,b\n1,2\n3,inf\n", "line 3, column 'b' must be a finite number. Got inf"),
        ('1.5,2\n3,"4', "line 2: unexpected end of data"),
        ('a,b\n1,"2"3\n', "line 2: ',' expected after '\"'"),
        ("a,b\n1," + 200_000 * "1", "line 2: field larger than field limit"),
        ("a;b\n1,5;2,5\n", "line 1 must have commas between its fields.*semicolons"),
        ("a\tb\n1\t2\n", "line 1 must have commas between its fields.*tabs"),
        (
            "a,b,a\n1,2,3\n",
            "must have different names for its columns. Got 'a' 2 times",
        ),
        ("a,,c\n1,2,3\n", "line 1 must have a name for every column but the first"),
        ("a,b\n1,\x1b[31m\n", "line 2, column 'b' must be a number"),
    ],
)
def test_a_csv_file_that_cannot_be_read_is_an_error_with_the_line(
    tmp_path, text, message
):
    with pytest.raises(ValueError, match=f"rows.csv,? {message}"):
        read(write(tmp_path / "rows.csv", text))


def test_blank_lines_at_the_end_of_a_csv_file_of_one_column_are_skipped(tmp_path):
    rows, _ = read(write(tmp_path / "rows.csv", "a\n1\n2\n\n\n"))
    np.testing.assert_array_equal(rows, [[1], [2]])


def test_a_csv_file_must_be_utf_8(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("a,b\n1,2\nä,3\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"rows\.csv, after line \d must be UTF-8"):
        read(path)
    path.write_bytes("a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"rows\.csv, after line \d must be UTF-8"):
        read(path)


# Parquet


@pytest.fixture
def arrow():
    return pytest.importorskip("pyarrow")


@pytest.fixture
def parquet(arrow):
    return pytest.importorskip("pyarrow.parquet")


@pytest.mark.usefixtures("arrow")
def test_a_parquet_file_is_read_by_names(tmp_path):
    path = tmp_path / "rows.parquet"
    frame(key=KEYS).to_parquet(path, row_group_size=7)
    rows, keys = read(path, Reading("key"))
    np.testing.assert_array_equal(rows, ROWS)
    assert rows.dtype == np.float64
    assert keys == KEYS
    only_b, _ = read(path, Reading(columns=("b",)))
    np.testing.assert_array_equal(only_b, ROWS[:, [1]])


@pytest.mark.usefixtures("arrow")
def test_the_index_that_pandas_wrote_has_the_keys(tmp_path):
    path = tmp_path / "rows.parquet"
    frame(key=KEYS).set_index("key").to_parquet(path)
    rows, keys = read(path)
    np.testing.assert_array_equal(rows, ROWS)
    assert keys == KEYS
    frame().sample(frac=1, random_state=0).to_parquet(path)
    assert names_of(path) == ("a", "b", "c")
    frame(x=KEYS, y=KEYS).set_index(["x", "y"]).to_parquet(path)
    with pytest.raises(ValueError, match="several columns of labels, 'x', 'y'"):
        read(path)
    assert read(path, Reading("y"))[1] == KEYS


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize(
    "values", [pd.date_range("2026-01-01", periods=20), ROWS[:, 0]]
)
def test_an_index_that_cannot_have_keys_is_left_out(tmp_path, values):
    path = tmp_path / "rows.parquet"
    frame(when=values, sku=KEYS).set_index("when").to_parquet(path)
    rows, keys = read(path, Reading(columns=("a", "b", "c")))
    np.testing.assert_array_equal(rows, ROWS)
    assert keys is None
    assert read(path, Reading("sku"))[1] == KEYS
    frame(when=values).set_index("when").to_parquet(path)
    np.testing.assert_array_equal(read(path)[0], ROWS)


@pytest.mark.parametrize("kind", ["list_", "large_list", "fixed"])
@pytest.mark.parametrize(
    ("numbers", "dtype"), [("float16", "f4"), ("float32", "f4"), ("int32", "f8")]
)
def test_a_column_of_lists_is_a_matrix(tmp_path, arrow, parquet, kind, numbers, dtype):
    value = getattr(arrow, numbers)()
    of = arrow.list_(value, 3) if kind == "fixed" else getattr(arrow, kind)(value)
    rows = (7 * ROWS).astype(numbers)
    table = arrow.table({"key": KEYS, "vector": arrow.array(list(rows), of)})
    parquet.write_table(table, tmp_path / "rows.parquet")
    read_rows, keys = read(tmp_path / "rows.parquet", Reading("key"))
    np.testing.assert_array_equal(read_rows, rows)
    assert read_rows.dtype == dtype
    assert keys == KEYS
    assert names_of(tmp_path / "rows.parquet", Reading("key")) is None


@pytest.mark.usefixtures("arrow")
def test_several_columns_of_lists_have_names(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pd.DataFrame({"text": ROWS[:, :2].tolist(), "image": ROWS[:, 2:].tolist()})
    table.assign(price=1.0).to_parquet(path)
    assert names_of(path) == ("text[0]", "text[1]", "image[0]", "price")


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("last", [[1.0], None, [1.0, None]])
def test_lists_must_be_of_one_length_and_without_nulls(tmp_path, last):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"vector": [[1.0, 2.0], last]}).to_parquet(path)
    with pytest.raises(ValueError, match=r"rows\.parquet, row 1, column 'vector' must"):
        read(path)


def test_a_null_among_numbers_is_an_error_that_names_row_and_column(
    tmp_path, arrow, parquet
):
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"a": [1.0] * 9, "b": [1] * 8 + [None]}), path)
    with pytest.raises(ValueError, match=r"rows\.parquet, row 8, column 'b' must have"):
        read(path)


def test_integer_keys_stay_exact(tmp_path, arrow, parquet):
    path = tmp_path / "rows.parquet"
    keys = [9007199254740993, 9007199254740992, 2**63 - 1]
    table = {"key": keys, "a": [1.0, 2.0, 3.0]}
    parquet.write_table(arrow.table(table), path)
    assert read(path, Reading("key"))[1] == keys
    parquet.write_table(arrow.table(table | {"key": [*keys[:2], None]}), path)
    with pytest.raises(ValueError, match=r"row 2, column 'key' must have a value"):
        read(path, Reading("key"))


def test_keys_that_a_table_stores_as_a_dictionary_are_text(tmp_path, arrow, parquet):
    path = tmp_path / "rows.parquet"
    keys = arrow.array(["x", "y"]).dictionary_encode()
    parquet.write_table(arrow.table({"key": keys, "a": [1.0, 2.0]}), path)
    assert read(path, Reading("key"))[1] == ["x", "y"]


@pytest.mark.usefixtures("arrow")
def test_keys_must_be_integers_or_text(tmp_path):
    path = tmp_path / "rows.parquet"
    frame(key=1.5).to_parquet(path)
    with pytest.raises(ValueError, match=r"'key' must have keys that are integers or"):
        read(path, Reading("key"))


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("values", ["x", True, [[1.0]], {"a": 1.0}])
def test_a_column_without_numbers_is_an_error_that_says_how_to_leave_it_out(
    tmp_path, values
):
    path = tmp_path / "rows.parquet"
    frame(other=[[values] if isinstance(values, list) else values] * 20).to_parquet(
        path
    )
    with pytest.raises(ValueError, match=r"'other' must have numbers .* --item-column"):
        read(path)


@pytest.mark.usefixtures("arrow")
def test_a_file_that_is_no_parquet_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"rows\.parquet is not a valid Parquet file"):
        read(path)


def test_damage_anywhere_in_a_parquet_file_is_an_error_that_names_it(
    tmp_path, arrow, parquet
):
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"a": np.arange(50.0)}), path, use_dictionary=False)
    whole, said = path.read_bytes(), []
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"rows\.parquet"):
            read(path)
    for position in range(4, len(whole) - 8, 23):
        damaged = bytearray(whole)
        damaged[position : position + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(damaged)
        try:
            read(path)  # numbers may have changed without a checksum
        except ValueError as error:
            said.append(str(error))
    assert said
    assert all("rows.parquet" in message for message in said)


def test_two_columns_of_one_name_are_an_error(tmp_path, arrow, parquet):
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table([[1.0], [2.0]], names=["a", "a"]), path)
    with pytest.raises(ValueError, match="Got 'a' 2 times"):
        read(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path / "rows.parquet", "")
    with pytest.raises(ImportError, match=r"pip install 'sk-rqvae\[parquet\]'"):
        read(path)


# Keys


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_repeated_key_is_an_error_that_names_both_rows(tmp_path, kind):
    pytest.importorskip("pyarrow")
    path = tmp_path / f"rows.{kind}"
    keys = [*KEYS[:-1], "B4"]
    getattr(frame(key=keys), f"to_{kind}")(path, index=False)
    rows = ("line 21", "line 6") if kind == "csv" else ("row 19", "row 4")
    message = f"{rows[0]} repeats the key 'B4' of {rows[1]}"
    with pytest.raises(ValueError, match=message):
        read(path, Reading("key"))


def test_an_empty_key_is_an_error_that_names_the_line(tmp_path):
    path = write(tmp_path / "rows.csv", "key,a\nx,1\n,2\n")
    with pytest.raises(ValueError, match=r"rows\.csv, line 3 must have a key"):
        read(path, Reading("key"))


@given(st.lists(st.lists(st.integers(-3, 30), max_size=8), max_size=8), st.booleans())
def test_repeated_keys_are_found(blocks, as_text):
    seen, before = SeenKeys(), set()
    for block in blocks:
        keys = np.array(block, dtype=np.int64)
        if as_text:
            keys = np.array([str(key) for key in block], dtype=object)
        expected = []
        for position, key in enumerate(block):
            if key in before:
                expected.append(position)
            before.add(key)
        assert seen.add(keys).tolist() == expected


def test_different_keys_of_one_hash_are_not_taken_for_repeated_ones(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(seen_keys, "_hashes", lambda keys: np.zeros(len(keys), int))
    path = tmp_path / "rows.csv"
    frame(key=KEYS).to_csv(path, index=False)
    assert read(path, Reading("key"))[1] == KEYS


# Any file


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(
    tmp_path, kind
):
    pytest.importorskip("pyarrow")
    path = tmp_path / f"rows.{kind}"
    getattr(frame(), f"to_{kind}")(path, index=False)
    for reading in (Reading("asin"), Reading(columns=("a", "asin"))):
        with pytest.raises(ValueError, match=r"no column 'asin'\. Got 'a', 'b', 'c'"):
            read(path, reading)


@pytest.mark.parametrize("reading", [Reading(columns=("a", "a")), Reading("a", ("a",))])
def test_a_column_can_be_selected_only_once(tmp_path, reading):
    path = tmp_path / "rows.csv"
    frame().to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"must name a column once\. Got 'a' 2 times"):
        read(path, reading)


@pytest.mark.parametrize(
    ("kind", "reading"),
    [
        ("npy", Reading("key")),
        ("npy", Reading(columns=("a",))),
        ("npy", Reading(array="rows")),
        ("parquet", Reading(has_header=True)),
        ("csv", Reading(unpack_limit=1)),
    ],
)
def test_options_for_other_formats_are_errors(tmp_path, kind, reading):
    with pytest.raises(ValueError, match=rf"is not for \.{kind} files"):
        read(tmp_path / f"rows.{kind}", reading)


@pytest.mark.parametrize("name", ["rows.txt", "rows", "rows.csv.gz"])
def test_a_file_of_another_format_is_an_error_that_names_the_known(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.npy, \.npz, \.csv, \.parquet"):
        read(tmp_path / name)


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "parquet"])
def test_a_missing_file_is_an_error_that_names_it(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match=f"nothing.{kind}"):
        read(tmp_path / f"nothing.{kind}")


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "parquet"])
def test_pipes_devices_and_folders_are_refused_as_input(tmp_path, kind):
    os.mkfifo(tmp_path / f"pipe.{kind}")
    (tmp_path / f"device.{kind}").symlink_to("/dev/zero")
    (tmp_path / f"folder.{kind}").mkdir()
    for name, got in [("pipe", "a pipe"), ("device", "a .* device"), ("folder", "a f")]:
        with pytest.raises(
            ValueError, match=rf"{name}\.{kind} must be a file. Got {got}"
        ):
            read(tmp_path / f"{name}.{kind}")


@pytest.mark.parametrize("text", [",3,4\n5,6,7\n", "a,1,2\nb,3,4\n", "x,7\n1,2\n"])
def test_numbers_beside_a_text_are_names_only_if_they_count(tmp_path, text):
    path = write(tmp_path / "rows.csv", text)
    with pytest.raises(ValueError, match=r"line 1 can be names or numbers. Pass --hea"):
        read(path)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_of_unpacking_is_positive(tmp_path, limit):
    np.savez(tmp_path / "rows.npz", rows=ROWS)
    with pytest.raises(UsageError, match="--unpack-limit must be a positive number"):
        read(tmp_path / "rows.npz", Reading(unpack_limit=limit))


@pytest.mark.parametrize("first", [",1,2", "age,2019,2020"])
def test_numbers_beside_a_text_are_names_over_rows_of_another_kind(tmp_path, first):
    path = write(tmp_path / "rows.csv", f"{first}\n0,0.5,0.25\n1,0.125,2\n")
    assert len(read(path)[0]) == 2
