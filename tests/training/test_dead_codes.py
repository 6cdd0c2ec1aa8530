from __future__ import annotations

import pytest
import torch
from conftest import new_generator
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae import QuantizeForwardMode
from sk_rqvae._model.residual_quantizer import ResidualQuantizer
from sk_rqvae._training.dead_codes import (
    dead_codes_after_epoch,
    restart_dead_codes,
    worth_replacing,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def two_levels(**options):
    return ResidualQuantizer(
        [4, 3],
        5,
        modes=[QuantizeForwardMode.STE] * 2,
        **{"n_beams": 1, "normalize": False, "sim_vq": False} | options,
    )


def test_dead_codes_alone_are_replaced_by_residuals_of_rows():
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


def test_replaced_codes_are_residuals_of_the_greedy_search_that_training_uses():
    quantizer, latents = two_levels(n_beams=5), torch.randn(50, 5)
    first = quantizer.prepare_search(1).search(latents).codes[:, 0, 0]
    assert not torch.equal(first, quantizer.search(latents).codes[:, 0, 0])
    residuals = latents - quantizer.levels[0].table.detach()[first]
    dead = torch.tensor([9, 9, 1, 4, 0, 0, 0]) == 0
    restart_dead_codes(quantizer, dead, latents, new_generator())
    now = quantizer.levels[1].table.detach()
    for code in now:
        assert torch.isclose(code, residuals, atol=1e-5).all(1).any()


def test_a_restarted_level_does_not_change_the_residuals_of_the_next():
    quantizer, latents = two_levels(), torch.randn(50, 5)
    first = quantizer.codebooks()[0].detach().clone()
    codes = quantizer.search(latents).codes[:, 0, 0]
    dead = torch.ones(7, dtype=torch.bool)
    assert restart_dead_codes(quantizer, dead, latents, new_generator()) == [4, 3]
    residuals = latents - first[codes]
    for vector in quantizer.codebooks()[1]:
        assert (residuals - vector).abs().amax(1).min() < 1e-6


def test_without_dead_codes_nothing_is_restarted():
    quantizer = two_levels()
    before = [level.table.detach().clone() for level in quantizer.levels]
    dead = torch.zeros(7, dtype=torch.bool)
    assert restart_dead_codes(quantizer, dead, torch.randn(50, 5), new_generator()) == [
        0,
        0,
    ]
    for level, table in zip(quantizer.levels, before, strict=True):
        assert torch.equal(level.table, table)


UNUSED = torch.tensor([9, 0, 1, 4, 5, 0, 5])
"""Counts of the codes of both levels in an epoch in which one of each was not used."""


def epochs_until_dead(quantizer, n_rows):
    """For each level, how many epochs its unused code may stay unused."""
    epochs = {}
    for epoch in range(1, 1000):
        dead = dead_codes_after_epoch(quantizer, UNUSED, n_rows)
        for code in dead.nonzero().flatten():
            epochs.setdefault(int(code), epoch)
        if len(epochs) == 2:
            return epochs[1], epochs[5]
    raise AssertionError("No code was ever dead.")


def test_a_code_is_dead_sooner_in_a_smaller_codebook_and_with_more_rows():
    of_four_codes, of_three_codes = epochs_until_dead(two_levels(), n_rows=4)
    assert of_four_codes > of_three_codes > 1
    with_more_rows = epochs_until_dead(two_levels(), n_rows=40)
    assert max(with_more_rows) < of_three_codes


def test_a_code_that_is_used_again_is_not_dead():
    quantizer = two_levels()
    epochs_until_dead(quantizer, n_rows=30)
    assert not dead_codes_after_epoch(quantizer, torch.ones(7), 30).any()
    assert not dead_codes_after_epoch(quantizer, UNUSED, 1).any()


def test_a_restarted_code_may_stay_unused_as_long_as_a_new_one():
    quantizer = two_levels()
    time = epochs_until_dead(quantizer, n_rows=1)
    dead = dead_codes_after_epoch(quantizer, UNUSED, 1)
    assert restart_dead_codes(quantizer, dead, torch.randn(50, 5), new_generator()) == [
        1,
        1,
    ]
    assert epochs_until_dead(quantizer, n_rows=1) == time


def test_all_dead_codes_are_replaced_if_there_are_many_rows_and_none_if_few():
    dead = torch.tensor([1, 0, 1, 1, 0, 1, 0], dtype=torch.bool)
    assert torch.equal(worth_replacing(dead, [4, 3], 1000), dead)
    assert not worth_replacing(dead, [4, 3], 2).any()


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=4),
    st.integers(0, 60),
)
def test_more_rows_replace_more_dead_codes_and_no_others(levels, n_fitted):
    sizes = [len(level) for level in levels]
    dead = torch.tensor([code for level in levels for code in level])
    replaced = worth_replacing(dead, sizes, n_fitted)
    with_more_rows = worth_replacing(dead, sizes, n_fitted + 5)
    assert not (replaced & ~dead).any()
    assert not (replaced & ~with_more_rows).any()
    for codes, level in zip(replaced.split(sizes), dead.split(sizes), strict=True):
        n_in_use = int((~level).sum() + codes.sum())
        assert not codes.any() or n_in_use * len(sizes) <= n_fitted


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
