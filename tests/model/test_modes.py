from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch.autograd.functional import jacobian

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.commitment import angular_commitment, squared_commitment
from sk_rqvae._model.distances import squared_distances
from sk_rqvae._model.gradient_estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from sk_rqvae._model.residual_quantizer import ResidualQuantizer
from sk_rqvae._model.sinkhorn import EPSILON, RELAXATIONS, sinkhorn_biases

MODES = list(QuantizeForwardMode)
ONE_HALF = torch.tensor(0.5, dtype=torch.float64)
SEEDS = st.integers(0, 2**16)


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def row_jacobian(estimate, residual, chosen):
    """The Jacobian of one row's estimate with respect to its residual, float64."""
    codebook = chosen.unsqueeze(0)

    def of_one_row(row):
        batch = row.unsqueeze(0), chosen.unsqueeze(0)
        return estimate(*batch, codebook, ONE_HALF).squeeze(0)

    return jacobian(of_one_row, residual)


def rotation_matrix(residual, chosen):
    """Equation 4 of arXiv:2410.06424 written out: norm ratio times rotation."""
    e, q = residual / residual.norm(), chosen / chosen.norm()
    r = (e + q) / (e + q).norm()
    eye = torch.eye(len(e), dtype=e.dtype)
    ratio = chosen.norm() / residual.norm()
    return ratio * (eye - 2 * torch.outer(r, r) + 2 * torch.outer(q, e))


