"""What k-means tells of points beyond what it would of Gaussian ones."""

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
def test_of_gaussian_points_codes_tell_no_more_than_expected(n_codes):
    torch.manual_seed(0)
    assert (
        abs(
            explained_beyond_gaussian(
                gaussian(3000), n_codes, torch.Generator().manual_seed(0)
            )
        )
        < 0.05
    )


def test_of_clusters_codes_tell_more_the_narrower_they_are():
    torch.manual_seed(0)
    wide, narrow, none = (
        explained_beyond_gaussian(
            clusters(3000, width), 64, torch.Generator().manual_seed(0)
        )
        for width in (1, 0.3, 0)
    )
    assert 0 < wide < narrow < none <= 1
    assert none > 0.99


def test_of_sparse_points_codes_tell_more():
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(3000, 12, generator=generator) < 0.05
    torch.manual_seed(0)
    assert (
        explained_beyond_gaussian(
            gaussian(3000) * kept, 64, torch.Generator().manual_seed(0)
        )
        > 0.3
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_it_is_finite_for_few_points_and_for_points_without_length(
    n_points, dim, n_codes, long
):
    points = torch.randn(n_points, dim) * long
    told = explained_beyond_gaussian(points, n_codes, new_generator())
    assert np.isfinite(told)
    assert told <= 1


def test_the_points_are_left_as_they_are():
    points = gaussian(200)
    before = points.clone()
    explained_beyond_gaussian(points, 8, new_generator())
    assert torch.equal(points, before)


def rows_of_falling_variance(share_kept):
    rng = np.random.default_rng(0)
    kept = rng.random((600, 48)) < share_kept
    return rng.normal(size=kept.shape) * kept * np.linspace(1, 0.4, 48)


def test_components_are_left_out_only_where_codes_tell_little_of_them():
    widths = [
        small(embed_dim=None, codebook_size=64, max_epochs=1)
        .fit(rows_of_falling_variance(share_kept))
        .codebooks_[0]
        .shape[1]
        for share_kept in (1, 0.03)
    ]
    assert widths[0] < widths[1] == 48
