from __future__ import annotations

import pytest
import torch
from conftest import new_generator
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.codebook import Codebook
from sk_rqvae._model.residual_quantizer import ResidualQuantizer
from sk_rqvae._training.dead_codes import (
    count_idle_rows,
    restart_dead_codes,
    worth_replacing,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_a_plain_codebook_has_its_table_as_vectors():
    level = Codebook(6, 4)
    assert torch.equal(level.vectors(), level.table)
    assert torch.equal(level.codes(), level.table)


@pytest.mark.parametrize("sim_vq", [False, True])
def test_a_codebook_takes_the_vectors_it_is_given(sim_vq):
    level = Codebook(6, 4, sim_vq=sim_vq)
    if sim_vq:
        level.projection.weight.data.copy_(torch.randn(4, 4))
    vectors = torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.vectors().detach(), vectors)


@pytest.mark.parametrize("sim_vq", [False, True])
def test_a_normalised_codebook_has_unit_codes_and_one_gain(sim_vq):
    level = Codebook(6, 4, normalize=True, sim_vq=sim_vq)
    vectors = 3 * torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.codes().norm(dim=1), torch.ones(6))
    torch.testing.assert_close(
        level.codes(), torch.nn.functional.normalize(vectors, dim=1)
    )
    torch.testing.assert_close(level.gain, vectors.norm(dim=1).mean())
    torch.testing.assert_close(level.vectors(), level.gain * level.codes())


def test_a_normalised_codebook_of_vectors_without_length_is_finite():
    level = Codebook(6, 4, normalize=True)
    level.set_vectors(torch.zeros(6, 4))
    level.vectors().sum().backward()
    assert torch.isfinite(level.vectors()).all()
    assert torch.isfinite(level.table.grad).all()


def test_a_gradient_to_one_code_of_a_plain_codebook_moves_that_code_alone():
    level = Codebook(6, 4)
    level.vectors()[2].sum().backward()
    assert level.table.grad[2].abs().min() > 0
    assert level.table.grad[[0, 1, 3, 4, 5]].abs().max() == 0


def test_a_gradient_to_one_code_behind_a_map_moves_all_of_them():
    level = Codebook(6, 4, sim_vq=True)
    before = level.vectors().detach()
    level.vectors()[2].sum().backward()
    assert level.table.grad is None
    with torch.no_grad():
        level.projection.weight -= level.projection.weight.grad
    assert ((level.vectors() - before).abs().amax(1) > 0).all()


def test_only_the_map_of_a_sim_vq_codebook_is_trained():
    level = Codebook(6, 4, sim_vq=True)
    trained = [name for name, p in level.named_parameters() if p.requires_grad]
    assert trained == ["projection.weight"]


def test_the_map_starts_as_the_identity():
    level = Codebook(6, 4, sim_vq=True)
    torch.testing.assert_close(level.vectors(), level.table)


@pytest.mark.parametrize("options", [{}, {"sim_vq": True}, {"normalize": True}])
def test_replacing_some_codes_leaves_the_others(options):
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


def test_a_map_that_lost_a_dimension_takes_the_nearest_vectors_it_can_have():
    level = Codebook(6, 4, sim_vq=True)
    level.projection.weight.data[3] = 0
    vectors = torch.randn(6, 4)
    level.set_vectors(vectors)
    torch.testing.assert_close(level.vectors()[:, :3].detach(), vectors[:, :3])
    assert level.vectors()[:, 3].abs().max() == 0


def two_levels(**options):
    return ResidualQuantizer(
        [4, 3],
        5,
        modes=[QuantizeForwardMode.STE] * 2,
        **{"n_beams": 1, "normalize": False, "sim_vq": False} | options,
    )


def test_dead_codes_become_residuals_of_rows_and_the_rest_stay():
    quantizer, latents = two_levels(), torch.randn(50, 5)
    tables = [level.table.detach().clone() for level in quantizer.levels]
    first = quantizer.search(latents).codes[:, 0, 0]
    residuals = latents - tables[0][first]
    dead = torch.tensor([9, 0, 1, 0, 5, 0, 5]) == 0
    assert restart_dead_codes(quantizer, dead, latents, new_generator()) == [2, 1]
    now = [level.table.detach() for level in quantizer.levels]
    assert torch.equal(now[0][[0, 2]], tables[0][[0, 2]])
    assert torch.equal(now[1][[0, 2]], tables[1][[0, 2]])
    for code in (1, 3):
        assert (now[0][code] == latents).all(1).any()
    assert torch.cdist(now[1][[1]], residuals).min() < 1e-5


def test_nothing_is_restarted_where_no_code_is_dead():
    quantizer = two_levels()
    before = [level.table.detach().clone() for level in quantizer.levels]
    dead = torch.zeros(7, dtype=torch.bool)
    assert restart_dead_codes(quantizer, dead, torch.randn(50, 5), new_generator()) == [
        0,
        0,
    ]
    for level, table in zip(quantizer.levels, before, strict=True):
        assert torch.equal(level.table, table)


def test_a_code_is_dead_once_sixteen_rows_for_each_code_passed_it_by():
    quantizer = two_levels()
    unused, used = torch.tensor([9, 0, 1, 4, 5, 0, 5]), torch.ones(7)
    seen = [
        count_idle_rows(quantizer, counts, 30).nonzero().flatten().tolist()
        for counts in (unused, unused, unused, used, unused)
    ]
    # Of four codes after 64 rows, of three after 48.
    assert seen == [[], [5], [1, 5], [], []]


def test_a_code_that_was_replaced_is_given_time_again():
    quantizer, counts = two_levels(), torch.tensor([9, 0, 1, 4, 5, 3, 5])
    dead = count_idle_rows(quantizer, counts, 64)
    assert restart_dead_codes(quantizer, dead, torch.randn(50, 5), new_generator()) == [
        1,
        0,
    ]
    assert not count_idle_rows(quantizer, counts, 63).any()
    assert count_idle_rows(quantizer, counts, 1).nonzero().item() == 1


@pytest.mark.parametrize(
    ("n_fitted", "expected"), [(12, [0, 2, 3, 5]), (9, [0, 2, 5]), (6, [0]), (2, [])]
)
def test_dead_codes_are_replaced_while_there_are_three_rows_for_each(
    n_fitted, expected
):
    dead = torch.tensor([1, 0, 1, 1, 0, 1, 0], dtype=torch.bool)
    replaced = worth_replacing(dead, [4, 3], n_fitted)
    assert replaced.nonzero().flatten().tolist() == expected


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=4),
    st.integers(0, 60),
)
def test_replacing_dead_codes_never_takes_more_rows_than_there_are(levels, n_fitted):
    sizes = [len(level) for level in levels]
    dead = torch.tensor([code for level in levels for code in level])
    replaced = worth_replacing(dead, sizes, n_fitted)
    assert not (replaced & ~dead).any()
    for codes, level in zip(replaced.split(sizes), dead.split(sizes), strict=True):
        n_in_use = int((~level).sum())
        room = max(0, n_fitted // 3 - n_in_use)
        assert int(codes.sum()) == min(room, int(level.sum()))


@pytest.mark.parametrize("options", [{"sim_vq": True}, {"normalize": True}])
def test_a_restarted_code_is_finite_in_any_kind_of_codebook(options):
    quantizer = two_levels(**options)
    dead = torch.tensor([0, 0, 0, 1, 0, 0, 1]) == 0
    assert restart_dead_codes(quantizer, dead, torch.randn(2, 5), new_generator()) == [
        3,
        2,
    ]
    for vectors in quantizer.codebooks():
        assert torch.isfinite(vectors).all()
