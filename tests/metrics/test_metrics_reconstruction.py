from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import mean_squared_error, r2_score

from sk_rqvae import metrics
from sk_rqvae.metrics import _checks as checks
from sk_rqvae.metrics import explained_variance, reconstruction_error

MATRICES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6),
    elements=st.floats(-100, 100),
)


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    X = random.normal(size=(50, 7)) * np.arange(1, 8)
    return X, X + random.normal(size=X.shape)


def test_everything_public_is_importable_and_sorted():
    assert sorted(metrics.__all__) == metrics.__all__
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_the_error_names_row_and_column_of_a_value_that_is_not_finite(value, kind):
    X = np.zeros((70_000, 3))
    X[69_999, 1] = value
    message = f"Input X_rec contains {kind} in row 69999, column 1"
    with pytest.raises(ValueError, match=message):
        reconstruction_error(np.zeros_like(X), X)


def test_reconstruction_error_is_the_mean_squared_error(pair):
    assert reconstruction_error(*pair) == pytest.approx(mean_squared_error(*pair))


def test_explained_variance_is_r2_with_columns_weighted_by_variance(pair):
    expected = r2_score(*pair, multioutput="variance_weighted")
    assert explained_variance(*pair) == pytest.approx(expected)


def test_a_perfect_reconstruction_has_zero_error(pair):
    X, _ = pair
    assert reconstruction_error(X, X) == 0.0
    assert explained_variance(X, X) == 1.0


def test_predicting_the_column_means_explains_no_variance(pair):
    X, _ = pair
    means = np.broadcast_to(X.mean(axis=0), X.shape)
    assert explained_variance(X, means) == pytest.approx(0.0, abs=1e-12)


def test_errors_do_not_depend_on_the_block_size(pair, monkeypatch):
    error, variance = reconstruction_error(*pair), explained_variance(*pair)
    monkeypatch.setattr(checks, "_BLOCK_ENTRIES", 15)
    assert reconstruction_error(*pair) == pytest.approx(error)
    assert explained_variance(*pair) == pytest.approx(variance)


@given(MATRICES, st.floats(0.01, 100), st.floats(-1e6, 1e6))
def test_explained_variance_does_not_depend_on_units(X, scale, shift):
    X = np.round(X, 3)
    X_rec = np.roll(X, 1, axis=0) + 0.5
    assume(np.ptp(X, axis=0).max() > 0.1)
    moved = explained_variance(X * scale + shift, X_rec * scale + shift)
    assert moved == pytest.approx(explained_variance(X, X_rec), rel=1e-4, abs=1e-4)


def test_constant_rows_are_explained_only_by_an_exact_copy():
    # 0.1 has no exact mean: summing it leaves a remainder that is not variance.
    X = np.full((1000, 3), 0.1)
    assert explained_variance(X, X) == 1.0
    assert explained_variance(X, X + 0.01) == 0.0


def test_a_large_float32_offset_loses_no_precision():
    X = np.float32(1e6) + np.arange(100, dtype=np.float32).reshape(50, 2)
    X_rec = X + np.float32(1)
    assert reconstruction_error(X, X_rec) == 1.0
    expected = r2_score(
        X.astype(float), X_rec.astype(float), multioutput="variance_weighted"
    )
    assert explained_variance(X, X_rec) == pytest.approx(expected, rel=1e-12)


def test_half_precision_does_not_overflow():
    X = np.full((4, 2), 300, dtype=np.float16)
    assert reconstruction_error(X, np.zeros_like(X)) == 90_000.0


@pytest.mark.parametrize(
    "convert", [list, pd.DataFrame, np.asfortranarray, lambda X: X[::-1][::-1]]
)
def test_all_array_likes_give_the_same_result(pair, convert):
    X, X_rec = pair
    error = reconstruction_error(convert(X), convert(X_rec))
    assert error == pytest.approx(reconstruction_error(X, X_rec), rel=1e-14)


@pytest.mark.parametrize("metric", [reconstruction_error, explained_variance])
@pytest.mark.parametrize(
    ("X", "X_rec", "message"),
    [
        ([[1.0]], [[1.0, 2.0]], r"same shape. Got \(1, 1\) and \(1, 2\)"),
        ([[1.0], [2.0]], [[1.0]], "same shape"),
        ([1.0, 2.0], [1.0, 2.0], r"X must be 2-D.*Got shape \(2,\)"),
        ([[1.0]], [1.0], "X_rec must be 2-D"),
        (np.empty((0, 2)), np.empty((0, 2)), "X must be 2-D.*not empty"),
        (np.empty((2, 0)), np.empty((2, 0)), "X must be 2-D.*not empty"),
        (np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), "X must be 2-D"),
        ([[np.nan]], [[1.0]], "Input X contains NaN"),
        ([[1.0]], [[np.inf]], "Input X_rec contains infinity"),
    ],
)
def test_matrices_that_do_not_fit_are_refused_by_name(metric, X, X_rec, message):
    with pytest.raises(ValueError, match=message):
        metric(X, X_rec)


@pytest.mark.parametrize("unit", [1e-200, 1e160, 3e307])
def test_explained_variance_does_not_depend_on_the_unit(unit):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    restored = X + rng.normal(scale=0.5, size=X.shape)
    np.testing.assert_allclose(
        explained_variance(unit * X, unit * restored), explained_variance(X, restored)
    )


@pytest.mark.parametrize("metric", [reconstruction_error, explained_variance])
def test_missing_values_and_dates_in_lists_are_refused(metric):
    rows = np.arange(12.0).reshape(4, 3)
    missing = rows.tolist()
    missing[2][1] = None
    with pytest.raises(ValueError, match="NaN in row 2, column 1"):
        metric(missing, rows)
    with pytest.raises(TypeError, match=r"X_rec must be numeric\. Got dates"):
        metric(rows, [[np.datetime64("2020-01-01")] * 3] * 4)


@pytest.mark.parametrize("metric", [reconstruction_error, explained_variance])
def test_masked_values_are_refused(metric):
    rows = np.arange(12.0).reshape(4, 3)
    with pytest.raises(TypeError, match=r"X must not have masked values.*X\.filled"):
        metric(np.ma.masked_equal(rows, 3), rows)
