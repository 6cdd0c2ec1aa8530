from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from _lift import lift_among, lift_between
from sk_rqvae.metrics import affinity_lift


def catalogue(n_items, seed=0):
    """Prefixes, and symmetric pairs of which more have a common prefix."""
    rng = np.random.default_rng(seed)
    prefix = rng.integers(4, size=n_items)
    same = prefix[:, np.newaxis] == prefix
    seen = np.triu(rng.random(same.shape) < np.where(same, 0.2, 0.05), k=1)
    return prefix, csr_array((seen | seen.T).astype(float))


def test_the_lift_among_items_is_that_of_the_package():
    prefix, pairs = catalogue(80)
    lift = lift_among(prefix, pairs, np.random.default_rng(0))
    assert lift.value == pytest.approx(affinity_lift(prefix[:, np.newaxis], pairs)[0])


def test_the_lift_between_items_is_a_count_over_pairs():
    prefix, pairs = catalogue(60)
    rows, columns, part = prefix[:20], prefix[20:], pairs[:20][:, 20:]
    lift = lift_between(rows, columns, part, np.random.default_rng(0))
    common = rows[:, np.newaxis] == columns
    dense = part.toarray()
    assert lift.value == pytest.approx(
        dense[common].sum() / dense.sum() / common.mean()
    )


def test_the_error_is_no_smaller_than_the_spread_over_catalogues():
    lifts = [
        lift_among(*catalogue(100, seed), np.random.default_rng(seed))
        for seed in range(40)
    ]
    spread = np.std([lift.value for lift in lifts])
    assert spread < np.mean([lift.error for lift in lifts]) < 2.5 * spread
