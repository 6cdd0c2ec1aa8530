from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sk_rqvae._model import beam_search as beam_search_module
from sk_rqvae._model.beam_search import (
    PreparedBeamSearch,
    beam_search,
    sum_of_codes,
)

SEEDS = st.integers(0, 2**16)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)
WEIGHTS = st.lists(st.floats(0.01, 2), min_size=2, max_size=2)


def problem(seed, sizes, n_rows=9, dim=4):
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, "generator": generator}
    latents = torch.randn(n_rows, dim, **options)
    return latents, [torch.randn(size, dim, **options) for size in sizes]


def squared_errors(latents, codebooks, codes):
    return (latents.unsqueeze(1) - sum_of_codes(codebooks, codes)).square().sum(-1)


def every_id(sizes):
    return torch.tensor(list(itertools.product(*map(range, sizes))))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES)
def test_with_enough_beams_it_finds_the_best_of_all_ids(seed, sizes):
    latents, codebooks = problem(seed, sizes)
    ids = every_id(sizes)
    errors = squared_errors(latents, codebooks, ids.expand(len(latents), -1, -1))
    beams = beam_search(latents, codebooks, n_beams=len(ids))
    torch.testing.assert_close(beams.codes[:, 0], ids[errors.argmin(1)])
    torch.testing.assert_close(beams.errors, errors.sort(1).values)


@settings(max_examples=40)
@given(seed=SEEDS, sizes=SIZES, weights=WEIGHTS)
def test_the_errors_of_prefixes_are_added_to_the_score_with_their_weights(
    seed, sizes, weights
):
    latents, codebooks = problem(seed, sizes)
    ids = every_id(sizes).expand(len(latents), -1, -1)
    errors = squared_errors(latents, codebooks, ids)
    penalties = torch.zeros_like(errors)
    for depth in range(1, len(sizes)):
        penalties += weights[depth - 1] * squared_errors(
            latents, codebooks, ids[..., :depth]
        )
    n_beams = max(2, ids.shape[1])
    beams = beam_search(
        latents, codebooks, n_beams, prefix_weights=torch.tensor(weights)
    )
    torch.testing.assert_close(
        beams.errors + beams.penalties, (errors + penalties).sort(1).values
    )
    best = (errors + penalties).argmin(1, keepdim=True)
    torch.testing.assert_close(beams.errors[:, :1], errors.gather(1, best))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES)
def test_one_beam_is_greedy_residual_quantisation(seed, sizes):
    latents, codebooks = problem(seed, sizes)
    residual, greedy = latents, []
    for codebook in codebooks:
        nearest = torch.cdist(residual, codebook).argmin(1)
        greedy.append(nearest)
        residual = residual - codebook[nearest]
    beams = beam_search(latents, codebooks, n_beams=1)
    torch.testing.assert_close(beams.codes[:, 0], torch.stack(greedy, dim=1))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES, n_beams=st.integers(1, 12))
def test_beams_are_distinct_and_sorted_and_report_their_true_errors(
    seed, sizes, n_beams
):
    latents, codebooks = problem(seed, sizes)
    beams = beam_search(latents, codebooks, n_beams)
    n_kept = beams.codes.shape[1]
    assert n_kept <= min(n_beams, len(every_id(sizes)))
    torch.testing.assert_close(
        beams.errors, squared_errors(latents, codebooks, beams.codes)
    )
    assert (beams.errors.diff(dim=1) >= 0).all()
    for row in beams.codes:
        assert len(torch.unique(row, dim=0)) == n_kept


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES, n_beams=st.integers(1, 6))
def test_no_beam_width_beats_an_exhaustive_search(seed, sizes, n_beams):
    latents, codebooks = problem(seed, sizes)
    some = beam_search(latents, codebooks, n_beams).errors[:, 0]
    best = beam_search(latents, codebooks, len(every_id(sizes))).errors[:, 0]
    assert (best <= some + 1e-12).all()


def textbook_beam_search(latents, codebooks, n_beams):
    """Beam search row by row, which computes every error from its definition."""
    found = []
    for latent in latents:
        prefixes = [()]
        for depth, codebook in enumerate(codebooks):
            extended = [
                (*prefix, code) for prefix in prefixes for code in range(len(codebook))
            ]
            errors = [
                float(
                    (latent - sum_of_codes(codebooks[: depth + 1], torch.tensor(codes)))
                    .square()
                    .sum()
                )
                for codes in extended
            ]
            order = sorted(range(len(extended)), key=errors.__getitem__)
            prefixes = [extended[position] for position in order[:n_beams]]
        found.append(prefixes)
    return torch.tensor(found)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, n_beams=st.integers(1, 4))
