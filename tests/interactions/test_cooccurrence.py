from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sk_rqvae.interactions import _cooccurrence as cooccurrence_module
from sk_rqvae.interactions import cooccurrence

N_ITEMS = 5
HISTORIES = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=6), max_size=6)
WINDOWS = st.none() | st.integers(1, 4)


def counts_by_loops(histories, window):
    counts = np.zeros((N_ITEMS, N_ITEMS))
    for history in histories:
        found = {
            frozenset((history[one], history[other]))
            for one, other in itertools.combinations(range(len(history)), 2)
            if window is None or other - one <= window
        }
        for pair in found:
            if len(pair) == 2:
                one, other = pair
                counts[one, other] += 1
                counts[other, one] += 1
    return counts


def weights_by_loops(histories, window, weighting):
    counts = counts_by_loops(histories, window)
    weights = np.zeros_like(counts)
    n_histories = [sum(item in row for row in histories) for item in range(N_ITEMS)]
    row_sums = counts.sum(axis=1)
    for one, other in zip(*counts.nonzero(), strict=True):
        count = counts[one, other]
        if weighting == "count":
            weight = count
        elif weighting == "cosine":
            weight = count / math.sqrt(n_histories[one] * n_histories[other])
        else:
            chance = row_sums[one] * row_sums[other] / counts.sum()
            weight = max(0.0, math.log(count / chance))
        weights[one, other] = weight
    return weights


@pytest.mark.parametrize("weighting", ["count", "cosine", "ppmi"])
@given(HISTORIES, WINDOWS)
def test_weights_equal_those_of_nested_loops(weighting, histories, window):
    matrix = cooccurrence(histories, N_ITEMS, window, weighting)
    expected = weights_by_loops(histories, window, weighting)
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weighting", ["count", "cosine", "ppmi"])
@given(HISTORIES, WINDOWS)
def test_the_matrix_is_symmetric_positive_and_has_no_diagonal(
    weighting, histories, window
):
    matrix = cooccurrence(histories, N_ITEMS, window, weighting)
    assert matrix.format == "csr"
    assert matrix.shape == (N_ITEMS, N_ITEMS)
    assert matrix.dtype == np.float32
    assert matrix.has_canonical_format
    assert (matrix.data > 0).all()
    assert not matrix.diagonal().any()
    assert (matrix != matrix.T).nnz == 0


@given(HISTORIES, WINDOWS)
def test_sequences_and_a_pair_of_arrays_give_the_same_matrix(histories, window):
    user = [f"u{user}" for user, row in enumerate(histories) for _ in row]
    item = [item for row in histories for item in row]
    pair = (np.array(user, dtype=str), np.array(item, dtype=int))
    expected = cooccurrence(histories, N_ITEMS, window)
    np.testing.assert_array_equal(
        cooccurrence(pair, N_ITEMS, window).toarray(), expected.toarray()
    )


def test_interactions_of_different_users_may_be_interleaved():
    user, item = [7, 3, 7, 3, 7], [0, 4, 1, 3, 2]
    matrix = cooccurrence((user, item), N_ITEMS, window=1, weighting="count")
    expected = cooccurrence([[0, 1, 2], [4, 3]], N_ITEMS, 1, "count")
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.coo_matrix])
def test_non_zero_entries_of_a_sparse_matrix_are_interactions(convert):
    ratings = convert(np.array([[3.0, 1.0, 0.0], [0.0, 5.0, 2.0]]))
    matrix = cooccurrence(ratings, 3, weighting="count")
    expected = cooccurrence([[0, 1], [1, 2]], 3, weighting="count")
    np.testing.assert_array_equal(matrix.toarray(), expected.toarray())


@pytest.mark.parametrize("window", [None, 3])
def test_the_matrix_does_not_depend_on_the_block_size(window, monkeypatch):
    random = np.random.default_rng(0)
    histories = [random.integers(0, 30, random.integers(1, 20)) for _ in range(50)]
    expected = cooccurrence(histories, 30, window).toarray()
    monkeypatch.setattr(cooccurrence_module, "_BLOCK_ENTRIES", 64)
    np.testing.assert_array_equal(
        cooccurrence(histories, 30, window).toarray(), expected
    )


@given(HISTORIES, st.integers(1, 3))
def test_rare_pairs_are_dropped_and_others_keep_their_weight(histories, min_count):
    counts = cooccurrence(histories, N_ITEMS, weighting="count").toarray()
    full = cooccurrence(histories, N_ITEMS).toarray()
    pruned = cooccurrence(histories, N_ITEMS, min_count=min_count).toarray()
    np.testing.assert_array_equal(pruned, np.where(counts >= min_count, full, 0))


def test_histories_may_be_empty():
    assert cooccurrence([], 3).nnz == 0
    assert cooccurrence([[], [1], []], 3).nnz == 0
    assert cooccurrence(([], []), 3, window=2).nnz == 0


