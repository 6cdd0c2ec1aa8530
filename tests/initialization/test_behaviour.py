"""The map from rows to behaviour, where rows have weights."""

from __future__ import annotations

import numpy as np
import torch

from sk_rqvae._initialization import behaviour
from sk_rqvae._model.behaviour_map import kernel
from sk_rqvae._ridge import ridge_by_gcv


def weighted_data(n_rows=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    weights = np.where(np.arange(n_rows) % 2, 1.9, 0.1)
    vectors = X[:, :2] * 0.3 + rng.normal(size=(n_rows, 2)) * 3 * (weights < 1)[:, None]
    zeros, ones = torch.zeros(4), torch.ones(4)
    known, degree = np.arange(n_rows), rng.permutation(n_rows) + 1.0
    return behaviour.BehaviourData(X, zeros, ones, known, degree, vectors, weights)


def test_the_linear_part_is_the_ridge_regression_of_weighted_rows():
    data = weighted_data()
    roots = np.sqrt(data.weights)[:, np.newaxis]
    rows, targets = data.X * roots, data.vectors * roots
    expected = ridge_by_gcv(
        rows.T @ rows, rows.T @ targets, np.square(targets).sum(), len(rows)
    )
    found = behaviour._ridge(data, data.vectors)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_row_of_weight_two_counts_as_two_rows_in_the_kernel_map():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(20, 4)))
    targets, weights = rng.normal(size=(20, 3)), rng.integers(1, 4, size=20)
    index = np.repeat(np.arange(20), weights)
    new = torch.from_numpy(rng.normal(size=(9, 4)))
    found = kernel(new, rows) @ behaviour._kernel_ridge(rows, targets, weights)
    repeated = kernel(new, rows[index]) @ behaviour._kernel_ridge(
        rows[index], targets[index], np.ones(len(index))
    )
    np.testing.assert_allclose(found, repeated, atol=1e-9)


def test_items_of_large_affinity_and_weight_are_remembered(monkeypatch):
    monkeypatch.setattr(behaviour, "_MAX_CENTRES", 10)
    data = weighted_data()
    kept = data.centres()
    importance = data.degree * data.weights
    assert sorted(kept) == kept.tolist()
    assert set(kept) == set(np.argsort(importance)[-10:])
