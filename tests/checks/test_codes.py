from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sk_rqvae._checks.codes import check_codes, layer_sizes, n_distinct, row_keys

CODE_MATRICES = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.one_of(st.integers(0, 3), st.integers(0, 2**63 - 1)),
)


def test_one_size_applies_to_all_levels():
    assert layer_sizes(4, 3) == (4, 4, 4)


def test_each_level_can_have_its_own_size():
    assert layer_sizes([4, 2], 2) == (4, 2)
    assert layer_sizes(np.array([4, 2]), 2) == (4, 2)


def test_a_list_of_one_size_is_of_one_level():
    assert layer_sizes([4], 1) == (4,)
    with pytest.raises(ValueError, match=r"one entry per level \(3\)\. Got 1 entries"):
        layer_sizes([4], 3)


def test_codes_are_exact_whatever_types_of_integers_they_have():
    codes = [[np.uint64(2**53 + 1), 1], [0, np.int8(3)]]
    assert check_codes(codes).tolist() == [[2**53 + 1, 1], [0, 3]]
    assert check_codes([[1.0, 2], [3, 4.0]]).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("size", [2.0, "4", None, True, [], [[4]]])
def test_a_codebook_size_that_is_not_of_ints_is_a_type_error(size):
    with pytest.raises(TypeError, match="codebook_size must be an int"):
        layer_sizes(size, 1)


@pytest.mark.parametrize("size", [0, -1, [4, 0]])
def test_a_codebook_size_below_one_is_refused(size):
    with pytest.raises(ValueError, match="codebook_size must be at least 1"):
        layer_sizes(size, 2)


def test_there_must_be_as_many_sizes_as_levels():
    with pytest.raises(ValueError, match=r"per level \(3\). Got 2 entries"):
        layer_sizes([4, 4], 3)


@pytest.mark.parametrize(
    "codes",
    [
        [[0, 1], [2, 3]],
        np.array([[0, 1], [2, 3]], dtype=np.uint8),
        np.array([[0.0, 1.0], [2.0, 3.0]], dtype=np.float16),
        np.asfortranarray([[0, 1], [2, 3]]),
        np.array([[0, 1], [2, 3]], dtype=object),
        pd.DataFrame({"a": [0, 2], "b": [1, 3]}),
        pd.DataFrame({"a": [0, 2], "b": [1, 3]}, dtype="Int64"),
        pl.DataFrame({"a": [0, 2], "b": [1, 3]}),
    ],
)
def test_whole_numbers_of_any_container_become_int64(codes):
    checked = check_codes(codes, 4)
    assert checked.dtype == np.int64
    np.testing.assert_array_equal(checked, [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0.5]], "must be whole numbers. Got .*0.5.* in row 0, column 0"),
        ([[0], [np.nan]], "must be finite. Got .*nan.* in row 1, column 0"),
        ([[np.inf]], "must be finite"),
        ([[None]], "must be finite"),
        ([[0, -1]], "must not be negative. Got .*-1.* in row 0, column 1"),
        ([[0], [4]], r"must be below codebook_size \[4\]. Got .*4.* in row 1"),
        ([0, 1], "must be 2-D"),
        ([[[0]]], "must be 2-D"),
        ([[], []], "must have at least one column"),
    ],
)
def test_the_error_of_invalid_codes_names_the_row_and_column(codes, message):
    with pytest.raises(ValueError, match="ids " + message):
        check_codes(codes, 4, name="ids")


@pytest.mark.parametrize("codes", [[["a"]], [[{}]], [[True]], [[1j]]])
def test_codes_that_are_not_numbers_are_a_type_error(codes):
    with pytest.raises(TypeError, match="codes must be whole numbers"):
        check_codes(codes)


def test_codes_beyond_64_bits_are_refused():
    with pytest.raises(ValueError, match="must fit in 64 bits"):
        check_codes([[1e19]])
    with pytest.raises(ValueError, match="must fit in 64 bits"):
        check_codes(np.array([[2**63]], dtype=np.uint64))


def test_each_level_is_checked_against_its_own_size():
    check_codes([[3, 1]], [4, 2])
    with pytest.raises(ValueError, match=r"codebook_size \[4, 2\]. Got .*column 1"):
        check_codes([[1, 3]], [4, 2])


@given(CODE_MATRICES)
def test_keys_compare_as_their_rows_do(codes):
    keys = row_keys(codes)
    rows = [tuple(row) for row in codes.tolist()]
    for i, left in enumerate(rows):
        for j, right in enumerate(rows):
            assert (keys[i] == keys[j]) == (left == right)
            assert (keys[i] < keys[j]) == (left < right)


def test_no_rows_have_no_keys():
    assert row_keys(np.empty((0, 3), dtype=np.int64)).shape == (0,)


def test_codes_in_object_arrays_are_exact():
    codes = np.array([[2**53 + 1, 0], [np.int64(2**62 + 1), True]], dtype=object)
    assert check_codes(codes).tolist() == [[2**53 + 1, 0], [2**62 + 1, 1]]
    for too_large in (2**63, 2**70):
        with pytest.raises(ValueError, match="must fit in 64 bits"):
            check_codes(np.array([[too_large]], dtype=object))


@given(st.lists(st.integers(-3, 3)))
def test_different_keys_are_counted(keys):
    assert n_distinct(np.array(keys, dtype=np.int64)) == len(set(keys))