def quantizer_of(modes, dim, sizes=None, **options):
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(
        sizes or [4] * len(modes),
        dim,
        modes=modes,
        **{"n_beams": 1, "normalize": False, "sim_vq": False} | options,
    )
    return quantizer.double()


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, dim=st.integers(1, 6))
def test_straight_through_has_the_identity_as_its_jacobian(seed, dim):
    residual, chosen = draw(seed, 2, dim)
    assert torch.equal(
        row_jacobian(straight_through, residual, chosen),
        torch.eye(dim, dtype=torch.float64),
    )


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, dim=st.integers(2, 6), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_the_rotation_trick_has_the_papers_matrix_as_its_jacobian(seed, dim, scale):
    residual, chosen = draw(seed, 2, dim)
    chosen = scale * chosen
    matrix = rotation_matrix(residual, chosen)
    torch.testing.assert_close(
        row_jacobian(rotation_trick, residual, chosen), matrix, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(matrix @ residual, chosen)


def test_the_rotation_trick_keeps_angles_up_to_the_ratio_of_norms():
    residual, chosen = draw(3, 2, 5)
    matrix = row_jacobian(rotation_trick, residual, chosen)
    ratio = chosen.norm() / residual.norm()
    torch.testing.assert_close(
        matrix.T @ matrix, ratio**2 * torch.eye(5, dtype=torch.float64)
    )
    assert torch.linalg.det(matrix) > 0


def test_the_rotation_trick_of_a_zero_residual_has_the_identity_as_its_jacobian():
    chosen = draw(0, 4)
    zero = torch.zeros(4, dtype=torch.float64)
    assert torch.equal(
        row_jacobian(rotation_trick, zero, chosen), torch.eye(4, dtype=torch.float64)
    )
    value = rotation_trick(zero[None], chosen[None], chosen[None], ONE_HALF)
    assert torch.equal(value, chosen[None])


def test_the_rotation_trick_of_a_zero_code_is_finite():
    residual = draw(0, 4)
    zero = torch.zeros(4, dtype=torch.float64)
    assert torch.isfinite(row_jacobian(rotation_trick, residual, zero)).all()
    value = rotation_trick(residual[None], zero[None], zero[None], ONE_HALF)
    torch.testing.assert_close(value, zero[None])


def test_the_rotation_trick_of_opposite_vectors_is_a_reflection():
    residual = draw(0, 4)
    chosen = -2 * residual
    unit = residual / residual.norm()
    expected = 2 * (torch.eye(4, dtype=torch.float64) - 2 * torch.outer(unit, unit))
    torch.testing.assert_close(row_jacobian(rotation_trick, residual, chosen), expected)


def test_the_rotation_trick_of_equal_vectors_is_the_identity():
    residual = draw(0, 4)
    torch.testing.assert_close(
        row_jacobian(rotation_trick, residual, residual),
        torch.eye(4, dtype=torch.float64),
    )


@pytest.mark.parametrize(
    # Gumbel-Softmax takes its noise and its variance from the batch.
    "mode",
    [mode for mode in MODES if mode is not QuantizeForwardMode.GUMBEL_SOFTMAX],
)
def test_the_estimate_of_a_row_does_not_depend_on_its_batch(mode):
    residual, chosen = draw(1, 6, 3), draw(2, 6, 3)
    together = mode.rule.estimate(residual, chosen, chosen, ONE_HALF)
    alone = [
        mode.rule.estimate(residual[row, None], chosen[row, None], chosen, ONE_HALF)
        for row in range(6)
    ]
    assert together.shape == (6, 3)
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n_rows", [1, 2])
def test_a_batch_of_one_keeps_its_shape_and_has_a_finite_gradient(mode, n_rows):
    residual = draw(1, n_rows, 3).requires_grad_()
    codebook = draw(2, 5, 3)
    estimate = mode.rule.estimate(residual, codebook[:n_rows], codebook, ONE_HALF)
    assert estimate.shape == (n_rows, 3)
    estimate.square().sum().backward()
    assert torch.isfinite(residual.grad).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_rows_on_their_code_have_finite_estimates_and_gradients(mode, dtype):
    residual = torch.ones(4, 3, dtype=dtype, requires_grad=True)
    codebook = torch.ones(2, 3, dtype=dtype)
    temperature = torch.ones((), dtype=dtype)
    estimate = mode.rule.estimate(residual, residual.detach(), codebook, temperature)
    estimate.sum().backward()
    torch.testing.assert_close(estimate, torch.ones(4, 3, dtype=dtype))
    assert torch.isfinite(residual.grad).all()
    code_bias = mode.rule.code_bias
    if code_bias is not None:
        assert torch.isfinite(code_bias(squared_distances(residual, codebook))).all()


@pytest.mark.parametrize(
    "mode",
    [
        QuantizeForwardMode.STE,
        QuantizeForwardMode.ROTATION_TRICK,
        QuantizeForwardMode.SINKHORN,
    ],
)
def test_the_value_of_the_estimate_is_the_chosen_code(mode):
    residual, chosen = draw(1, 20, 3), draw(2, 20, 3)
    torch.testing.assert_close(
        mode.rule.estimate(residual, chosen, chosen, ONE_HALF), chosen
    )


def gumbel_weights(residual, chosen, codebook):
    """The weights by their formula, in NumPy, at temperature one half and seed 9."""
    torch.manual_seed(9)
    uniform = torch.rand(len(residual), len(codebook), dtype=residual.dtype).numpy()
    noise = -np.log(-np.log(uniform))
    r, c, codes = residual.numpy(), chosen.numpy(), codebook.numpy()
    distances = np.square(r[:, None] - codes).sum(-1)
    logits = -distances / (2 * np.square(r - c).mean())
    scores = logits / 0.5 + noise
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def test_gumbel_softmax_averages_the_codes_with_the_weights_of_its_formula():
    residual, codebook = draw(1, 7, 3), draw(2, 5, 3)
    chosen = codebook[squared_distances(residual, codebook).argmin(1)]
    weights = gumbel_weights(residual, chosen, codebook)
    torch.manual_seed(9)
    mixed = gumbel_softmax(residual, chosen, codebook, ONE_HALF)
    np.testing.assert_allclose(mixed.numpy(), weights @ codebook.numpy())


def test_gumbel_softmax_adds_a_straight_through_gradient_to_that_of_its_softmax():
    """With weight one half at a temperature of one half."""
    residual, codebook = draw(1, 1, 3), draw(2, 5, 3)
    chosen = codebook[squared_distances(residual, codebook).argmin(1)]
    weights = gumbel_weights(residual, chosen, codebook)[0]
    variance = np.square((residual - chosen).numpy()).mean()
    slopes = -(residual.numpy() - codebook.numpy()) / (variance * 0.5)
    spread = np.diag(weights) - np.outer(weights, weights)
    expected = codebook.numpy().T @ spread @ slopes + 0.5 * np.eye(3)

    def of_row(row):
        torch.manual_seed(9)
        return gumbel_softmax(row[None], chosen, codebook, ONE_HALF)[0]

    np.testing.assert_allclose(jacobian(of_row, residual[0]).numpy(), expected)


def test_the_gradient_of_gumbel_softmax_reaches_all_codes():
    residual, codebook = draw(1, 4, 3), draw(2, 5, 3).requires_grad_()
    chosen = draw(3, 4, 3)

    def of_codebook(codebook):
        torch.manual_seed(9)
        return gumbel_softmax(residual, chosen, codebook, ONE_HALF)

    assert torch.autograd.gradcheck(of_codebook, codebook)
    of_codebook(codebook).sum().backward()
    assert (codebook.grad.abs().amax(1) > 0).all()


def test_gumbel_softmax_at_temperature_zero_gives_the_nearest_code():
    codebook = 10 * torch.eye(6, dtype=torch.float64)
    nearest = torch.arange(6).repeat(50)
    residual = codebook[nearest] + draw(1, 300, 6)
    zero = torch.zeros((), dtype=torch.float64)
    mixed = gumbel_softmax(residual, codebook[nearest], codebook, zero)
    torch.testing.assert_close(mixed, codebook[nearest], atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
@pytest.mark.parametrize("sign", [1, -1])
def test_gumbel_softmax_of_rows_on_their_codes_is_finite_at_any_scale(scale, sign):
    codebook = scale * torch.stack([torch.ones(8), sign * 2 * torch.ones(8)])
    codebook.requires_grad_()
    residual = codebook.detach().repeat(3, 1).requires_grad_()
    chosen, one = residual.detach(), torch.ones(())
    mixed = gumbel_softmax(residual, chosen, codebook, one)
    torch.testing.assert_close(mixed, chosen, rtol=1e-5, atol=1e-5 * scale)
    mixed.sum().backward()
    assert torch.isfinite(residual.grad).all()
    assert torch.isfinite(codebook.grad).all()


def test_gumbel_softmax_prefers_each_code_as_often_as_its_probability():
    """Counted by the largest weight, at temperature one."""
    codebook = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    residual = torch.full((20_000, 1), 0.25, dtype=torch.float64)
    chosen = torch.zeros_like(residual)
    torch.manual_seed(0)
    mixed = gumbel_softmax(
        residual, chosen, codebook, torch.ones((), dtype=residual.dtype)
    )
    # Logits are -d / (2 sigma^2), distances 1/16 and 9/16, and sigma^2 = 1/16.
    probability = 1 / (1 + np.exp(4))
    assert (mixed > 0.5).double().mean().item() == pytest.approx(probability, abs=5e-3)


def soft_shares(distances):
    """Share of the soft assignment's mass on each code."""
    biases = sinkhorn_biases(distances)
    spread = (distances.mean(1) - distances.amin(1)).mean()
    weights = torch.softmax((biases - distances) / (EPSILON * spread), dim=1)
    return weights.mean(0)


@settings(max_examples=30, deadline=None)
@given(
    seed=SEEDS,
    n_codes=st.integers(8, 256),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_sinkhorn_spreads_a_batch_evenly_over_the_codes(seed, n_codes, dtype):
    points, codebook = (
        draw(seed, 512, 8).to(dtype),
        draw(seed + 1, n_codes, 8).to(dtype),
    )
    shares = soft_shares(squared_distances(points, codebook))
    deviations = (shares * n_codes - 1).abs()
    assert deviations.max() < 0.2
    assert deviations.quantile(0.9) < 0.1


def plain_sinkhorn(distances, n_iterations):
    """Sinkhorn without over-relaxation; biases with mean zero."""
    d = distances.numpy()
    epsilon = EPSILON * (d.mean(1) - d.min(1)).mean()
    biases = np.zeros(d.shape[1])
    for _ in range(n_iterations):
        rows = logsumexp((biases - d) / epsilon, axis=1, keepdims=True)
        biases = -epsilon * logsumexp(-d / epsilon - rows, axis=0)
    return biases - biases.mean()


@pytest.mark.parametrize("n_codes", [16, 64])
def test_over_relaxation_is_more_accurate_than_as_many_plain_iterations(n_codes):
    distances = squared_distances(draw(0, 256, 8), draw(1, n_codes, 8))
    solution = plain_sinkhorn(distances, 200)
    biases = sinkhorn_biases(distances).numpy()
    error = np.abs(biases - biases.mean() - solution).max()
    assert error < 0.05 * np.ptp(solution)
    n_iterations = 2 * len(RELAXATIONS) + 1
    plain = plain_sinkhorn(distances, n_iterations)
    assert error < np.abs(plain - solution).max() / 3


def test_sinkhorn_makes_rows_use_codes_that_are_far_from_all_of_them():
    codebook = torch.cat([draw(1, 60, 8), 100 * draw(2, 4, 8)])
    distances = squared_distances(draw(0, 512, 8), codebook).float()
    shares = soft_shares(distances)
    assert (shares * 64 - 1).abs().max() < 0.2


def test_sinkhorn_spreads_rows_that_all_have_the_same_nearest_code():
    points = 0.1 * draw(0, 512, 4) + 1
    codebook = torch.cat([torch.ones(1, 4), 1 + torch.eye(4)]).double()
    distances = squared_distances(points, codebook)
    assert (distances.argmin(1) == 0).all()
    chosen = (distances - sinkhorn_biases(distances)).argmin(1)
    counts = torch.bincount(chosen, minlength=5)
    assert (counts / 512 * 5 - 1).abs().max() < 0.3


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6])
def test_sinkhorn_biases_scale_with_the_distances(scale):
    distances = squared_distances(draw(0, 64, 4), draw(1, 8, 4))
    torch.testing.assert_close(
        sinkhorn_biases(scale * distances), scale * sinkhorn_biases(distances)
    )


@pytest.mark.parametrize("shape", [(1, 8), (3, 8), (8, 1), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sinkhorn_is_finite_for_any_number_of_rows_and_codes(shape, dtype):
    for distances in (torch.rand(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)):
        biases = sinkhorn_biases(distances)
        assert biases.shape == shape[1:]
        assert biases.dtype == dtype
        assert torch.isfinite(biases).all()


@pytest.mark.parametrize("n_levels", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "mode", [QuantizeForwardMode.STE, QuantizeForwardMode.SINKHORN]
)
def test_straight_through_levels_together_have_the_identity_as_their_jacobian(
    mode, n_levels
):
    quantizer = quantizer_of([mode] * n_levels, dim=3)
    found = jacobian(lambda z: quantizer(z[None]).decoder_input[0], draw(0, 3))
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64))


def test_the_rotation_trick_rotates_the_residual_of_each_level_onto_its_code():
    """The Jacobian is ``I - (I - J_3) (I - J_2) (I - J_1)``."""
    quantizer = quantizer_of([QuantizeForwardMode.ROTATION_TRICK] * 3, dim=3)
    residual = latent = draw(0, 3)
    eye = product = torch.eye(3, dtype=torch.float64)
    codes = quantizer(latent[None]).codes[0]
    for codebook, code in zip(quantizer.codebooks(), codes, strict=True):
        chosen = codebook[code].detach()
        product = (eye - rotation_matrix(residual, chosen)) @ product
        residual = residual - chosen
    found = jacobian(lambda z: quantizer(z[None]).decoder_input[0], latent)
    torch.testing.assert_close(found, eye - product)


@pytest.mark.parametrize("n_rotation_levels", [1, 2])
def test_a_straight_through_level_makes_the_jacobian_of_the_stack_the_identity(
    n_rotation_levels,
):
    modes = [QuantizeForwardMode.ROTATION_TRICK] * n_rotation_levels
    modes.append(QuantizeForwardMode.STE)
    latent = draw(0, 3)
    found = jacobian(
        lambda z: quantizer_of(modes, dim=3)(z[None]).decoder_input[0], latent
    )
    torch.testing.assert_close(found, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_of_the_sum_reaches_exactly_the_chosen_codes(mode):
    quantizer = quantizer_of([mode] * 2, dim=3)
    quantized = quantizer(draw(0, 5, 3))
    quantized.total.sum().backward()
    for level, codes in zip(quantizer.levels, quantized.codes.T, strict=True):
        counts = torch.bincount(codes, minlength=level.size).double()
        torch.testing.assert_close(level.table.grad, counts.unsqueeze(1).expand(-1, 3))


def test_a_mode_equals_its_string_and_survives_a_pickle():
    for mode in MODES:
        assert mode == mode.value
        assert QuantizeForwardMode(mode.value) is mode
        assert pickle.loads(pickle.dumps(mode)) is mode


def test_the_angular_commitment_rotates_latents_and_keeps_their_norms():
    latents, chosen = draw(1, 6, 4).requires_grad_(), draw(2, 6, 4)
    angular_commitment(latents, chosen).backward()
    along = (latents.grad * latents).sum(1).detach()
    torch.testing.assert_close(along, torch.zeros(6, dtype=along.dtype))
    turned = (latents - 1e-3 * latents.grad).detach()
    before = torch.cosine_similarity(latents, chosen)
    assert (torch.cosine_similarity(turned, chosen) > before).all()


@given(SEEDS)
def test_the_angular_commitment_is_at_most_the_squared_one(seed):
    latents, chosen = draw(seed, 6, 4), draw(seed + 1, 6, 4)
    squared = squared_commitment(latents, chosen)
    assert 0 <= angular_commitment(latents, chosen) <= squared * (1 + 1e-6)
