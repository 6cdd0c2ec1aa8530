"""The perceptron beside a linear path, and what it sees of rows far out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._model.mlp import SkipMLP

N_IN, N_OUT = 6, 4


def skip_mlp(linear_path=True):
    """One whose perceptron has learned something."""
    torch.manual_seed(0)
    mlp = SkipMLP(
        N_IN, N_OUT, (8,), activation="relu", dropout=0.0, linear_path=linear_path
    )
    torch.nn.init.normal_(mlp.mlp[-1].weight)
    return mlp.requires_grad_(False)


def rows_of_length(length):
    directions = torch.randn(5, N_IN, generator=torch.Generator().manual_seed(1))
    return length * directions / directions.norm(dim=1, keepdim=True)


def test_the_reach_is_twice_the_length_of_a_mean_standardised_row():
    assert skip_mlp().clipping_radius == pytest.approx(2 * math.sqrt(N_IN))


@given(st.floats(1, 1e6))
def test_beyond_its_reach_only_the_linear_path_grows(times):
    mlp = skip_mlp()
    edge = rows_of_length(mlp.clipping_radius)
    grown = (times - 1) * mlp.linear(edge)
    torch.testing.assert_close(
        mlp(times * edge) - mlp(edge), grown, rtol=1e-4, atol=1e-4 * times
    )


@given(st.floats(0, 0.999))
def test_within_its_reach_it_is_the_sum_of_perceptron_and_linear_path(share):
    mlp = skip_mlp()
    rows = rows_of_length(share * mlp.clipping_radius)
    torch.testing.assert_close(mlp(rows), mlp.mlp(rows) + mlp.linear(rows))


def test_alone_the_perceptron_sees_all_there_is():
    mlp = skip_mlp(linear_path=False)
    rows = rows_of_length(1e3)
    torch.testing.assert_close(mlp(rows), mlp.mlp(rows))


def test_rows_of_zeros_have_a_gradient():
    rows = torch.zeros(2, N_IN, requires_grad=True)
    skip_mlp()(rows).sum().backward()
    assert rows.grad.isfinite().all()
