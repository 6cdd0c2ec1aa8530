from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import assert_same_model, small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._initialization.standardization import location_and_scale
from sk_rqvae._model.id_prices import look_up
from sk_rqvae._training.id_discounts import discounts_for_lighter_rows
from sk_rqvae._training.weighted_draws import draw_counts, number_of_draws

weights_of_rows = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30).map(np.array)


@given(weights_of_rows, st.integers(1, 200), st.integers(0, 2**31))
def test_a_row_is_drawn_as_often_as_its_share_says(weights, n_draws, seed):
    counts = draw_counts(weights, n_draws, np.random.default_rng(seed))
    expected = weights / weights.sum() * n_draws
    assert counts.sum() == n_draws
    assert (np.abs(counts - expected) < 1 + 1e-9).all()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(0, 2**31))
def test_a_sample_with_integer_weights_is_the_repeated_rows(weights, seed):
    values = np.array([*weights, 1], dtype=np.float64)
    n_draws = number_of_draws(values, 10**6)
    counts = draw_counts(values, n_draws, np.random.default_rng(seed))
    assert counts.tolist() == values.tolist()


def test_a_sample_is_never_larger_than_asked():
    assert number_of_draws(np.array([1e-300, 1e300]), 500) == 500


@pytest.mark.parametrize("n_cat_features", [0, 2])
def test_location_and_scale_are_those_of_repeated_rows(n_cat_features):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 6))
    X[:, -2:] = X[:, -2:] > 0
    weights = rng.integers(1, 6, size=50)
    weighted = location_and_scale(X, n_cat_features, weights.astype(float))
    repeated = location_and_scale(X.repeat(weights, axis=0), n_cat_features)
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)


def test_equal_weights_change_nothing(blobs, fitted):
    assert_same_model(fitted, small().fit(blobs, sample_weight=np.full(len(blobs), 3)))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_rows_of_weight_zero_are_as_if_absent(blobs, early_stopping):
    used = np.arange(len(blobs)) % 3 > 0
    settings = {"early_stopping": early_stopping}
    without = small(**settings).fit(blobs[used])
    assert_same_model(without, small(**settings).fit(blobs, sample_weight=used))


