from __future__ import annotations

import numpy as np
import pytest
import torch

from sk_rqvae._checks.arrays_or_tensors import (
    check_binary_columns,
    check_codes,
    check_finite,
)


def same_error(check, values, *arguments):
    """The message that a check has for an array and for its tensor."""
    messages = []
    for rows in (values, torch.from_numpy(values)):
        with pytest.raises((TypeError, ValueError)) as error:
            check(rows, *arguments)
        messages.append((type(error.value), str(error.value)))
    assert messages[0] == messages[1]
    return messages[0][1]


@pytest.mark.parametrize("row", [0, 8191, 8192, 19_999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named(row, value):
    rows = np.ones((20_000, 2))
    rows[row, 1] = value
    text = "NaN" if np.isnan(value) else str(value)
    message = same_error(check_finite, rows)
    assert message.endswith(f"Got {text} in row {row}, column 1.")


def test_the_first_value_that_is_not_binary_is_named():
    rows = np.zeros((20_000, 3))
    rows[:, 0] = 7.0
    rows[9_000, 2] = 0.5
    assert "in row 9000, column 2" in same_error(check_binary_columns, rows, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_tensors_of_all_types_pass_the_checks_of_rows(dtype):
    rows = torch.ones(5, 2, dtype=dtype)
    check_finite(rows)
    check_binary_columns(rows, 1)
    if dtype.is_floating_point:
        rows[3, 0] = torch.inf
        with pytest.raises(ValueError, match="Got inf in row 3, column 0"):
            check_finite(rows)


def test_finite_values_whose_sum_is_not_finite_pass():
    check_finite(torch.from_numpy(np.full((3, 2), np.finfo(np.float64).max)))


@pytest.mark.parametrize(
    "codes",
    [
        np.array([[0, 3]]),
        np.array([[-1, 0]]),
        np.array([[0.5, 0.0]]),
        np.array([[np.nan, 0.0]]),
        np.array([[np.inf, 0.0]]),
        np.array([0, 1]),
        np.empty((3, 0), dtype=np.int64),
        np.array([[True, False]]),
        np.array([[1j, 0]]),
    ],
    ids=str,
)
def test_wrong_codes_have_the_same_error_in_arrays_and_tensors(codes):
    same_error(check_codes, codes, [4, 3], "X")


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.uint8, torch.int16, torch.float32, torch.bfloat16]
)
def test_codes_of_any_numeric_type_become_int64(dtype):
    codes = torch.tensor([[3, 2], [0, 0]])
    checked = check_codes(codes.to(dtype), [4, 3], "X")
    assert checked.dtype == torch.int64
    assert torch.equal(checked, codes)
