from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from conftest import new_generator
from hypothesis import given

from sk_rqvae._model.products import Linear, addmm, matmul

N_ROWS = 96
widths = st.integers(1, 40)


def by_matmul(x, matrix, bias):
    return matmul(x, matrix) + bias


def by_addmm(x, matrix, bias):
    return addmm(bias, x, matrix)


def by_addmm_into_memory(x, matrix, bias):
    return addmm(bias, x, matrix, out=torch.empty(len(x), len(bias)))


def by_layer(x, matrix, bias):
    layer = Linear(*matrix.shape).eval().requires_grad_(False)
    layer.weight.copy_(matrix.T)
    layer.bias.copy_(bias)
    return layer(x)


PRODUCTS = [by_matmul, by_addmm, by_addmm_into_memory, by_layer]


@pytest.mark.parametrize("product", PRODUCTS)
@given(n_in=widths, n_out=widths)
def test_equal_rows_have_equal_products(product, n_in, n_out):
    generator = new_generator()
    row = torch.randn(1, n_in, generator=generator)
    matrix = torch.randn(n_in, n_out, generator=generator)
    bias = torch.randn(n_out, generator=generator)
    found = product(row.repeat(N_ROWS, 1), matrix, bias)
    assert found.shape == (N_ROWS, n_out)
    assert torch.equal(found, found[:1].expand_as(found))
    torch.testing.assert_close(found[:1], row @ matrix + bias)
