from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.residual_quantizer import ResidualQuantizer

STE, SINKHORN = QuantizeForwardMode.STE, QuantizeForwardMode.SINKHORN
MODES = list(QuantizeForwardMode)


def stack(sizes=(5, 4, 3), *, mode=STE, n_beams=1, dim=4, seed=0, **options):
    torch.manual_seed(seed)
    quantizer = ResidualQuantizer(
        sizes,
        dim,
        modes=[mode] * len(sizes),
        n_beams=n_beams,
        **{"normalize": False, "sim_vq": False} | options,
    )
    return quantizer.double()


def latents(n_rows=20, dim=4):
    torch.manual_seed(1)
    return torch.randn(n_rows, dim, dtype=torch.float64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_beams", [1, 3])
@pytest.mark.parametrize("options", [{}, {"sim_vq": True}, {"normalize": True}])
def test_it_gives_the_vectors_of_the_codes_and_their_sum(mode, n_beams, options):
    quantizer = stack(mode=mode, n_beams=n_beams, **options)
    codes, vectors, total, _ = quantizer(latents())
    assert codes.shape == (20, 3)
    for depth in range(1, 4):
        torch.testing.assert_close(
            vectors[:, :depth].sum(1), quantizer.sum_of(codes[:, :depth])
        )
    torch.testing.assert_close(total, quantizer.sum_of(codes))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "gumbel_softmax"])
def test_the_decoder_sees_the_sum_of_codes(mode):
    quantized = stack(mode=mode)(latents())
    torch.testing.assert_close(quantized.decoder_input, quantized.total)


def test_at_temperature_zero_training_chooses_the_codes_of_transform():
    for mode in MODES:
        quantizer = stack(mode=mode, n_beams=3)
        quantizer.temperature.zero_()
        found = quantizer.search(latents()).codes[:, 0]
        assert torch.equal(quantizer(latents()).codes, found), mode


def test_training_charges_beams_twenty_times_for_their_prefixes():
    quantizer = stack(n_beams=3, prefix_weight=0.05)
    trained = quantizer(latents()).codes
    quantizer.prefix_weight = 20 * 0.05
    assert torch.equal(trained, quantizer.search(latents()).codes[:, 0])
    quantizer.prefix_weight = 0.05
    assert not torch.equal(trained, quantizer.search(latents()).codes[:, 0])


def test_sinkhorn_chooses_other_codes_only_while_it_is_warm():
    quantizer = stack((8, 8), mode=SINKHORN)
    rows = latents(200) + 3
    plain = quantizer.search(rows).codes[:, 0]
    warm = quantizer(rows).codes
    assert not torch.equal(warm, plain)
    used = [len(torch.unique(codes[:, 0])) for codes in (plain, warm)]
    assert used[1] > used[0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n_beams=st.integers(1, 60))
def test_a_search_can_use_other_beams_than_it_was_made_with(seed, n_beams):
    wide = stack(n_beams=n_beams, seed=seed).search(latents())
    narrow = stack(n_beams=1, seed=seed).search(latents(), n_beams)
    assert torch.equal(wide.codes, narrow.codes)


def test_a_residual_shrinks_from_level_to_level_where_a_code_is_zero():
    quantizer = stack()
    for level in quantizer.levels:
        level.table.data[0] = 0
    sums = quantizer(latents()).vectors.cumsum(1)
    errors = (latents().unsqueeze(1) - sums).square().sum(-1)
    assert (errors.diff(dim=1) <= 1e-12).all()


def test_the_gradient_of_the_passed_sum_does_not_reach_the_codebooks():
    for mode in (STE, SINKHORN, QuantizeForwardMode.ROTATION_TRICK):
        quantizer = stack(mode=mode)
        quantizer(latents().requires_grad_()).decoder_input.sum().backward()
        assert all(level.table.grad is None for level in quantizer.levels), mode


def test_levels_may_have_modes_of_their_own():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(
        [4] * 4, 3, modes=MODES, n_beams=2, normalize=False, sim_vq=False
    )
    rows = torch.randn(9, 3, requires_grad=True)
    quantizer(rows).decoder_input.sum().backward()
    assert torch.isfinite(rows.grad).all()
