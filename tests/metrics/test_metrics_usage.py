from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import entropy

from sk_rqvae.metrics import (
    codebook_entropy,
    codebook_gini,
    codebook_perplexity,
    codebook_usage,
)

ALL_METRICS = [codebook_usage, codebook_entropy, codebook_perplexity, codebook_gini]
SIZE = 8
CODES = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.integers(0, SIZE - 1),
)


def test_evenly_used_codes_give_the_best_values():
    codes = np.repeat(np.arange(16), 5)[:, None]
    assert codebook_usage(codes, 16) == [1.0]
    assert codebook_entropy(codes, 16) == [4.0]
    assert codebook_perplexity(codes, 16) == [16.0]
    assert codebook_gini(codes, 16) == [0.0]


def test_a_collapsed_level_gives_the_worst_values():
    codes = np.full((50, 1), 3)
    assert codebook_usage(codes, 16) == [1 / 16]
    assert codebook_entropy(codes, 16) == [0.0]
    assert codebook_perplexity(codes, 16) == [1.0]
    assert codebook_gini(codes, 16) == [1 - 1 / 16]


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_each_level_is_measured_with_its_own_codebook_size(metric):
    codes = np.array([[0, 0], [1, 0], [2, 1], [3, 5]])
    both = metric(codes, [4, 6])
    alone = [metric(codes[:, :1], 4)[0], metric(codes[:, 1:], 6)[0]]
    np.testing.assert_array_equal(both, alone)


@given(CODES)
def test_entropy_equals_that_of_scipy(codes):
    shares = [np.bincount(column, minlength=SIZE) for column in codes.T]
    expected = [entropy(share, base=2) for share in shares]
    np.testing.assert_allclose(codebook_entropy(codes, SIZE), expected, atol=1e-12)


@given(CODES)
def test_perplexity_is_between_one_and_the_number_of_used_codes(codes):
    perplexity = codebook_perplexity(codes, SIZE)
    used = codebook_usage(codes, SIZE) * SIZE
    assert (perplexity >= 1.0).all()
    assert (perplexity <= used * (1 + 1e-12)).all()


@given(CODES)
def test_gini_is_half_the_relative_mean_absolute_difference(codes):
    for column, gini in zip(codes.T, codebook_gini(codes, SIZE), strict=True):
        count = np.bincount(column, minlength=SIZE)
        differences = np.abs(count[:, None] - count)
        assert gini == pytest.approx(differences.mean() / (2 * count.mean()))


@pytest.mark.parametrize("metric", ALL_METRICS)
@given(codes=CODES, seed=st.integers(0, 100))
def test_renaming_codes_and_reordering_items_changes_nothing(metric, codes, seed):
    random = np.random.default_rng(seed)
    renamed = random.permutation(SIZE)[random.permutation(codes)]
    np.testing.assert_allclose(metric(renamed, SIZE), metric(codes, SIZE), atol=1e-12)


@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize(
    ("codes", "size", "error", "message"),
    [
        ([[4]], 4, ValueError, r"codes must be below codebook_size \[4\]"),
        ([[-1]], 4, ValueError, "codes must not be negative"),
        ([[0.5]], 4, ValueError, "codes must be whole numbers"),
        ([0, 1], 4, ValueError, "codes must be 2-D"),
        (
            np.empty((0, 2), dtype=int),
            4,
            ValueError,
            "codes must have at least one row",
        ),
        ([[0, 1]], [4, 4, 4], ValueError, "codebook_size must be an int or have one"),
        ([[0, 1]], 0, ValueError, "codebook_size must be at least 1"),
        ([[0, 1]], 4.0, TypeError, "codebook_size must be an int"),
        ([["a"]], 4, TypeError, "codes must be whole numbers"),
    ],
)
def test_usage_metrics_reject_invalid_codes(metric, codes, size, error, message):
    with pytest.raises(error, match=message):
        metric(codes, size)
