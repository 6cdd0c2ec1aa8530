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
from sk_rqvae.metrics._distances import _draw_pairs


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    codes = random.integers(0, 4, size=(80, 3))
    X = codes @ np.diag([9.0, 3.0, 1.0]) + random.normal(size=(80, 3))
    return X, codes, codes * np.array([9.0, 3.0, 1.0])


def test_decoded_distances_are_rank_correlated_over_all_pairs(data):
    X, _, X_rec = data
    expected = spearmanr(pdist(X), pdist(X_rec)).statistic
    assert decoded_distance_correlation(X, X_rec) == pytest.approx(expected)


def test_prefix_distances_are_rank_correlated_over_all_pairs(data):
    X, codes, _ = data

    def distance(a, b):
        return len(a) - np.cumprod(a == b).sum()

    expected = spearmanr(pdist(X), pdist(codes, distance)).statistic
    assert prefix_distance_correlation(X, codes) == pytest.approx(expected)


def test_a_monotone_change_of_distances_keeps_the_correlation_at_one(data):
    X, _, _ = data
    assert decoded_distance_correlation(X, 3.0 * X + 5.0) == pytest.approx(1.0)


def test_blocks_of_pairs_give_the_same_correlation(data, monkeypatch):
    X, _, X_rec = data
    expected = decoded_distance_correlation(X, X_rec)
    monkeypatch.setattr(checks, "_BLOCK_ENTRIES", 10)
    assert decoded_distance_correlation(X, X_rec) == expected


def test_a_sample_of_pairs_estimates_the_correlation_of_all(data):
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


def test_drawn_pairs_are_of_different_items_and_all_equally_likely():
    left, right = _draw_pairs(5, n_pairs=9, random_state=0)
    assert len(left) == 9
    left, right = _draw_pairs(200, n_pairs=19_000, random_state=0)
    assert (left != right).all()
    for side in (left, right):
        assert np.bincount(side, minlength=200).min() > 50
    gaps = np.bincount((right - left) % 200, minlength=200)
    assert gaps[0] == 0
    assert gaps[1:].min() > 50


def test_few_items_have_each_pair_once():
    left, right = _draw_pairs(5, n_pairs=10, random_state=0)
    assert len({frozenset(pair) for pair in zip(left, right, strict=True)}) == 10


def test_distances_that_do_not_differ_have_no_correlation():
    X = [[0.0], [1.0], [5.0]]
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(prefix_distance_correlation(X, [[0], [0], [0]]))
    with pytest.warns(UndefinedMetricWarning, match="not defined"):
        assert np.isnan(decoded_distance_correlation([[0.0], [0.0], [0.0]], X))


def test_input_that_does_not_fit_is_refused_by_name():
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
