from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sk_rqvae._inference.blocks import map_rows, supported_copy
from sk_rqvae._inference.row_subset import RowSubset
from sk_rqvae._model.columns import standardized
from sk_rqvae._training.batches import (
    Batches,
    StreamedRows,
    resident_rows,
    run_length,
)
from sk_rqvae._training.hold_out import hold_out
from sk_rqvae._training.seeds import new_generators

CPU = torch.device("cpu")
KINDS = [resident_rows, StreamedRows]
N_ROWS = st.integers(1, 1200)
BATCH_SIZES = st.integers(1, 1500)


def generators(seed=0):
    return new_generators(seed, CPU)


def to_float(rows):
    return rows.float()


def numbered(n_rows, dtype=np.float32):
    """Rows whose columns are the number of the row and its negative."""
    return np.arange(n_rows, dtype=dtype)[:, None] * np.array([1, -1], dtype=dtype)


def both_kinds(rows, seed=0):
    return [kind(rows, to_float, CPU, generators(seed)) for kind in KINDS]


def drawn(dataset, batch_size, *, shuffle):
    return list(dataset.batches(batch_size, shuffle=shuffle))


@settings(max_examples=40, deadline=None)
@given(n_rows=N_ROWS, batch_size=BATCH_SIZES, shuffle=st.booleans())
def test_every_row_is_in_one_full_batch_of_an_epoch(n_rows, batch_size, shuffle):
    for dataset in both_kinds(numbered(n_rows)):
        assert len(dataset) == n_rows
        batches = drawn(dataset, batch_size, shuffle=shuffle)
        assert all(len(batch) == batch_size for batch in batches[:-1])
        assert 0 < len(batches[-1]) <= batch_size
        rows = torch.cat(batches)
        assert rows.dtype == torch.float32
        assert torch.equal(rows[:, 0], -rows[:, 1])
        numbers = rows[:, 0] if not shuffle else rows[:, 0].sort().values
        assert torch.equal(numbers, torch.arange(n_rows, dtype=torch.float32))


def test_every_row_is_in_one_batch_of_a_long_epoch():
    n_rows = 40_000
    dataset = StreamedRows(numbered(n_rows), to_float, CPU, generators())
    batches = drawn(dataset, 1000, shuffle=True)
    assert [len(batch) for batch in batches] == [1000] * 40
    numbers = torch.cat(batches)[:, 0].sort().values
    assert torch.equal(numbers, torch.arange(n_rows, dtype=torch.float32))


@settings(max_examples=30, deadline=None)
@given(
    n_rows=st.integers(2, 600),
    fraction=st.floats(0.01, 0.9),
    run_length=st.integers(1, 16),
)
def test_every_row_is_either_trained_on_or_held_out(n_rows, fraction, run_length):
    assume(math.ceil(fraction * math.ceil(n_rows / run_length)) * run_length < n_rows)
    parts = hold_out(numbered(n_rows), fraction, run_length, np.random.default_rng(0))
    numbers = [part[:][:, 0] for part in parts]
    assert all(np.all(np.diff(each) > 0) for each in numbers)
    assert sorted(np.concatenate(numbers)) == list(range(n_rows))


@pytest.mark.parametrize("kind", KINDS)
def test_a_subset_of_rows_gives_the_batches_of_a_copy(kind):
    X, index = numbered(500), np.arange(0, 500, 3)
    of_subset, of_copy = (
        torch.cat(drawn(kind(rows, to_float, CPU, generators()), 32, shuffle=True))
        for rows in (RowSubset(X, index), X[index])
    )
    assert torch.equal(of_subset, of_copy)


@pytest.mark.parametrize("kind", [0, 1], ids=["resident", "streamed"])
def test_every_epoch_has_another_order_and_a_seed_repeats_it(kind):
    dataset, again = (both_kinds(numbered(500))[kind] for _ in range(2))
    first = torch.cat(drawn(dataset, 100, shuffle=True))
    second = torch.cat(drawn(dataset, 100, shuffle=True))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat(drawn(again, 100, shuffle=True)))


@pytest.mark.parametrize("kind", [0, 1], ids=["resident", "streamed"])
def test_every_shuffled_batch_has_rows_of_all_parts_of_the_matrix(kind):
    dataset = both_kinds(numbered(8000))[kind]
    for batch in drawn(dataset, 1000, shuffle=True):
        quarters = torch.bincount((batch[:, 0] / 2000).long(), minlength=4)
        assert quarters.min() > 150


