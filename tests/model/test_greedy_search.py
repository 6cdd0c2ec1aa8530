from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae._model.beam_search import PreparedBeamSearch
from sk_rqvae._model.greedy_search import greedy_codes

SIZES = [5, 4, 6]


def problem(seed=0, n_rows=9, dim=4):
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, "generator": generator}
    latents = torch.randn(n_rows, dim, **options)
    return latents, torch.randn(sum(SIZES), dim, **options)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_it_chooses_what_a_beam_search_with_one_beam_chooses(seed):
    latents, vectors = problem(seed)
    beams = PreparedBeamSearch(vectors, SIZES, n_beams=1).search(latents)
    assert torch.equal(greedy_codes(latents, vectors, SIZES), beams.codes[:, 0])


def test_equal_biases_change_nothing():
    latents, vectors = problem()
    biases = [lambda d: torch.full_like(d[0], 7.0), None, None]
    plain = greedy_codes(latents, vectors, SIZES)
    assert torch.equal(greedy_codes(latents, vectors, SIZES, biases), plain)


def test_a_large_bias_makes_every_row_choose_its_code():
    latents, vectors = problem()

    def favour_code_2(distances):
        bias = torch.zeros_like(distances[0])
        bias[2] = 1e6
        return bias

    codes = greedy_codes(latents, vectors, SIZES, [None, favour_code_2, None])
    assert (codes[:, 1] == 2).all()


def test_biases_are_computed_from_distances_to_residuals_up_to_a_constant_per_row():
    latents, vectors = problem()
    seen = []

    def record(distances):
        seen.append(distances)
        return torch.zeros_like(distances[0])

    codes = greedy_codes(latents, vectors, SIZES, [record, record, record])
    residual = latents
    for level, codebook in enumerate(vectors.split(SIZES)):
        without_constant = torch.cdist(residual, codebook).square()
        without_constant -= residual.square().sum(1, keepdim=True)
        torch.testing.assert_close(seen[level], without_constant)
        residual = residual - codebook[codes[:, level]]
