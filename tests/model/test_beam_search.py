from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae._model import beam_search as beam_search_module
from sk_rqvae._model.beam_search import PreparedBeamSearch, SearchMemory, sum_of_codes

SEEDS = st.integers(0, 2**16)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=3)


def problem(seed, sizes, n_rows=9, dim=4):
    generator = torch.Generator().manual_seed(seed)
    options = {"dtype": torch.float64, "generator": generator}
    latents = torch.randn(n_rows, dim, **options)
    return latents, [torch.randn(size, dim, **options) for size in sizes]


def beam_search(latents, codebooks, n_beams):
    sizes = [len(codebook) for codebook in codebooks]
    return PreparedBeamSearch(torch.cat(codebooks), sizes, n_beams).search(latents)


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


@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS,
    sizes=SIZES,
    n_beams=st.integers(2, 5),
    numbers_of_rows=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_memory_that_was_used_before_changes_nothing(
    seed, sizes, n_beams, numbers_of_rows
):
    memory = SearchMemory()
    vectors = torch.cat(problem(seed, sizes)[1])
    prepared = PreparedBeamSearch(vectors, sizes, n_beams)
    found = []
    for place, n_rows in enumerate(numbers_of_rows):
        latents, _ = problem(seed + place, sizes, n_rows)
        found.append((latents, prepared.search(latents, memory)))
    for latents, beams in found:
        expected = prepared.search(latents)
        assert torch.equal(beams.codes, expected.codes)
        assert torch.equal(beams.errors, expected.errors)


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
