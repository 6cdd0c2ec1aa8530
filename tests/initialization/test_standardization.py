"""Location and scale of matrices that are read in several blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sk_rqvae._inference import column_means
from sk_rqvae._inference.row_subset import RowSubset
from sk_rqvae._initialization.standardization import location_and_scale

N_ROWS, N_COLUMNS, N_BINARY = 17, 4, 1


def memory_map(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


def subset(X, tmp_path):
    order = np.random.default_rng(1).permutation(len(X))
    back = np.empty_like(order)
    back[order] = np.arange(len(X))
    return RowSubset(X[order], back)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(3, 5, size=(N_ROWS, N_COLUMNS))
    X[:, -N_BINARY:] = X[:, -N_BINARY:] > 3
    return X.astype(np.float16)  # exact in all dtypes below


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        lambda X, _: X,
        lambda X, _: X.astype(np.float32),
        lambda X, _: np.asfortranarray(X.astype(np.float64)),
        lambda X, _: X.astype(">f4"),
        lambda X, _: torch.from_numpy(X),
        memory_map,
        subset,
    ],
    ids=["float16", "float32", "columns", "big endian", "tensor", "file", "subset"],
)
def test_blocks_give_the_location_and_scale_of_all_rows(
    rows, given, weighted, tmp_path, monkeypatch
):
    weights = np.random.default_rng(2).uniform(0.5, 2, N_ROWS) if weighted else None
    X = rows.astype(np.float64)
    expected_mean = np.average(X, axis=0, weights=weights)
    variances = np.average((X - expected_mean) ** 2, axis=0, weights=weights)
    of_real, of_binary = variances[:-N_BINARY].mean(), variances[-N_BINARY:].mean()
    monkeypatch.setattr(column_means, "_VALUES_AT_ONCE", 3 * N_COLUMNS)
    mean, scale = location_and_scale(given(rows, tmp_path), N_BINARY, weights)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    np.testing.assert_allclose(scale[:-N_BINARY], of_real**0.5, rtol=1e-12)
    np.testing.assert_allclose(scale[-N_BINARY:], of_binary**0.5, rtol=1e-12)


def test_the_largest_deviation_of_any_block_counts(monkeypatch):
    monkeypatch.setattr(column_means, "_VALUES_AT_ONCE", 2)
    X = np.array([[1e308], [1.0], [2.0], [-1e308], [0.5], [-1.7e308]])
    with pytest.raises(ValueError, match="finite in float64"):
        location_and_scale(np.concatenate([X, [[1.7e308]] * 5]), 0)
    _, scale = location_and_scale(X / 10, 0)
    np.testing.assert_allclose(scale, (X / 1e300).std() * 1e299, rtol=1e-12)
