from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.residual_quantizer import ResidualQuantizer

STE, SINKHORN = QuantizeForwardMode.STE, QuantizeForwardMode.SINKHORN
MODES = list(QuantizeForwardMode)


def quantizer_of(sizes=(5, 4, 3), *, mode=STE, n_beams=1, dim=4, seed=0, **options):
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
def test_a_forward_pass_returns_the_sum_of_the_vectors_of_its_codes(
    mode, n_beams, options
):
    quantizer = quantizer_of(mode=mode, n_beams=n_beams, **options)
    codes, total, _ = quantizer(latents())
    assert codes.shape == (20, 3)
    torch.testing.assert_close(total, quantizer.sum_of(codes))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "gumbel_softmax"])
def test_the_decoder_input_equals_the_sum_of_code_vectors(mode):
    quantized = quantizer_of(mode=mode)(latents())
    torch.testing.assert_close(quantized.decoder_input, quantized.total)


def test_at_temperature_zero_training_chooses_the_codes_of_a_greedy_search():
    for mode in MODES:
        quantizer = quantizer_of(mode=mode, n_beams=3)
        quantizer.temperature.zero_()
        found = quantizer.prepare_search(1).search(latents()).codes[:, 0]
        assert torch.equal(quantizer(latents()).codes, found), mode


class CountOperations(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def operations_of_a_step(quantizer):
    quantizer.train()
    with torch.no_grad(), CountOperations() as counter:
        quantizer(latents())
    return counter.count


def test_at_temperature_zero_no_biases_are_computed():
    balanced = quantizer_of(mode=SINKHORN)
    plain = quantizer_of(mode=QuantizeForwardMode.STE)
    assert operations_of_a_step(balanced) > operations_of_a_step(plain)
    for quantizer in (balanced, plain):
        quantizer.temperature.zero_()
    assert operations_of_a_step(balanced) == operations_of_a_step(plain)


def mean_error(quantizer, rows, codes):
    return (rows - quantizer.sum_of(codes)).square().sum(1).mean()


@pytest.mark.parametrize("seed", range(3))
def test_training_prefers_codes_whose_prefixes_are_near_the_latent(seed):
    quantizer = quantizer_of((8, 8, 8), n_beams=5, seed=seed)
    rows = latents(200)
    trained, searched = quantizer(rows).codes, quantizer.search(rows).codes[:, 0]
    for depth in (1, 2):
        of_training = mean_error(quantizer, rows, trained[:, :depth])
        assert of_training < mean_error(quantizer, rows, searched[:, :depth])
    assert mean_error(quantizer, rows, trained) > mean_error(quantizer, rows, searched)


def test_a_sinkhorn_level_uses_more_codes_in_training():
    quantizer = quantizer_of((8, 8), mode=SINKHORN)
    rows = latents(200) + 3
    n_used = [
        len(torch.unique(codes[:, 0]))
        for codes in (quantizer.search(rows).codes[:, 0], quantizer(rows).codes)
    ]
    assert n_used[0] < n_used[1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), n_beams=st.integers(1, 60))
def test_a_search_can_use_another_number_of_beams(seed, n_beams):
    wide = quantizer_of(n_beams=n_beams, seed=seed).search(latents())
    narrow = (
        quantizer_of(n_beams=1, seed=seed).prepare_search(n_beams).search(latents())
    )
    assert torch.equal(wide.codes, narrow.codes)


def test_no_level_increases_the_error_if_it_has_a_zero_code():
    quantizer = quantizer_of()
    for level in quantizer.levels:
        level.table.data[0] = 0
    codes = quantizer(latents()).codes
    prefixes = [codes[:, :depth] for depth in range(1, 4)]
    sums = torch.stack([quantizer.sum_of(prefix) for prefix in prefixes], dim=1)
    errors = (latents().unsqueeze(1) - sums).square().sum(-1)
    assert (errors.diff(dim=1) <= 1e-12).all()


def test_the_gradient_of_the_decoder_input_does_not_reach_the_codebooks():
    for mode in (STE, SINKHORN, QuantizeForwardMode.ROTATION_TRICK):
        quantizer = quantizer_of(mode=mode)
        quantizer(latents().requires_grad_()).decoder_input.sum().backward()
        assert all(level.table.grad is None for level in quantizer.levels), mode


def test_every_level_can_have_a_mode_of_its_own():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(
        [4] * 4, 3, modes=MODES, n_beams=2, normalize=False, sim_vq=False
    )
    rows = torch.randn(9, 3, requires_grad=True)
    quantizer(rows).decoder_input.sum().backward()
    assert torch.isfinite(rows.grad).all()
