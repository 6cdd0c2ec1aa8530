from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae._model import row_minima
from sk_rqvae._model.row_minima import k_smallest, nearest

SEEDS = st.integers(0, 2**16)


def draw(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


@settings(max_examples=60, deadline=None)
@given(
    seed=SEEDS,
    n_rows=st.integers(1, 5),
    n_columns=st.sampled_from([1, 7, 128, 129, 192, 256, 257, 500, 1280, 3000]),
    count=st.integers(1, 40),
)
def test_the_smallest_entries_come_in_ascending_order(seed, n_rows, n_columns, count):
    values = draw(seed, n_rows, n_columns)
    count = min(count, n_columns)
    found, where = k_smallest(values, count)
    assert torch.equal(found, values.sort(1).values[:, :count])
    assert torch.equal(values.gather(1, where), found)
    assert all(len(torch.unique(row)) == count for row in where)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n_values=st.integers(1, 3))
def test_no_entry_is_found_twice_even_if_entries_are_equal(seed, n_values):
    values = draw(seed, 4, 256).mul(n_values).round().clamp(0, n_values)
    found, where = k_smallest(values, 6)
    assert torch.equal(found, values.sort(1).values[:, :6])
    assert all(len(torch.unique(row)) == 6 for row in where)


@pytest.mark.parametrize("count", [1, 5])
def test_a_row_does_not_depend_on_the_other_rows(count):
    values = draw(0, 50, 1280)
    values[:, ::3] = values[:, :1]
    where = k_smallest(values, count)[1]
    alone = torch.cat([k_smallest(row[None], count)[1] for row in values])
    assert torch.equal(where, alone)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n_columns=st.integers(1, 300))
def test_the_first_of_equal_entries_is_the_nearest(seed, n_columns):
    distances = draw(seed, 5, n_columns).mul(2).round()
    expected = [row.index(min(row)) for row in distances.tolist()]
    assert nearest(distances).tolist() == expected


def test_a_search_does_not_change_the_values():
    values = draw(0, 9, 300)
    before = values.clone()
    k_smallest(values, 5)
    assert torch.equal(values, before)


def test_an_exported_graph_finds_what_the_cpu_finds(monkeypatch):
    values = draw(0, 9, 1280)
    on_cpu = nearest(values), *k_smallest(values, 5)
    monkeypatch.setattr(row_minima, "_runs_on_cpu", lambda tensor: False)
    in_graph = nearest(values), *k_smallest(values, 5)
    for found, expected in zip(in_graph, on_cpu, strict=True):
        assert torch.equal(found, expected)