@pytest.mark.parametrize(
    ("histories", "options", "error", "message"),
    [
        ([[0, 3]], {}, ValueError, r"item indices in \[0, 2\], as n_items=3. Got 3"),
        ([[-1, 0]], {}, ValueError, "Got -1"),
        ([[0, 1], [0.5, 1.0]], {}, TypeError, "Got dtype float64 at position 1"),
        ([["a", "b"]], {}, TypeError, "Got dtype <U1 at position 0"),
        ([0, 1], {}, ValueError, r"Got an entry of shape \(\) at position 0"),
        ([[[0]]], {}, ValueError, r"Got an entry of shape \(1, 1\)"),
        (3, {}, TypeError, "histories must be a sequence of sequences"),
        ("012", {}, TypeError, "histories must be a sequence of sequences"),
        (([0, 1], [0]), {}, ValueError, r"same length. Got shapes \(2,\) and \(1,\)"),
        (([0, 1], [0.0, 1.0]), {}, TypeError, "Got dtype float64"),
        (sparse.csr_array((2, 4)), {}, ValueError, "must have n_items=3 columns"),
        (sparse.csr_array([[np.nan] * 3]), {}, ValueError, "must not hold NaN"),
        (sparse.eye_array(3), {"window": 1}, ValueError, "window needs the order"),
        ([[0]], {"window": 0}, ValueError, "window must be at least 1"),
        ([[0]], {"window": 1.5}, TypeError, "window must be an int"),
        ([[0]], {"n_items": 0}, ValueError, "n_items must be at least 1"),
        ([[0]], {"min_count": 0}, ValueError, "min_count must be at least 1"),
        ([[0]], {"weighting": "tfidf"}, ValueError, "weighting must be one of"),
    ],
)
def test_the_error_names_the_invalid_argument(histories, options, error, message):
    with pytest.raises(error, match=message):
        cooccurrence(histories, **({"n_items": 3} | options))


def test_interactions_and_metrics_import_without_torch(fresh_python):
    script = (
        "import sys, sk_rqvae.interactions, sk_rqvae.metrics, sk_rqvae.datasets, "
        "sk_rqvae.preprocessing; print({'torch', 'skorch'} & set(sys.modules))"
    )
    assert fresh_python(script) == "set()"


def test_users_that_cannot_be_sorted_are_an_error():
    users = np.array([0, "a", "a"], dtype=object)
    with pytest.raises(TypeError, match="histories must have users of one kind"):
        cooccurrence((users, np.arange(3)), n_items=3)


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT])
def test_interactions_without_a_user_are_an_error(missing):
    users = pd.Series([1, missing, missing], dtype=object)
    with pytest.raises(ValueError, match=r"must have a user.*at position 1"):
        cooccurrence((users, np.arange(3)), n_items=3)
    with pytest.raises(ValueError, match=r"must have a user.* nan at position 0"):
        cooccurrence(([np.nan, np.nan], [0, 1]), n_items=3)
    with pytest.raises(ValueError, match=r"must have a user.* nan at position 1"):
        cooccurrence((["a", np.nan], [0, 1]), n_items=3)


def test_a_window_longer_than_all_histories_costs_no_more(monkeypatch):
    stacked = []
    stack = np.stack
    monkeypatch.setattr(np, "stack", lambda arrays: stacked.append(1) or stack(arrays))
    cooccurrence([[0, 1, 2]] * 100, 5, window=10**6, weighting="count")
    assert len(stacked) == 2


@given(HISTORIES, st.integers(1, 4))
def test_pairs_of_a_history_that_exceeds_a_block_are_counted_once(histories, window):
    expected = cooccurrence(histories, N_ITEMS, window, "count").toarray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence_module, "_BLOCK_PAIRS", 2)
        found = cooccurrence(histories, N_ITEMS, window, "count").toarray()
    np.testing.assert_array_equal(found, expected)


def test_histories_can_mix_types_of_integers():
    mixed = [np.array([0, 1], np.uint64), np.array([1, 2], np.int8), [0, 1]]
    expected = cooccurrence([[0, 1], [1, 2], [0, 1]], 3).toarray()
    np.testing.assert_array_equal(cooccurrence(mixed, 3).toarray(), expected)


def test_windows_are_counted_the_same_in_blocks(monkeypatch):
    histories = [np.random.default_rng(n).integers(0, 9, 12) for n in range(20)]
    whole = cooccurrence(histories, n_items=9, window=2).toarray()
    monkeypatch.setattr(cooccurrence_module, "_BLOCK_PAIRS", 30)
    blocks = cooccurrence(histories, n_items=9, window=2).toarray()
    assert np.array_equal(whole, blocks)


def test_a_matrix_is_left_as_it_is_and_its_duplicates_are_summed():
    data, row, col = [2, 1, -1, 1, -3], [1, 0, 0, 0, 1], [0, 2, 2, 1, 1]
    matrix = sparse.coo_array((data, (row, col)), shape=(2, 3))
    counts = cooccurrence(matrix, n_items=3, weighting="count")
    assert counts.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert matrix.nnz == 5


def test_histories_keep_their_order_when_users_are_mixed():
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 50, 40) for _ in range(20)]
    order = rng.permutation(np.repeat(np.arange(20), 40))
    at = [iter(history) for history in histories]
    item = np.array([next(at[user]) for user in order])
    one, other = (
        cooccurrence(given, n_items=50, window=1, weighting="count").toarray()
        for given in ((order, item), histories)
    )
    assert np.array_equal(one, other)
