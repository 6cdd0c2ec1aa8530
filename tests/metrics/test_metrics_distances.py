from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.exceptions import UndefinedMetricWarning

from sk_rqvae.metrics import _checks as checks
from sk_rqvae.metrics import (
    decoded_distance_correlation,
    prefix_distance_correlation,
)
from sk_rqvae.metrics._distance_correlation import _draw_pairs


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    codes = random.integers(0, 4, size=(80, 3))
    X = codes @ np.diag([9.0, 3.0, 1.0]) + random.normal(size=(80, 3))
    return X, codes, codes * np.array([9.0, 3.0, 1.0])


def test_the_decoded_correlation_equals_spearmans_over_all_pairs(data):
    X, _, X_rec = data
    expected = spearmanr(pdist(X), pdist(X_rec)).statistic
    assert decoded_distance_correlation(X, X_rec) == pytest.approx(expected)


def test_the_prefix_correlation_equals_spearmans_over_all_pairs(data):
    X, codes, _ = data

    def distance(a, b):
        return len(a) - np.cumprod(a == b).sum()

    expected = spearmanr(pdist(X), pdist(codes, distance)).statistic
    assert prefix_distance_correlation(X, codes) == pytest.approx(expected)


def test_scaling_and_shifting_gives_a_correlation_of_one(data):
    X, _, _ = data
    assert decoded_distance_correlation(X, 3.0 * X + 5.0) == pytest.approx(1.0)


def test_the_correlation_does_not_depend_on_the_block_size(data, monkeypatch):
    X, _, X_rec = data
    expected = decoded_distance_correlation(X, X_rec)
    monkeypatch.setattr(checks, "_BLOCK_ENTRIES", 10)
    assert decoded_distance_correlation(X, X_rec) == expected


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-565, 2.0**531, 2.0**1018])
def test_the_correlation_does_not_depend_on_the_unit(data, unit):
    X, codes, X_rec = data
    expected = prefix_distance_correlation(X, codes)
    assert prefix_distance_correlation(X * unit, codes) == pytest.approx(expected)
    expected = decoded_distance_correlation(X, X_rec)
    found = decoded_distance_correlation(X * unit, X_rec / unit)
    assert found == pytest.approx(expected)


def test_a_large_column_of_one_value_does_not_change_the_correlation(data):
    X, codes, _ = data
    padded = np.column_stack([X * 1e-170, np.full(len(X), 1e200)])
    expected = prefix_distance_correlation(X, codes)
    assert prefix_distance_correlation(padded, codes) == pytest.approx(expected)


def test_sampled_pairs_estimate_the_correlation_of_all_pairs(data):
    X, codes, X_rec = data
    options = {"n_pairs": 2000, "random_state": 0}
    for metric, other in [
        (prefix_distance_correlation, codes),
        (decoded_distance_correlation, X_rec),
    ]:
        sampled = metric(X, other, **options)
        assert sampled == pytest.approx(metric(X, other), abs=0.05)
        assert sampled == metric(X, other, **options)
        assert sampled != metric(X, other, n_pairs=2000, random_state=1)


def test_pairs_of_different_items_are_drawn_uniformly():
    left, right = _draw_pairs(5, n_pairs=9, random_state=0)
    assert len(left) == 9
    left, right = _draw_pairs(200, n_pairs=19_000, random_state=0)
    assert (left != right).all()
    for side in (left, right):
        assert np.bincount(side, minlength=200).min() > 50
    gaps = np.bincount((right - left) % 200, minlength=200)
    assert gaps[0] == 0
    assert gaps[1:].min() > 50


def test_each_pair_is_used_once_if_there_are_few_items():
    left, right = _draw_pairs(5, n_pairs=10, random_state=0)
    assert len({frozenset(pair) for pair in zip(left, right, strict=True)}) == 10


def test_constant_distances_give_nan_and_a_warning():
    X = [[0.0], [1.0], [5.0]]
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(prefix_distance_correlation(X, [[0], [0], [0]]))
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(decoded_distance_correlation([[0.0], [0.0], [0.0]], X))


def test_distance_correlations_name_the_invalid_argument():
    with pytest.raises(ValueError, match=r"X must have at least two rows\. Got 1"):
        prefix_distance_correlation([[0.0]], [[0]])
    with pytest.raises(ValueError, match=r"X must have at least two rows\. Got 1"):
        decoded_distance_correlation([[0.0]], [[0.0]])
    with pytest.raises(ValueError, match="X and codes must have the same number"):
        prefix_distance_correlation([[0.0], [1.0]], [[0]])
    with pytest.raises(ValueError, match="n_pairs must be at least 1"):
        prefix_distance_correlation([[0.0], [1.0]], [[0], [1]], n_pairs=0)
    with pytest.raises(TypeError, match="n_pairs must be an int"):
        decoded_distance_correlation([[0.0], [1.0]], [[0.0], [1.0]], n_pairs=1e5)


def test_the_largest_distances_do_not_overflow():
    X = np.array([[1.7e308], [-1.7e308], [0.0], [1e307]])
    codes = [[0, 0], [1, 0], [2, 0], [2, 1]]
    small = prefix_distance_correlation(X / 1e300, codes)
    assert prefix_distance_correlation(X, codes) == small
