from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae._model import beam_search as beam_search_module
from sk_rqvae._model.beam_search import beam_search, sum_of_codes

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


def every_tuple(sizes):
    return torch.tensor(list(itertools.product(*map(range, sizes))))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES)
def test_with_room_for_all_prefixes_it_finds_the_best_of_all_tuples(seed, sizes):
    latents, codebooks = problem(seed, sizes)
    tuples = every_tuple(sizes)
    errors = squared_errors(latents, codebooks, tuples.expand(len(latents), -1, -1))
    beams = beam_search(latents, codebooks, n_beams=len(tuples))
    torch.testing.assert_close(beams.codes[:, 0], tuples[errors.argmin(1)])
    torch.testing.assert_close(beams.errors, errors.sort(1).values)


@settings(max_examples=40)
@given(seed=SEEDS, sizes=SIZES, weights=WEIGHTS)
def test_a_tuple_is_charged_a_share_of_the_errors_of_its_prefixes(seed, sizes, weights):
    latents, codebooks = problem(seed, sizes)
    tuples = every_tuple(sizes).expand(len(latents), -1, -1)
    errors = squared_errors(latents, codebooks, tuples)
    charges = torch.zeros_like(errors)
    for depth in range(1, len(sizes)):
        charges += weights[depth - 1] * squared_errors(
            latents, codebooks, tuples[..., :depth]
        )
    n_beams = max(2, tuples.shape[1])
    beams = beam_search(
        latents, codebooks, n_beams, prefix_weights=torch.tensor(weights)
    )
    torch.testing.assert_close(
        beams.errors + beams.penalties, (errors + charges).sort(1).values
    )
    best = (errors + charges).argmin(1, keepdim=True)
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
def test_beams_differ_and_come_best_first_with_their_true_errors(seed, sizes, n_beams):
    latents, codebooks = problem(seed, sizes)
    beams = beam_search(latents, codebooks, n_beams)
    n_kept = beams.codes.shape[1]
    assert n_kept <= min(n_beams, len(every_tuple(sizes)))
    torch.testing.assert_close(
        beams.errors, squared_errors(latents, codebooks, beams.codes)
    )
    assert (beams.errors.diff(dim=1) >= 0).all()
    for row in beams.codes:
        assert len(torch.unique(row, dim=0)) == n_kept


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, sizes=SIZES, n_beams=st.integers(1, 6))
def test_no_beam_width_beats_the_exhaustive_one(seed, sizes, n_beams):
    latents, codebooks = problem(seed, sizes)
    some = beam_search(latents, codebooks, n_beams).errors[:, 0]
    best = beam_search(latents, codebooks, len(every_tuple(sizes))).errors[:, 0]
    assert (best <= some + 1e-12).all()


def greedy_of_each_step(latents, codebooks, n_beams):
    """The textbook beam search of one row after another, without any table."""
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
            prefixes = [extended[place] for place in order[:n_beams]]
        found.append(prefixes)
    return torch.tensor(found)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, n_beams=st.integers(1, 4))
def test_it_keeps_the_same_prefixes_as_a_search_written_out_row_by_row(seed, n_beams):
    latents, codebooks = problem(seed, [4, 3, 5], n_rows=3)
    beams = beam_search(latents, codebooks, n_beams)
    torch.testing.assert_close(
        beams.codes, greedy_of_each_step(latents, codebooks, n_beams)
    )


@pytest.mark.parametrize("n_beams", [1, 3, 50])
def test_tables_and_direct_products_find_the_same(monkeypatch, n_beams):
    latents, codebooks = problem(0, [5, 4, 6, 3], n_rows=40)
    tabulated = beam_search(latents, codebooks, n_beams)
    monkeypatch.setattr(beam_search_module, "_MAX_TABULATED_CODES", 0)
    direct = beam_search(latents, codebooks, n_beams)
    assert torch.equal(tabulated.codes, direct.codes)
    torch.testing.assert_close(tabulated.errors, direct.errors)


def test_equal_prices_change_nothing():
    latents, codebooks = problem(0, [5, 4])
    plain = beam_search(latents, codebooks, 3)
    prices = [lambda d: torch.full_like(d[0], 7.0), None]
    priced = beam_search(latents, codebooks, 3, prices)
    assert torch.equal(priced.codes, plain.codes)
    torch.testing.assert_close(priced.errors, plain.errors)


def test_a_subsidy_draws_every_row_to_its_code_and_stays_out_of_the_errors():
    latents, codebooks = problem(0, [5, 4])

    def subsidy(distances):
        prices = torch.zeros_like(distances[0])
        prices[2] = 1e6
        return prices

    beams = beam_search(latents, codebooks, 3, [None, subsidy])
    assert (beams.codes[:, 0, 1] == 2).all()
    torch.testing.assert_close(
        beams.errors, squared_errors(latents, codebooks, beams.codes)
    )


def test_prices_are_asked_for_the_distances_of_the_best_prefix():
    latents, codebooks = problem(0, [5, 4])
    seen = []

    def watch(distances):
        seen.append(distances)
        return torch.zeros_like(distances[0])

    beam_search(latents, codebooks, 3, [watch, watch])
    first = torch.cdist(latents, codebooks[0]).square()
    torch.testing.assert_close(seen[0], first)
    residual = latents - codebooks[0][first.argmin(1)]
    torch.testing.assert_close(seen[1], torch.cdist(residual, codebooks[1]).square())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_sum_of_a_prefix_adds_the_vectors_of_its_codes(depth):
    _, codebooks = problem(0, [5, 4, 3])
    codes = torch.tensor([[4, 0, 2], [0, 3, 1]])[:, :depth]
    expected = [
        sum(codebook[code] for codebook, code in zip(codebooks, row, strict=False))
        for row in codes.tolist()
    ]
    torch.testing.assert_close(sum_of_codes(codebooks, codes), torch.stack(expected))


def test_searching_takes_no_gradient():
    latents, codebooks = problem(0, [5, 4])
    codebooks = [codebook.requires_grad_() for codebook in codebooks]
    assert not beam_search(latents, codebooks, 3).errors.requires_grad
