from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sk_rqvae.metrics import _checks as checks
from sk_rqvae.metrics import (
    colliding_share,
    collision_rate,
    duplicate_rate,
    worst_bucket_size,
)

CODES = hnp.arrays(
    np.int64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=10),
    elements=st.integers(0, 2),
)
FEW_VALUES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 0.1])


@given(CODES)
def test_collision_metrics_equal_a_count_by_dictionary(codes):
    buckets = Counter(map(tuple, codes.tolist()))
    colliding = sum(size for size in buckets.values() if size > 1)
    assert collision_rate(codes) == pytest.approx(1 - len(buckets) / len(codes))
    assert colliding_share(codes) == pytest.approx(colliding / len(codes))
    assert worst_bucket_size(codes) == max(buckets.values())


@given(CODES)
def test_the_colliding_share_is_between_one_and_two_collision_rates(codes):
    rate, share = collision_rate(codes), colliding_share(codes)
    assert rate <= share <= 2 * rate + 1e-12


def test_unique_ids_do_not_collide():
    codes = [[0, 1], [1, 0], [1, 1]]
    assert collision_rate(codes) == 0.0
    assert colliding_share(codes) == 0.0
    assert worst_bucket_size(codes) == 1


def test_codes_of_many_large_codebooks_do_not_overflow():
    codes = np.full((3, 20), 2**40)
    codes[2, 0] = 0
    assert worst_bucket_size(codes) == 2


def test_exact_duplicates_are_not_collisions():
    X = [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    codes = [[0], [0], [0], [1]]
    assert duplicate_rate(X) == 0.25
    assert collision_rate(codes) == 0.5
    assert collision_rate(codes, X) == pytest.approx(1 / 3)
    assert colliding_share(codes, X) == pytest.approx(2 / 3)
    assert worst_bucket_size(codes, X) == 2


def test_a_duplicate_row_has_the_id_of_its_first_copy():
    assert collision_rate([[0], [1], [0]], X=[[5], [5], [7]]) == 0.5


def test_without_duplicate_rows_passing_x_changes_nothing():
    codes, X = [[0], [0], [1]], [[1.0], [2.0], [3.0]]
    assert collision_rate(codes, X) == collision_rate(codes)


@given(
    hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int8, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.sampled_from([0, 1]),
    )
    | hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=FEW_VALUES,
    )
)
def test_the_duplicate_rate_counts_as_numpy_unique_does(X):
    assert duplicate_rate(X) == 1 - len(np.unique(X + 0, axis=0)) / len(X)


def test_duplicate_rows_do_not_depend_on_memory_layout_or_block_size(monkeypatch):
    X = np.random.default_rng(0).integers(0, 2, size=(40, 3)).astype(np.float32)
    codes = np.arange(40).reshape(-1, 1) % 7
    expected = duplicate_rate(X), collision_rate(codes, X)
    monkeypatch.setattr(checks, "_BLOCK_ENTRIES", 7)
    for same in (X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]):
        assert (duplicate_rate(same), collision_rate(codes, same)) == expected


def test_zero_and_minus_zero_are_the_same_value():
    # The bytes of 2.0 sort between those of the two.
    assert duplicate_rate([[0.0], [2.0], [-0.0], [3.0]]) == 0.25


@pytest.mark.parametrize("metric", [collision_rate, colliding_share, worst_bucket_size])
def test_collision_metrics_reject_invalid_input(metric):
    with pytest.raises(ValueError, match="codes must have at least one row"):
        metric(np.empty((0, 3), dtype=int))
    with pytest.raises(ValueError, match="codes must be whole numbers"):
        metric([[0.5]])
    with pytest.raises(ValueError, match=r"same number of rows\. Got 2 and 1"):
        metric([[0]], X=[[1.0], [2.0]])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        metric([[0]], X=[[np.nan]])


def test_equal_rows_of_long_doubles_are_found_though_their_bytes_differ():
    rows = np.tile([[0.0, 1], [0, 2], [0, 3], [1, 1]], (50, 1))
    n_bytes = rows.size * np.dtype(np.longdouble).itemsize
    noise = np.random.default_rng(0).integers(0, 256, n_bytes, dtype=np.uint8)
    padded = noise.view(np.longdouble).reshape(rows.shape)
    padded[...] = rows
    assert duplicate_rate(padded) == 1 - 4 / 200


def test_duplicate_rate_rejects_an_empty_matrix():
    with pytest.raises(ValueError, match=r"X must be 2-D.*not empty"):
        duplicate_rate(np.empty((0, 3)))
