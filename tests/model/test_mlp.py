"""The MLP with a linear path."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae._model.mlp import SkipMLP

N_IN, N_OUT = 6, 4


def skip_mlp(linear_path=True):
    """A `SkipMLP` whose last layer is not zero."""
    torch.manual_seed(0)
    mlp = SkipMLP(
        N_IN, N_OUT, (8,), activation="relu", dropout=0.0, linear_path=linear_path
    )
    torch.nn.init.normal_(mlp.mlp[-1].weight)
    return mlp.requires_grad_(False)


def rows_of_norm(norm):
    directions = torch.randn(5, N_IN, generator=torch.Generator().manual_seed(1))
    return norm * directions / directions.norm(dim=1, keepdim=True)


def test_an_untrained_mlp_leaves_the_output_to_the_linear_path():
    mlp = SkipMLP(N_IN, N_OUT, (8,), activation="relu", dropout=0.0, linear_path=True)
    rows = rows_of_norm(3)
    torch.testing.assert_close(mlp(rows), mlp.linear(rows))


@given(st.floats(0, 1e3))
def test_the_output_is_the_sum_of_both_paths(norm):
    mlp = skip_mlp()
    rows = rows_of_norm(norm)
    torch.testing.assert_close(mlp(rows), mlp.mlp(rows) + mlp.linear(rows))


def test_without_a_linear_path_the_output_is_that_of_the_layers():
    mlp = skip_mlp(linear_path=False)
    rows = rows_of_norm(3)
    torch.testing.assert_close(mlp(rows), mlp.mlp(rows))


def test_rows_of_zeros_have_a_finite_gradient():
    rows = torch.zeros(2, N_IN, requires_grad=True)
    skip_mlp()(rows).sum().backward()
    assert rows.grad.isfinite().all()
