"""The start of a training: plausible beams, the scale of noise and of steps."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._start import _typical_errors, expected_growth


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=8), st.integers(1, 10**9))
def test_residuals_of_unseen_rows_are_expected_to_grow_by_one_to_e(sizes, n_rows):
    assert 1 <= expected_growth(sizes, n_rows) <= math.e


def test_more_rows_a_code_leave_less_to_grow():
    assert expected_growth([256] * 3, 3600) > expected_growth([256] * 3, 36000) > 1


def test_a_row_left_out_is_further_from_the_mean_of_the_others():
    codes = torch.tensor([[[0], [1]]] * 3)
    errors = torch.tensor([[1.0, 9.0]] * 3)
    expected = torch.full((3, 1), (3 / 2) ** 2)
    torch.testing.assert_close(_typical_errors(codes, errors), expected)


def test_a_row_alone_at_its_centre_would_go_to_its_second_beam():
    codes = torch.tensor([[[0], [1]], [[1], [0]]])
    errors = torch.tensor([[0.0, 4.0], [0.0, 6.0]])
    # The typical error is that of a mean row, if that is larger.
    expected = torch.tensor([[5.0], [6.0]])
    torch.testing.assert_close(_typical_errors(codes, errors), expected)


def test_noise_grows_with_codes_for_the_rows(blobs):
    """Not by the residuals of the start alone, which fall with more codes."""
    net = small(codebook_size=8, max_epochs=1, noise=0.5).fit(blobs).net_
    quieter = small(codebook_size=8, max_epochs=1, noise=0.25).fit(blobs).net_
    assert net.module_.noise_scale == pytest.approx(2 * quieter.module_.noise_scale)


@pytest.mark.parametrize(("width", "share"), [(12, 1.0), (768, 0.5)])
def test_steps_are_smaller_in_latents_wider_than_384(blobs, width, share):
    estimator = small(
        embed_dim=width, max_epochs=1, lr=1e-3, lr_schedule="constant", warmup_epochs=0
    )
    assert estimator.fit(blobs).net_.history[-1, "lr"] == pytest.approx(share * 1e-3)


def test_an_exact_start_is_kept(blobs):
    rows = blobs[:16]
    estimator = small(codebook_size=16, max_epochs=None).fit(rows)
    assert estimator.n_iter_ == 1
    assert estimator.score(rows) > 1 - 1e-4


def test_epochs_that_were_asked_for_are_made_from_an_exact_start_too(blobs):
    assert small(codebook_size=16, max_epochs=3).fit(blobs[:16]).n_iter_ == 3
