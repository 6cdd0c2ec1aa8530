"""How much more k-means explains of points than of Gaussian ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import new_generator, small
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae._initialization.gaussianity import explained_beyond_gaussian

SPREADS = torch.linspace(0.5, 2, 12)


def gaussian(n_points, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_points, 12, generator=generator) * SPREADS


def clusters(n_points, width, seed=0):
    """Independent columns with clusters in their joint distribution."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(40, 12, generator=generator)
    points = centres[torch.randint(40, (n_points,), generator=generator)]
    points = points + width * torch.randn(n_points, 12, generator=generator)
    return points - points.mean(0)


@pytest.mark.parametrize("n_codes", [1, 8, 64])
def test_codes_explain_gaussian_points_as_expected(n_codes):
    excess = explained_beyond_gaussian(gaussian(3000), n_codes, new_generator())
    assert excess == pytest.approx(0, abs=0.05)


def test_codes_explain_narrower_clusters_better():
    wide, narrow, points = (
        explained_beyond_gaussian(clusters(3000, width), 64, new_generator())
        for width in (1, 0.3, 0)
    )
    assert 0 < wide < narrow < points <= 1
    assert points > 0.99


def test_codes_explain_sparse_points_better_than_gaussian_ones():
    is_kept = torch.rand(3000, 12, generator=new_generator()) < 0.05
    sparse = gaussian(3000) * is_kept
    assert explained_beyond_gaussian(sparse, 64, new_generator()) > 0.3


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_the_excess_is_finite_for_few_points_and_for_zeros(
    n_points, dim, n_codes, all_zero
):
    points = torch.zeros(n_points, dim) if all_zero else gaussian(n_points)[:, :dim]
    excess = explained_beyond_gaussian(points, n_codes, new_generator())
    assert np.isfinite(excess)
    assert excess <= 1


def test_the_test_does_not_change_its_points():
    points = gaussian(200)
    before = points.clone()
    explained_beyond_gaussian(points, 8, new_generator())
    assert torch.equal(points, before)


def rows_of_falling_variance(share_kept):
    rng = np.random.default_rng(0)
    kept = rng.random((600, 48)) < share_kept
    return rng.normal(size=kept.shape) * kept * np.linspace(1, 0.4, 48)


def test_components_are_dropped_only_if_codes_explain_little_of_them():
    widths = [
        small(embed_dim=None, codebook_size=64, max_epochs=1)
        .fit(rows_of_falling_variance(share_kept))
        .codebooks_[0]
        .shape[1]
        for share_kept in (1, 0.03)
    ]
    assert widths[0] < widths[1] == 48