def test_it_keeps_the_beams_of_the_textbook_algorithm(seed, n_beams):
    latents, codebooks = problem(seed, [4, 3, 5], n_rows=3)
    beams = beam_search(latents, codebooks, n_beams)
    torch.testing.assert_close(
        beams.codes, textbook_beam_search(latents, codebooks, n_beams)
    )


@pytest.mark.parametrize("n_beams", [1, 3, 50])
def test_lookup_tables_change_no_result(monkeypatch, n_beams):
    latents, codebooks = problem(0, [5, 4, 6, 3], n_rows=40)
    tabulated = beam_search(latents, codebooks, n_beams)
    monkeypatch.setattr(beam_search_module, "MAX_TABULATED_CODES", 0)
    direct = beam_search(latents, codebooks, n_beams)
    assert torch.equal(tabulated.codes, direct.codes)
    torch.testing.assert_close(tabulated.errors, direct.errors)


def multiplications(latents, codebooks, **options):
    """Of all matrix products of a search that is prepared and used once."""
    with FlopCounterMode(display=False) as counter:
        sizes = [len(codebook) for codebook in codebooks]
        prepared = PreparedBeamSearch(torch.cat(codebooks), sizes, 5, **options)
        beams = prepared.search(latents)
    return counter.get_total_flops(), beams


@pytest.mark.parametrize(("n_rows", "size"), [(4, 64), (400, 64)])
def test_a_search_for_few_rows_takes_no_more_products_than_without_tables(n_rows, size):
    generator = torch.Generator().manual_seed(0)
    codebooks = [torch.randn(size, 8, generator=generator) for _ in range(4)]
    latents = torch.randn(n_rows, 8, generator=generator)
    hinted, found = multiplications(latents, codebooks, n_rows=n_rows)
    with_tables, expected = multiplications(latents, codebooks)
    assert hinted <= with_tables
    assert (hinted == with_tables) == (n_rows == 400)
    assert torch.equal(found.codes, expected.codes)


def test_equal_biases_change_nothing():
    latents, codebooks = problem(0, [5, 4])
    plain = beam_search(latents, codebooks, 3)
    biases = [lambda d: torch.full_like(d[0], 7.0), None]
    biased = beam_search(latents, codebooks, 3, biases)
    assert torch.equal(biased.codes, plain.codes)
    torch.testing.assert_close(biased.errors, plain.errors)


def test_a_large_bias_makes_every_row_choose_its_code_but_changes_no_error():
    latents, codebooks = problem(0, [5, 4])

    def favour_code_2(distances):
        bias = torch.zeros_like(distances[0])
        bias[2] = 1e6
        return bias

    beams = beam_search(latents, codebooks, 3, [None, favour_code_2])
    assert (beams.codes[:, 0, 1] == 2).all()
    torch.testing.assert_close(
        beams.errors, squared_errors(latents, codebooks, beams.codes)
    )


def test_biases_are_computed_from_the_residuals_of_the_best_prefix():
    latents, codebooks = problem(0, [5, 4])
    seen = []

    def record(distances):
        seen.append(distances)
        return torch.zeros_like(distances[0])

    beam_search(latents, codebooks, 3, [record, record])
    first = torch.cdist(latents, codebooks[0]).square()
    torch.testing.assert_close(seen[0], first)
    residual = latents - codebooks[0][first.argmin(1)]
    torch.testing.assert_close(seen[1], torch.cdist(residual, codebooks[1]).square())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_latent_of_a_prefix_is_the_sum_of_its_code_vectors(depth):
    _, codebooks = problem(0, [5, 4, 3])
    codes = torch.tensor([[4, 0, 2], [0, 3, 1]])[:, :depth]
    expected = [
        sum(codebook[code] for codebook, code in zip(codebooks, row, strict=False))
        for row in codes.tolist()
    ]
    torch.testing.assert_close(sum_of_codes(codebooks, codes), torch.stack(expected))


def test_a_search_records_no_gradients():
    latents, codebooks = problem(0, [5, 4])
    codebooks = [codebook.requires_grad_() for codebook in codebooks]
    assert not beam_search(latents, codebooks, 3).errors.requires_grad