@pytest.fixture(scope="module")
def two_kinds():
    """Many rows of a wide cluster, and a few of a second one of another shape."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(900, 12))
    rare = 4 + 2 * rng.normal(size=(300, 12))
    return np.vstack([common, rare]), np.repeat([1.0, 20.0], [900, 300])


@pytest.mark.parametrize("changes", [{}, {"resident_mb": 0.01}, {"linear_path": False}])
def test_heavy_rows_are_reconstructed_better(two_kinds, changes):
    X, weights = two_kinds

    def error_of_heavy_rows(model):
        reconstructed = model.inverse_transform(model.transform(X))
        return np.square(X - reconstructed)[weights > 1].sum()

    plain = small(**changes).fit(X)
    weighted = small(**changes).fit(X, sample_weight=weights)
    assert error_of_heavy_rows(weighted) < 0.95 * error_of_heavy_rows(plain)


def test_weights_act_like_repeated_rows(two_kinds):
    X, weights = two_kinds
    X, weights = X[::2], weights[::2]
    repeated = np.repeat(X, weights.astype(int), axis=0)
    # More rows would have more experts.
    weighted = small(n_experts=8).fit(X, sample_weight=weights)
    by_rows = small(n_experts=8, max_epochs=2).fit(repeated)
    assert weighted.score(repeated) == pytest.approx(by_rows.score(repeated), abs=0.03)


@pytest.mark.parametrize("changes", [{}, {"resident_mb": 0.01}])
def test_a_seed_repeats_a_fit_with_weights(two_kinds, changes):
    X, weights = two_kinds
    one, other = (small(**changes).fit(X, sample_weight=weights) for _ in range(2))
    assert_same_model(one, other)


def test_partial_fit_takes_weights(two_kinds):
    X, weights = two_kinds
    plain = small().partial_fit(X).partial_fit(X)
    weighted = small().partial_fit(X, sample_weight=weights)
    weighted.partial_fit(X, sample_weight=weights)
    heavy = X[weights > 1]
    assert weighted.score(heavy) > plain.score(heavy)


def test_the_heavier_of_two_items_keeps_the_id():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 8))
    weights = rng.permutation(600) + 1.0
    model = small(separate_ids=True).fit(X, sample_weight=weights)
    wanted = small(separate_ids=False).fit(X, sample_weight=weights)
    before, after = wanted.transform(X), model.transform(X)
    stayed = (before == after).all(axis=1)
    _, group = np.unique(before, axis=0, return_inverse=True)
    contested = np.flatnonzero(np.bincount(group.ravel()) > 1)
    heaviest = [
        np.flatnonzero(group == each)[weights[group == each].argmax()]
        for each in contested
    ]
    others = np.setdiff1d(np.flatnonzero(np.isin(group, contested)), heaviest)
    assert len(heaviest) > 20
    assert stayed[heaviest].mean() > 0.9 > 0.5 > stayed[others].mean()


def crowd(seed, n_rows, n_ids):
    rng = np.random.default_rng(seed)
    keys = np.stack([rng.permutation(n_ids)[:4] for _ in range(n_rows)])
    costs = np.sort(rng.random((n_rows, 4)), axis=1)
    weights = rng.exponential(size=n_rows) + 0.01
    return (*map(torch.from_numpy, (keys, costs)), torch.from_numpy(weights))


def choice(keys, costs):
    return keys.gather(1, costs.argmin(1, keepdim=True)).squeeze(1)


@given(st.integers(0, 2**31), st.integers(2, 60))
def test_discounts_move_no_row_that_is_alone_or_heaviest(seed, n_rows):
    keys, costs, weights = crowd(seed, n_rows, n_ids=60)
    discounts, _ = discounts_for_lighter_rows(keys, costs, weights / weights.mean())
    before = choice(keys, costs)
    after = choice(keys, costs + look_up(discounts, keys))
    for wanted in before.unique():
        takers = (before == wanted).nonzero().squeeze(1)
        heaviest = takers[weights[takers].argmax()]
        assert after[heaviest] == before[heaviest]
    moved = after[after != before]
    assert len(moved.unique()) == len(moved)
    assert not torch.isin(moved, before).any()


@given(st.integers(0, 2**31), st.floats(1, 2))
def test_discounts_keep_the_limit_of_the_weighted_error(seed, max_error):
    keys, costs, weights = crowd(seed, n_rows=50, n_ids=60)
    weights /= weights.mean()
    discounts, error = discounts_for_lighter_rows(
        keys, costs, weights, max_error=max_error
    )
    chosen = (costs + look_up(discounts, keys)).argmin(1, keepdim=True)
    paid = (weights * costs.gather(1, chosen).squeeze(1)).sum()
    assert error <= max_error + 1e-9
    assert paid / (weights * costs.amin(1)).sum() == pytest.approx(error)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            np.ones(3),
            r"sample_weight must have shape \(\d+,\), one weight per row of X",
        ),
        (np.ones((400, 1)), "sample_weight must have shape"),
        (-np.ones(400), "sample_weight must not be negative. Got -1"),
        (np.zeros(400), "sample_weight must have a positive entry. Got zero weights"),
        (np.full(400, np.nan), "sample_weight contains NaN"),
        (np.full(400, 1j), "sample_weight must be numbers. Got: they are complex"),
        ("heavy", "sample_weight must be numbers. Got: could not convert"),
        (2.0, r"sample_weight must have shape \(400,\)"),
        (np.full(400, np.inf), "sample_weight contains infinity"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_invalid_weights_are_refused(weights, message, method):
    X = np.random.default_rng(0).normal(size=(400, 3))
    with pytest.raises(ValueError, match=message):
        getattr(small(), method)(X, sample_weight=weights)


def test_masked_weights_are_refused(blobs):
    weights = np.ma.array(np.ones(len(blobs)), mask=np.arange(len(blobs)) == 3)
    with pytest.raises(TypeError, match="sample_weight must not have masked values"):
        small().fit(blobs, sample_weight=weights)
