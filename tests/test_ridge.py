from __future__ import annotations

import numpy as np

from sk_rqvae._ridge import ridge_by_gcv


def test_cross_validation_finds_the_penalty_that_the_noise_asks_for():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 30))
    true = rng.normal(size=(30, 4))
    clean, noisy = X @ true, X @ true + 40 * rng.normal(size=(200, 4))
    exact, shrunk = (
        ridge_by_gcv(X.T @ X, X.T @ Y, float((Y**2).sum()), len(X))
        for Y in (clean, noisy)
    )
    plain = np.linalg.lstsq(X, noisy)[0]
    np.testing.assert_allclose(exact, true, atol=1e-2)
    assert np.square(shrunk - true).sum() < 0.7 * np.square(plain - true).sum()
