"""The width of the latents with ``embed_dim=None``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import new_generator, small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._initialization.latent_width import (
    gaussian_width,
    latent_width,
    water_level,
)

VARIANCES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)
SIZES = st.lists(st.integers(1, 4096), min_size=1, max_size=8)
CODES = [256, 256, 256]


def falling(n):
    """Variances, the k-th of them one k-th."""
    return 1 / np.arange(1, n + 1.0)


@given(VARIANCES, SIZES, st.integers(1, 10**7))
def test_the_width_is_between_one_and_the_number_of_columns(values, sizes, n_rows):
    assert 1 <= gaussian_width(np.array(values), sizes, n_rows) <= len(values)


@given(VARIANCES, SIZES, st.integers(1, 10**7), st.floats(1e-3, 1e3))
def test_the_width_does_not_depend_on_units_or_order(values, sizes, n_rows, unit):
    spectrum = np.array(values)
    width = gaussian_width(spectrum, sizes, n_rows)
    # Rounding may change the decision on one component.
    assert abs(gaussian_width(unit * spectrum[::-1], sizes, n_rows) - width) <= 1


def test_fewer_rows_per_code_make_narrower_latents():
    few, more, many = (
        gaussian_width(falling(384), CODES, n_rows)
        for n_rows in (4_000, 40_000, 4_000_000)
    )
    assert few < more < many <= 384


def test_hardly_a_component_is_dropped_if_codes_can_memorise_all_rows():
    assert gaussian_width(falling(384), CODES, 300) > 0.95 * 384


def test_no_component_is_dropped_if_all_have_the_same_variance():
    assert gaussian_width(np.ones(32), CODES, 4000) == 32


def test_components_without_variance_are_dropped():
    assert gaussian_width(np.append(np.ones(10), np.zeros(30)), CODES, 10**6) == 10


def test_latents_are_no_wider_than_1024():
    assert gaussian_width(np.ones(4096), CODES, 10**6) == 1024
    assert gaussian_width(np.zeros(4096), CODES, 10**6) == 1024


@given(VARIANCES, st.floats(0, 100))
def test_the_water_level_is_at_most_the_largest_variance(values, n_bits):
    spectrum = np.sort(values)[::-1]
    assert 0 <= water_level(spectrum, n_bits) <= spectrum[0]


@given(VARIANCES, st.floats(0, 100), st.floats(0.1, 100))
def test_more_bits_lower_the_water_level(values, n_bits, more):
    spectrum = np.sort(values)[::-1]
    level = water_level(spectrum, n_bits)
    assert water_level(spectrum, n_bits + more) <= level * (1 + 1e-9)


@given(VARIANCES, st.floats(0, 100))
def test_lowering_the_components_to_the_water_level_takes_exactly_the_bits(
    values, n_bits
):
    spectrum = np.sort(values)[::-1]
    spent = np.log2(spectrum / water_level(spectrum, n_bits)).clip(min=0).sum() / 2
    assert spent == pytest.approx(n_bits, rel=1e-6, abs=1e-6)


def test_one_bit_per_equal_component_leaves_a_quarter_of_the_variance():
    assert water_level(np.ones(8), 8) == pytest.approx(1 / 4)


def test_a_component_below_the_water_level_gets_no_bits():
    assert water_level(np.array([1.0, 0.01]), 2) == pytest.approx(1 / 16)


def test_latents_drop_components_of_low_variance(blobs):
    rng = np.random.default_rng(0)
    noise = 1e-5 * rng.normal(size=(len(blobs), 20)).astype(np.float32)
    rows = np.hstack([blobs, noise])
    estimator = small(embed_dim=None).fit(rows)
    assert 10 <= estimator.codebooks_[0].shape[1] <= 12
    assert estimator.inverse_transform(estimator.transform(rows)).shape == rows.shape


@pytest.mark.parametrize(
    "options", [{"linear_path": False}, {"codebook_normalize": True}], ids=str
)
def test_latents_that_are_not_principal_components_are_as_wide_as_the_rows(
    blobs, options
):
    rows = np.hstack([blobs, 1e-5 * blobs])
    assert small(**options).fit(rows).codebooks_[0].shape == (16, 24)


@pytest.mark.parametrize("sizes", [(256, 4, 4), (4, 4, 256)])
def test_sparse_components_are_kept_whatever_the_order_of_codebooks(sizes):
    """Each row has one of 64 words, most of them rare."""
    chances = falling(64) / falling(64).sum()
    rng = np.random.default_rng(0)
    words = torch.eye(64)[torch.from_numpy(rng.choice(64, 2000, p=chances))]
    rows = (words - words.mean(0)) / words.std()
    assert latent_width(rows, sizes, len(rows), new_generator()) == 64


def test_continued_training_keeps_the_width_chosen_from_the_data(blobs):
    rows = np.hstack([blobs, 1e-5 * blobs[:, ::-1]])
    estimator = small(warm_start=True, max_epochs=1).fit(rows)
    width = estimator.codebooks_[0].shape[1]
    estimator.fit(np.random.default_rng(0).normal(size=rows.shape))
    estimator.partial_fit(rows)
    assert estimator.codebooks_[0].shape[1] == width < 24
