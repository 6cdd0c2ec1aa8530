"""The start of a training: plausible beams, the scale of noise and of steps."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._start import _typical_errors, expected_growth, share_of_lr


@given(
    st.lists(st.integers(1, 4096), min_size=1, max_size=8),
    st.integers(1, 4096),
    st.integers(1, 10**9),
)
def test_residuals_of_unseen_rows_are_expected_to_grow_by_one_to_e(sizes, dim, n_rows):
    assert 1 <= expected_growth(sizes, dim, n_rows) <= math.e


def test_more_rows_leave_less_to_grow():
    few, many = (expected_growth([256] * 3, 64, n_rows) for n_rows in (3600, 36000))
    assert few > many > 1


def test_wider_latents_are_expected_to_grow_more():
    narrow, wide = (expected_growth([256] * 3, dim, 3600) for dim in (64, 768))
    assert wide > narrow


@given(st.floats(0, 1), st.integers(1, 10**5))
def test_the_learning_rate_is_lowered_never_raised(unexplained, embed_dim):
    assert 0 <= share_of_lr(unexplained, embed_dim) <= 1


def test_the_learning_rate_falls_with_width_and_with_what_is_left_to_explain():
    assert share_of_lr(0.57, 384) == 1
    assert share_of_lr(0.5, 768) < 0.5
    assert share_of_lr(0.02, 192) < share_of_lr(0.2, 192)


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


def test_steps_are_smaller_in_wide_latents(blobs):
    once = {"max_epochs": 1, "lr_schedule": "constant", "warmup_epochs": 0}
    narrow, wide = (
        small(embed_dim=width, lr=1e-3, **once).fit(blobs).net_.history[-1, "lr"]
        for width in (12, 768)
    )
    assert wide < 0.5e-3 < narrow <= 1e-3


def test_going_on_lowers_the_learning_rate_as_a_first_fit_does(blobs):
    estimator = small(
        embed_dim=768, max_epochs=1, lr=1e-3, lr_schedule="constant", warmup_epochs=0
    )
    rate = estimator.fit(blobs).net_.history[-1, "lr"]
    estimator.partial_fit(blobs)
    assert estimator.net_.history[-1, "lr"] == pytest.approx(rate, rel=0.3)


def test_an_exact_start_is_kept(blobs):
    rows = blobs[:16]
    estimator = small(codebook_size=16, max_epochs=None).fit(rows)
    assert estimator.n_iter_ == 1
    assert estimator.score(rows) > 1 - 1e-4


def test_epochs_that_were_asked_for_are_made_from_an_exact_start_too(blobs):
    assert small(codebook_size=16, max_epochs=3).fit(blobs[:16]).n_iter_ == 3
