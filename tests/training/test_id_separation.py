from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae import SemanticIDIndex
from sk_rqvae._model.id_prices import id_keys, look_up, no_prices
from sk_rqvae._training.auction import auction
from sk_rqvae.metrics import collision_rate, explained_variance


def choices(keys, costs, prices):
    """The ID each row takes at `prices`."""
    cheapest = (costs + look_up(prices, keys)).argmin(1, keepdim=True)
    return keys.gather(1, cheapest).squeeze(1)


def crowd(seed, n_rows, n_ids, n_candidates):
    """Rows with different random candidates and costs, the cheapest first."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(n_ids, generator=generator) for _ in range(n_rows)]
    keys = torch.stack(orders)[:, :n_candidates].contiguous()
    costs = torch.rand(n_rows, n_candidates, generator=generator, dtype=torch.float64)
    return keys, costs.sort(dim=1).values


@given(st.integers(0, 2**31), st.integers(1, 60))
def test_an_auction_never_leaves_more_rows_sharing_an_id(seed, n_rows):
    keys, costs = crowd(seed, n_rows, n_ids=80, n_candidates=4)
    before = choices(keys, costs, no_prices(keys.device))
    after = choices(keys, costs, auction(keys.clone(), costs))
    assert len(after.unique()) >= len(before.unique())


def test_rows_with_room_to_move_get_different_ids():
    keys, costs = crowd(0, n_rows=500, n_ids=2000, n_candidates=5)
    assert len(choices(keys, costs, no_prices(keys.device)).unique()) < 500
    assert len(choices(keys, costs, auction(keys.clone(), costs)).unique()) == 500


def test_the_row_that_would_lose_most_keeps_the_id():
    keys = torch.tensor([[7, 1], [7, 2], [7, 3]])
    costs = torch.tensor([[0.0, 0.2], [0.0, 0.9], [0.0, 0.4]], dtype=torch.float64)
    assert choices(keys, costs, auction(keys.clone(), costs)).tolist() == [1, 7, 3]


def test_equal_rows_keep_one_id():
    keys = torch.tensor([[7, 1], [7, 1]])
    costs = torch.tensor([[0.1, 0.2], [0.1, 0.2]], dtype=torch.float64)
    assert len(auction(keys.clone(), costs).keys) == 0


def test_different_ids_have_different_keys():
    codes = torch.cartesian_prod(*[torch.arange(20)] * 3)
    assert len(id_keys(codes).unique()) == len(codes)
    assert len(id_keys(codes[:, :2]).unique()) == 400


@pytest.fixture(scope="module")
def dense():
    """More rows than separate easily into 16 x 16 x 16 IDs."""
    return np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)


def test_fitted_rows_get_more_different_ids_for_little_reconstruction(dense):
    shared = small(separate_ids=False).fit(dense)
    apart = small(separate_ids=True).fit(dense)
    assert collision_rate(apart.transform(dense)) < 0.1
    assert collision_rate(apart.transform(dense)) < 0.5 * collision_rate(
        shared.transform(dense)
    )
    assert apart.score(dense) > shared.score(dense) - 0.03


def shared(keys, costs, prices):
    """Rows that choose an ID that another row chooses, and the error of all choices."""
    totals = costs + look_up(prices, keys)
    chosen = totals.argmin(1, keepdim=True)
    _, inverse, counts = torch.unique(
        keys.gather(1, chosen), return_inverse=True, return_counts=True
    )
    return int((counts[inverse] > 1).sum()), float(costs.gather(1, chosen).sum())


@pytest.mark.parametrize("max_error", [1.001, 1.01, 1.05, 1.2])
def test_a_budget_is_kept_and_used(max_error):
    keys, costs = crowd(0, n_rows=90, n_ids=100, n_candidates=5)
    costs += 1
    n_shared, error = shared(keys, costs, no_prices(keys.device))
    prices = auction(keys.clone(), costs, max_error=max_error)
    n_left, paid = shared(keys, costs, prices)
    assert paid <= max_error * error
    assert n_left < n_shared


def test_a_larger_budget_leaves_fewer_shared_ids():
    keys, costs = crowd(0, n_rows=300, n_ids=400, n_candidates=5)
    costs += 1
    left = [
        shared(keys, costs, auction(keys.clone(), costs, max_error=limit))[0]
        for limit in (1.0, 1.01, 1.03, 1.1, float("inf"))
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[2] > left[4]


def test_where_ids_abound_prices_stay_within_what_error_is_allowed():
    keys, costs = crowd(0, n_rows=500, n_ids=2000, n_candidates=5)
    costs += 10
    assert len(auction(keys.clone(), costs, max_error=1.01).keys) == len(
        auction(keys.clone(), costs).keys
    )


def test_by_default_scarce_ids_are_separated_as_far_as_a_hundredth_more_error(dense):
    together, default, apart = (
        small(separate_ids=option, codebook_size=8).fit(dense)
        for option in (False, "auto", True)
    )
    rates = [
        collision_rate(model.transform(dense)) for model in (together, default, apart)
    ]
    assert rates[0] > rates[1] > rates[2]
    unexplained = [1 - model.score(dense) for model in (together, default)]
    assert unexplained[1] < 1.015 * unexplained[0]


def test_prices_do_not_make_a_row_depend_on_others(dense):
    model = small(separate_ids=True).fit(dense)
    assert len(model.net_.module_.prices) > 0
    whole = model.transform(dense)
    np.testing.assert_array_equal(model.transform(dense[::-1])[::-1], whole)
    np.testing.assert_array_equal(model.transform(dense[17:18]), whole[17:18])


def test_exact_duplicates_share_their_id(dense):
    model = small().fit(np.concatenate([dense, dense[:50]]))
    np.testing.assert_array_equal(
        model.transform(dense[:50]), model.transform(dense)[:50]
    )


def test_one_beam_leaves_nothing_to_choose_and_sets_no_price(dense):
    assert len(small(n_beams=1).fit(dense).net_.module_.prices) == 0


def test_partial_fit_keeps_the_prices(dense):
    model = small(separate_ids=True).fit(dense)
    prices = model.net_.module_.prices
    model.partial_fit(dense[:100])
    assert len(prices) > 0
    assert torch.equal(model.net_.module_.prices, prices)


def test_more_rows_than_can_be_separated_are_warned_of(dense, monkeypatch):
    monkeypatch.setattr("sk_rqvae._training.id_separation._MAX_ROWS", 999)
    with pytest.warns(UserWarning, match="not separated.*at most 999.*Got 1000"):
        small(separate_ids=True, max_epochs=1).fit(dense)


def test_re_ranking_never_reconstructs_fitted_rows_worse(dense):
    model = small(separate_ids=False, rerank=True, random_state=3).fit(dense)
    reranked = model.inverse_transform(model.transform(dense))
    model.net_.module_.rerank = False
    nearest = model.inverse_transform(model.transform(dense))
    assert explained_variance(dense, reranked) > explained_variance(dense, nearest)


@pytest.mark.parametrize(
    ("options", "n_kept"),
    [
        ({"n_beams": 4}, 12),
        ({"n_beams": 4, "rerank": False}, 4),
        ({"n_beams": 1}, 1),
    ],
    ids=str,
)
def test_reranking_chooses_among_three_times_the_beams(dense, options, n_kept):
    module = small(max_epochs=1, **options).fit(dense).net_.module_
    with torch.no_grad():
        rows = module.standardize(torch.from_numpy(dense).double())
        codes, _ = module.candidates(rows)
    assert codes.shape == (len(dense), n_kept, 3)


def test_next_code_distances_are_those_in_latent_space(blobs, fitted):
    module = fitted.net_.module_
    codes = fitted.transform(blobs[:20])
    with torch.no_grad():
        x = module.standardize(torch.from_numpy(blobs[:20]).double())
        latents = module.encode(x).numpy()
    for depth in range(3):
        prefix = codes[:, :depth]
        known = sum(
            fitted.codebooks_[level][prefix[:, level]] for level in range(depth)
        )
        gaps = (latents - known)[:, None] - fitted.codebooks_[depth]
        expected = (gaps.astype(np.float64) ** 2).sum(-1)
        found = fitted.next_code_distances(blobs[:20], prefix)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(20,), (20, 3), (19, 1)])
def test_a_prefix_of_the_wrong_shape_is_refused(blobs, fitted, shape):
    with pytest.raises(ValueError, match="prefix must have shape"):
        fitted.next_code_distances(blobs[:20], np.zeros(shape, dtype=int))


def test_the_index_finds_free_ids_with_the_transformers_distances(dense):
    model = small(separate_ids=False).fit(dense)
    codes = model.transform(dense)
    index = SemanticIDIndex(policy="reassign").fit(codes, X=dense, model=model)
    assert collision_rate(codes) > 0
    assert collision_rate(index.ids_) == 0
