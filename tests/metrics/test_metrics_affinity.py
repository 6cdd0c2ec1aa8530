from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sk_rqvae.metrics import affinity_lift, id_churn

N_ITEMS = 5
CODES = hnp.arrays(np.int64, (N_ITEMS, 2), elements=st.integers(0, 2))
AFFINITIES = hnp.arrays(np.int64, (N_ITEMS, N_ITEMS), elements=st.integers(0, 3))
PAIRS = list(itertools.permutations(range(N_ITEMS), 2))


def lift_by_counting(codes, affinity, length):
    common = [pair for pair in PAIRS if same_prefix(codes, *pair, length)]
    if not common:
        return np.nan
    observed = sum(affinity[pair] for pair in common)
    expected = len(common) / len(PAIRS)
    return observed / sum(affinity[pair] for pair in PAIRS) / expected


def same_prefix(codes, one, other, length):
    return codes[one, :length].tolist() == codes[other, :length].tolist()


def has_pairs(affinity):
    return any(affinity[pair] for pair in PAIRS)


@given(CODES, AFFINITIES)
def test_lift_equals_a_count_over_all_pairs(codes, affinity):
    assume(has_pairs(affinity))
    expected = [lift_by_counting(codes, affinity, length) for length in (1, 2)]
    np.testing.assert_allclose(affinity_lift(codes, affinity), expected)


@settings(max_examples=5)
@given(CODES, AFFINITIES)
def test_the_mean_lift_over_all_assignments_of_the_ids_is_one(codes, affinity):
    assume(has_pairs(affinity))
    lifts = [
        affinity_lift(codes[list(order)], affinity)
        for order in itertools.permutations(range(N_ITEMS))
    ]
    mean = np.mean(lifts, axis=0)
    np.testing.assert_allclose(mean[~np.isnan(mean)], 1.0)


@pytest.mark.parametrize(
    "convert",
    [sparse.csr_array, sparse.csc_matrix, sparse.coo_array, np.ndarray.tolist],
)
def test_all_sparse_and_dense_formats_give_the_same_lift(convert):
    random = np.random.default_rng(0)
    affinity = random.integers(0, 2, size=(20, 20))
    codes = random.integers(0, 3, size=(20, 2))
    expected = affinity_lift(codes, affinity)
    np.testing.assert_allclose(affinity_lift(codes, convert(affinity)), expected)


def test_repeated_entries_of_a_sparse_matrix_are_added():
    repeated = sparse.coo_array(([1, 1, 1], ([0, 0, 2], [1, 1, 1])), shape=(3, 3))
    codes = [[0], [0], [1]]
    expected = affinity_lift(codes, repeated.toarray())
    np.testing.assert_allclose(affinity_lift(codes, repeated), expected)


@pytest.mark.parametrize("unit", [1e308, 1e-300])
def test_the_lift_does_not_depend_on_the_unit_of_weights(unit):
    codes, affinity = [[0], [0], [1]], np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    expected = affinity_lift(codes, affinity)
    np.testing.assert_allclose(affinity_lift(codes, affinity * unit), expected)


def test_the_affinity_matrix_is_not_modified():
    affinity = sparse.csr_array([[1.0, 2.0], [2.0, 0.0]])
    before = affinity.copy()
    affinity_lift([[0], [0]], affinity)
    assert (affinity != before).nnz == 0


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (np.ones((2, 3)), r"affinity must have shape \(n_items, n_items\)"),
        (np.ones((2, 2)), "affinity and codes must have the same number of rows"),
        (-np.ones((3, 3)), "affinity must not be negative"),
        (np.full((3, 3), np.nan), "affinity contains NaN"),
        (np.eye(3), "affinity must have a positive value outside the diagonal"),
        (sparse.csr_array((3, 3)), "affinity must have a positive value"),
    ],
)
def test_lift_rejects_an_invalid_affinity(affinity, message):
    with pytest.raises(ValueError, match=message):
        affinity_lift([[0], [0], [1]], affinity)


@given(CODES, CODES)
def test_churn_equals_a_count_of_changed_prefixes(before, after):
    changed = [
        np.mean(
            [
                one[:length].tolist() != other[:length].tolist()
                for one, other in zip(before, after, strict=True)
            ]
        )
        for length in (1, 2)
    ]
    np.testing.assert_allclose(id_churn(before, after), changed)


@given(CODES)
def test_unchanged_ids_have_no_churn(codes):
    assert id_churn(codes, codes.copy()).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ([[0, 1]], [[0]], r"same shape. Got \(1, 2\) and \(1, 1\)"),
        ([[0, 1]], [[0, -1]], "after must not be negative"),
        ([[0.5]], [[0]], "before must be whole numbers"),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), "before must have at least one"),
    ],
)
def test_churn_names_the_invalid_argument(before, after, message):
    with pytest.raises(ValueError, match=message):
        id_churn(before, after)
