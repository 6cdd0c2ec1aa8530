"""Vectors of behaviour: what they are, and if the eigensolver does not converge."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence

from sk_rqvae._initialization import behaviour_vectors as module


def test_vectors_are_eigenvectors_times_the_roots_of_their_eigenvalues():
    rng = np.random.default_rng(0)
    matrix = np.triu(rng.exponential(size=(30, 30)) * (rng.random((30, 30)) < 0.2), 1)
    matrix += matrix.T
    degree = matrix.sum(axis=1)
    assert degree.min() > 0
    values, axes = np.linalg.eigh(matrix / np.sqrt(np.outer(degree, degree)))
    expected = axes * np.sqrt(values.clip(min=0))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    vectors = module.behaviour_vectors(csr_array(matrix), rng)
    # Axes may be mirrored; products of vectors are the same.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-6)


def test_eigenvectors_that_do_not_converge_are_left_out_with_a_warning(monkeypatch):
    n_items = 600
    one = np.full((n_items, 1), n_items**-0.5)

    def eigsh(*args, **kwargs):
        raise ArpackNoConvergence("no convergence", np.ones(1), one)

    monkeypatch.setattr(module, "eigsh", eigsh)
    pairs = csr_array(np.ones((n_items, n_items)) - np.eye(n_items))
    with pytest.warns(UserWarning, match="Only 1 of 64 eigenvectors of affinity"):
        vectors = module.behaviour_vectors(pairs, np.random.default_rng(0))
    assert vectors.shape == (n_items, 1)
