"""What the data decide at the initialisation: codebooks, noise and learning rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import new_generator, small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._initialization.codebooks import (
    _leave_one_out_errors,
    initialize_codebooks,
    random_codes,
    unexplained_share,
)
from sk_rqvae._initialization.plan import (
    growth_of_unseen_residuals,
    noise_factor,
    number_of_epochs,
    number_of_experts,
    size_of_batches,
    usual_weight_decay,
)
from sk_rqvae._model.modes import QuantizeForwardMode
from sk_rqvae._model.residual_quantizer import ResidualQuantizer
from sk_rqvae._progress import no_progress
from sk_rqvae._training.initialize import initialize_quantizer


@given(
    st.lists(st.integers(1, 4096), min_size=1, max_size=8),
    st.integers(1, 10**9),
)
def test_the_growth_of_unseen_residuals_is_bounded(sizes, n_rows):
    assert 1 <= growth_of_unseen_residuals(sizes, n_rows) <= math.sqrt(math.e)


def test_residuals_of_unseen_rows_grow_less_if_there_are_more_rows():
    few, many = (
        growth_of_unseen_residuals([256] * 3, n_rows) for n_rows in (3600, 36000)
    )
    assert few > many > 1


def test_the_leave_one_out_error_is_measured_from_the_mean_of_the_others():
    codes = torch.tensor([[[0], [1]]] * 3)
    errors = torch.tensor([[1.0, 9.0]] * 3)
    expected = torch.full((3, 1), (3 / 2) ** 2)
    torch.testing.assert_close(_leave_one_out_errors(codes, errors), expected)


def test_a_row_alone_at_its_centre_has_the_leave_one_out_error_of_its_second_beam():
    codes = torch.tensor([[[0], [1]], [[1], [0]]])
    errors = torch.tensor([[0.0, 4.0], [0.0, 6.0]])
    # At least the mean of both rows, which is 5.
    expected = torch.tensor([[5.0], [6.0]])
    torch.testing.assert_close(_leave_one_out_errors(codes, errors), expected)


@given(st.integers(1, 10**8), st.integers(1, 10**8))
def test_more_rows_make_fewer_epochs_and_see_more_rows_in_all(one, other):
    fewer, more = sorted((one, other))
    assert 150 >= number_of_epochs(fewer) >= number_of_epochs(more) >= 1
    # An epoch more or less by rounding.
    assert (number_of_epochs(more) + 1) * more >= number_of_epochs(fewer) * fewer


@given(st.integers(1, 10**6), st.integers(1, 4096))
def test_batches_of_equal_size_make_no_more_steps(n_rows, most):
    size = size_of_batches(n_rows, most)
    n_steps = math.ceil(n_rows / size)
    assert 1 <= size <= most
    assert n_steps == math.ceil(n_rows / most)
    assert n_rows > (n_steps - 1) * size


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_weights_shrink_less_in_each_step_of_a_longer_fit_and_more_in_all(one, other):
    shorter, longer = sorted((one, other))
    assert usual_weight_decay(shorter) >= usual_weight_decay(longer) > 0
    total = [steps * usual_weight_decay(steps) for steps in (shorter, longer)]
    assert total[0] <= total[1] * (1 + 1e-12)


def test_weights_decay_by_the_steps_of_a_usual_fit_unless_told_otherwise(blobs):
    def decay(**options):
        parameters = {"max_epochs": 10, "batch_size": 24} | options
        net = small(**parameters).fit(blobs).net_
        return max(group["weight_decay"] for group in net.optimizer_.param_groups)

    steps = number_of_epochs(600) * 25
    assert decay() == decay(warm_start=True, max_epochs=1) == usual_weight_decay(steps)
    assert decay(weight_decay=0.3) == 0.3


@given(st.integers(1, 10**6), st.integers(1, 4096))
def test_no_expert_has_fewer_rows_than_hidden_units_unless_there_is_only_one(
    n_rows, width
):
    n_experts = number_of_experts(n_rows, width)
    assert 1 <= n_experts <= number_of_experts(None, width)
    assert n_experts == 1 or n_rows / n_experts >= width


def test_the_number_of_experts_follows_from_the_rows_unless_it_is_given(blobs):
    def n_experts(**options):
        parameters = {"hidden_dims": (16,), "max_epochs": 1} | options
        decoder = small(**parameters).fit(blobs[:100]).net_.module_.decoder
        return len(decoder.experts.centres)

    assert n_experts() == 100 // 16
    assert n_experts(n_experts=3) == 3


def test_the_standard_deviation_of_the_noise_is_proportional_to_its_parameter(blobs):
    def power(noise):
        module = (
            small(codebook_size=8, max_epochs=1, noise=noise).fit(blobs).net_.module_
        )
        x = torch.zeros(5000, module.n_features)
        return module.train()._add_noise(x).square().mean().item()

    assert power(0.5) == pytest.approx(4 * power(0.25), rel=0.05)
    assert power(0) == 0


def test_the_noise_factor_grows_with_the_unexplained_share_of_variance():
    factors = noise_factor(torch.tensor([0.0, 0.005, 0.05, 0.5, 0.7, 1.0]))
    assert factors[0] == 0
    assert factors[3] == 1
    assert (factors.diff() > 0).all()


@pytest.mark.parametrize("kmeans_init", [True, False])
def test_noise_has_the_power_of_the_initial_residuals(blobs, kmeans_init):
    # One epoch at a learning rate of almost zero does not change the initialisation.
    options = {"lr": 1e-12, "restart_dead_codes": False}
    estimator = small(max_epochs=1, codebook_kmeans_init=kmeans_init, **options)
    module = estimator.fit(blobs).net_.module_
    with torch.no_grad():
        latents = module.encode(module.standardize(torch.from_numpy(blobs).double()))
        codes = module.quantizer.search(latents).codes[:, 0]
        residuals = latents - module.quantizer.sum_of(codes)
        power = residuals.square().sum(1).mean()
        axes = module.decoder.linear.weight.T * (power / latents.shape[1]).sqrt()
    torch.testing.assert_close(module.noise_axes, axes, rtol=1e-3, atol=1e-5)


def test_noise_is_white_without_a_linear_path(blobs):
    module = small(linear_path=False, max_epochs=1).fit(blobs).net_.module_
    assert module.noise_axes.shape == (0, module.n_features)
    assert module.noise_scale > 0


def test_a_mean_that_all_latents_share_is_no_variance_that_codes_explain():
    latents = torch.randn(1000, 8, generator=new_generator())
    shares = [
        float(unexplained_share(torch.tensor(2.0), latents + mean)) for mean in (0, 10)
    ]
    assert shares[0] == pytest.approx(2 / 8, rel=0.1)
    assert shares[1] == pytest.approx(shares[0], rel=1e-3)


@pytest.mark.parametrize("linear_path", [True, False])
def test_the_noise_scale_follows_the_unexplained_share_with_and_without_a_linear_path(
    blobs, linear_path
):
    estimator = small(linear_path=linear_path, codebook_size=64, max_epochs=1)
    module = estimator.fit(blobs).net_.module_
    with torch.no_grad():
        latents = module.encode(module.standardize(torch.from_numpy(blobs).double()))
        unexplained = initialize_quantizer(
            module,
            latents,
            kmeans_init=True,
            growth=0.7,
            generator=new_generator(),
            on_progress=no_progress,
        )
    factor = float(noise_factor(torch.tensor(unexplained)))
    residual_norm = 1 if linear_path else math.sqrt(unexplained)
    assert factor < 1
    assert module.noise_scale == pytest.approx(0.7 * factor * residual_norm)


def test_the_decoder_mirrors_the_encoder_unless_told_otherwise(blobs):
    def widths(**options):
        parameters = {"hidden_dims": (6, 5), "max_epochs": 1} | options
        *hidden, _ = small(**parameters).fit(blobs).net_.module_.decoder.mlp
        return [layer.out_features for layer in hidden if hasattr(layer, "weight")]

    assert widths() == widths(linear_path=False) == [5, 6]
    assert widths(decoder_hidden_dims=(7,)) == [7]


def test_experts_can_be_the_whole_decoder_beside_the_linear_path(blobs):
    options = {"decoder_hidden_dims": (), "n_experts": 2, "max_epochs": 1}
    decoder = small(**options).fit(blobs).net_.module_.decoder
    assert decoder.mlp is None
    assert len(decoder.experts.centres) == 2


def test_an_exact_initialisation_is_kept(blobs):
    rows = blobs[:8]
    estimator = small(codebook_size=16, max_epochs=None).fit(rows)
    assert estimator.n_iter_ == 1
    assert estimator.score(rows) > 1 - 1e-4


@pytest.mark.parametrize("seed", range(30))
def test_fewer_rows_than_codes_are_kept_exactly_whatever_the_seed(seed):
    rows = np.eye(4)
    estimator = small(codebook_size=8, max_epochs=1, random_state=seed).fit(rows)
    assert estimator.score(rows) > 1 - 1e-4


def test_epochs_that_are_asked_for_leave_an_exact_initialisation_as_it_is(blobs):
    rows = blobs[:8]
    estimator = small(codebook_size=16, max_epochs=3).fit(rows)
    assert estimator.n_iter_ == 3
    assert estimator.score(rows) > 1 - 1e-4


def test_every_beam_is_clustered_if_there_are_few_rows(monkeypatch):
    n_points = []

    def count(points, n_clusters, **options):
        n_points.append(len(points))
        return points[:n_clusters]

    monkeypatch.setattr("sk_rqvae._initialization.codebooks.progressive_kmeans", count)
    quantizer = ResidualQuantizer(
        [8, 8],
        4,
        modes=[QuantizeForwardMode.STE] * 2,
        n_beams=4,
        normalize=False,
        sim_vq=False,
    )

    def points_per_row(n_rows):
        n_points.clear()
        rows = torch.randn(n_rows, 4, generator=new_generator())
        with torch.no_grad():
            initialize_codebooks(
                quantizer, rows, kmeans_init=True, generator=new_generator()
            )
        return n_points[1] / n_rows

    assert points_per_row(16) == quantizer.n_beams
    assert points_per_row(64) < quantizer.n_beams


@pytest.mark.parametrize("dim", [2, 64])
def test_random_codes_have_the_length_of_least_error(dim):
    points = torch.randn(2000, dim, generator=new_generator())
    codes = random_codes(points, 32, new_generator())
    others = points[32:]
    # Points are assigned to the codes before these are rescaled.
    at_full_length = codes * (points[:32].norm() / codes.norm())
    nearest = torch.cdist(others, at_full_length).argmin(1)

    def error(times):
        return (others - times * codes[nearest]).square().sum()

    assert error(1.0) < min(error(0.95), error(1.05))
    assert error(1.0) < others.square().sum()


def test_random_codes_are_the_points_if_there_are_no_others():
    points = torch.randn(5, 3)
    codes = random_codes(points, 8, new_generator())
    assert {tuple(row) for row in codes.tolist()} == {
        tuple(row) for row in points.tolist()
    }


def test_random_codes_of_zeros_are_zeros():
    assert not random_codes(torch.zeros(20, 3), 4, new_generator()).any()