def with_weights(kind):
    weights = np.random.default_rng(0).uniform(0.1, 2, size=500)
    return kind(numbered(500), to_float, CPU, generators(), weights)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_weights_come_in_random_order(kind):
    numbers = torch.cat(drawn(with_weights(kind), 64, shuffle=True))[:, 0]
    assert len(numbers) == 500
    assert (numbers.diff() < 0).float().mean() > 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_every_pass_without_shuffling_has_the_same_rows_with_weights(kind):
    dataset = with_weights(kind)
    first, second = (torch.cat(drawn(dataset, 64, shuffle=False)) for _ in range(2))
    assert torch.equal(first, second)
    assert (first[:, 0].diff() >= 0).all()
    assert 200 < len(first.unique(dim=0)) < len(first) == 500


@pytest.mark.parametrize("count", [1, 10, 100, 10_000])
def test_a_sample_has_the_requested_number_of_different_rows(count):
    for dataset in both_kinds(numbered(1000)):
        numbers = dataset.sample(count)[:, 0]
        assert len(torch.unique(numbers)) == len(numbers)
        assert len(numbers) == min(count, 1000)


def test_a_sample_has_single_rows_of_all_parts_of_the_matrix(tmp_path):
    np.save(tmp_path / "rows.npy", numbered(80_000))
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for rows in (X, np.array(X), RowSubset(X, np.arange(len(X)))):
        numbers = StreamedRows(rows, to_float, CPU, generators()).sample(4000)[:, 0]
        assert len(torch.unique(numbers)) == 4000
        # Of rows drawn one by one, one in twenty follows the one before.
        assert (numbers.diff() == 1).float().mean() < 0.1
        by_tenth = torch.bincount((numbers / 8000).long(), minlength=10)
        assert by_tenth.min() > 300


def test_samples_differ_from_call_to_call():
    for dataset in both_kinds(numbered(1000)):
        assert set(dataset.sample(50)[:, 0].tolist()) != set(
            dataset.sample(50)[:, 0].tolist()
        )


@pytest.mark.parametrize("n_rows", [1, 2, 63, 64, 65, 1000, 10**9])
def test_there_are_enough_runs_of_rows_to_shuffle(n_rows):
    assert n_rows / run_length(n_rows) >= min(n_rows, 64)


def test_batches_can_be_iterated_more_than_once():
    batches = Batches(both_kinds(numbered(10))[0], 4)
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [len(batch) for batch in batches] == [4, 4, 2]


def read_only(rows):
    rows = rows.copy()
    rows.setflags(write=False)
    return rows


@pytest.mark.parametrize(
    "rows",
    [
        numbered(70, np.float16),
        numbered(70, np.float64),
        numbered(70, np.int8),
        numbered(70, np.int64),
        numbered(70, ">f4"),
        numbered(70)[::-1],
        np.asfortranarray(numbered(70)),
        numbered(140)[::2, ::-1],
        read_only(numbered(70)),
    ],
    ids=[
        "float16",
        "float64",
        "int8",
        "int64",
        "big-endian",
        "negative strides",
        "Fortran order",
        "strided",
        "read-only",
    ],
)
def test_any_layout_and_dtype_gives_the_same_numbers(rows):
    expected = torch.from_numpy(np.array(rows, dtype=np.float64)).float()
    for dataset in both_kinds(rows):
        assert torch.equal(torch.cat(drawn(dataset, 16, shuffle=False)), expected)


def test_narrowing_always_copies():
    rows = numbered(5)
    copy = supported_copy(rows)
    assert copy.dtype == rows.dtype
    assert not np.shares_memory(rows, copy)
    assert copy.flags.writeable


def test_large_integers_are_standardised_before_they_lose_digits():
    rows = np.array([[2**60, 0], [2**60 + 1024, 1]])

    mean, scale = (torch.full((2,), each, dtype=torch.float64) for each in (2**60, 1))
    standardize = partial(standardized, mean=mean, scale=scale)

    for dataset in (
        resident_rows(rows, standardize, CPU, generators()),
        StreamedRows(rows, standardize, CPU, generators()),
    ):
        assert dataset.sample(2).max() == 1024


@pytest.mark.parametrize("n_rows", [0, 1, 255, 256, 257, 600])
def test_blocks_cover_every_row_at_one_shape(n_rows):
    rows, shapes = numbered(n_rows), set()

    def double(block):
        shapes.add(tuple(block.shape))
        return 2 * block

    out = map_rows(double, rows, np.empty_like(rows), CPU)
    np.testing.assert_array_equal(out, 2 * rows)
    assert len(shapes) == min(1, n_rows)
