from __future__ import annotations

import pytest
import torch

from sk_rqvae._model.codebook import Codebook


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_vectors_of_a_plain_codebook_are_its_table():
    level = Codebook(6, 4)
    assert torch.equal(level.vectors(), level.table)
    assert torch.equal(level.codes(), level.table)


def test_a_linear_map_of_codes_has_full_precision_whatever_a_program_sets():
    level = Codebook(300, 40, sim_vq=True).eval()
    weight = level.projection.weight.data.copy_(torch.randn(40, 40))
    torch.set_float32_matmul_precision("high")
    try:
        vectors = level.vectors()
    finally:
        torch.set_float32_matmul_precision("highest")
    exact = level.table.double() @ weight.T.double()
    assert torch.equal(vectors, exact.float())


@pytest.mark.parametrize("sim_vq", [False, True])
def test_a_codebook_has_the_vectors_that_were_set(sim_vq):
    level = Codebook(6, 4, sim_vq=sim_vq)
    if sim_vq:
        level.projection.weight.data.copy_(torch.randn(4, 4))
    vectors = torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.vectors().detach(), vectors)


@pytest.mark.parametrize("sim_vq", [False, True])
def test_a_normalised_codebook_has_unit_codes_and_the_mean_norm_as_its_gain(sim_vq):
    level = Codebook(6, 4, normalize=True, sim_vq=sim_vq)
    vectors = 3 * torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.codes().norm(dim=1), torch.ones(6))
    torch.testing.assert_close(
        level.codes(), torch.nn.functional.normalize(vectors, dim=1)
    )
    torch.testing.assert_close(level.gain, vectors.norm(dim=1).mean())
    torch.testing.assert_close(level.vectors(), level.gain * level.codes())


def test_a_normalised_codebook_of_zero_vectors_is_finite():
    level = Codebook(6, 4, normalize=True)
    level.set_vectors(torch.zeros(6, 4))
    level.vectors().sum().backward()
    assert torch.isfinite(level.vectors()).all()
    assert torch.isfinite(level.table.grad).all()


def test_the_gradient_of_one_code_moves_only_this_code_of_a_plain_codebook():
    level = Codebook(6, 4)
    level.vectors()[2].sum().backward()
    assert level.table.grad[2].abs().min() > 0
    assert level.table.grad[[0, 1, 3, 4, 5]].abs().max() == 0


def test_the_gradient_of_one_code_moves_all_codes_of_a_sim_vq_codebook():
    level = Codebook(6, 4, sim_vq=True)
    before = level.vectors().detach()
    level.vectors()[2].sum().backward()
    assert level.table.grad is None
    with torch.no_grad():
        level.projection.weight -= level.projection.weight.grad
    assert ((level.vectors() - before).abs().amax(1) > 0).all()


def test_training_changes_only_the_linear_map_of_a_sim_vq_codebook():
    level = Codebook(6, 4, sim_vq=True)
    trained = [name for name, p in level.named_parameters() if p.requires_grad]
    assert trained == ["projection.weight"]


def test_the_linear_map_of_sim_vq_is_initialised_as_the_identity():
    level = Codebook(6, 4, sim_vq=True)
    torch.testing.assert_close(level.vectors(), level.table)


@pytest.mark.parametrize("options", [{}, {"sim_vq": True}, {"normalize": True}])
def test_replacing_some_codes_does_not_change_the_others(options):
    level = Codebook(6, 4, **options)
    if level.projection is not None:
        level.projection.weight.data.copy_(torch.randn(4, 4))
    before = level.vectors().detach()
    where = torch.tensor([True, False, False, True, False, False])
    new = torch.randn(2, 4)
    level.replace(where, new)
    torch.testing.assert_close(level.vectors()[~where].detach(), before[~where])
    expected = torch.nn.functional.normalize(new, dim=1) if level.normalize else new
    torch.testing.assert_close(level.codes()[where].detach(), expected)


def test_a_singular_linear_map_approximates_the_vectors_that_were_set():
    level = Codebook(6, 4, sim_vq=True)
    level.projection.weight.data[3] = 0
    vectors = torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.vectors()[:, :3].detach(), vectors[:, :3])
    assert level.vectors()[:, 3].abs().max() == 0
