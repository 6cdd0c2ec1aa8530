from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small, threads_of_torch
from hypothesis import given
from hypothesis import strategies as st

from sk_rqvae import SemanticIDIndex
from sk_rqvae._model.id_prices import id_keys, look_up, no_prices
from sk_rqvae._training import id_separation
from sk_rqvae._training.auction import auction
from sk_rqvae.metrics import collision_rate, explained_variance, worst_bucket_size


def choices(keys, costs, prices):
    """The ID that each row chooses at `prices`."""
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
    after = choices(keys, costs, auction([keys], costs))
    assert len(after.unique()) >= len(before.unique())


def test_rows_get_different_ids_if_there_are_enough_candidates():
    keys, costs = crowd(0, n_rows=500, n_ids=2000, n_candidates=5)
    assert len(choices(keys, costs, no_prices(keys.device)).unique()) < 500
    assert len(choices(keys, costs, auction([keys], costs)).unique()) == 500


def auction_by_definition(keys, costs, capacity, n_rounds=100):
    """Prices by key, with the choices of all rows made anew in every round."""
    prices = dict.fromkeys(keys.flatten().tolist(), 0.0)
    for _ in range(n_rounds):
        losses = {}
        for row, cost in zip(keys.tolist(), costs.tolist(), strict=True):
            offers = [(c + prices[key], key) for key, c in zip(row, cost, strict=True)]
            (best, key), (second, _) = sorted(offers, key=lambda offer: offer[0])[:2]
            losses.setdefault(key, []).append(second - best)
        rises = {}
        for key, of_key in losses.items():
            if len(of_key) <= capacity:
                continue
            stays, leaves = sorted(of_key, reverse=True)[capacity - 1 : capacity + 1]
            rise = (stays + leaves) / 2
            if leaves < rise:  # not if they are equal, or it is rounded to one
                rises[key] = rise
        if not rises:
            break
        for key, rise in rises.items():
            prices[key] += rise
    return {key: price for key, price in prices.items() if price > 0}


@given(
    st.integers(0, 2**31),
    st.integers(1, 40),
    st.sampled_from([4, 1000]),
    st.integers(1, 4),
)
def test_an_auction_follows_its_definition(seed, n_rows, n_steps, capacity):
    keys, costs = crowd(seed, n_rows, n_ids=12, n_candidates=4)
    costs = (costs * n_steps).round() / n_steps  # few steps make ties
    found = auction([keys], costs, capacity=capacity)
    prices = dict(zip(found.keys.tolist(), found.prices.tolist(), strict=True))
    assert prices == pytest.approx(auction_by_definition(keys, costs, capacity))


def test_the_row_with_the_costliest_alternative_keeps_the_id():
    keys = torch.tensor([[7, 1], [7, 2], [7, 3]])
    costs = torch.tensor([[0.0, 0.2], [0.0, 0.9], [0.0, 0.4]], dtype=torch.float64)
    assert choices(keys, costs, auction([keys], costs)).tolist() == [1, 7, 3]


def test_equal_rows_keep_one_id():
    keys = torch.tensor([[7, 1], [7, 1]])
    costs = torch.tensor([[0.1, 0.2], [0.1, 0.2]], dtype=torch.float64)
    assert len(auction([keys], costs).keys) == 0


def test_as_many_rows_keep_an_id_as_the_capacity_says():
    keys, costs = crowd(0, n_rows=600, n_ids=300, n_candidates=8)
    wanted = choices(keys, costs, no_prices(keys.device))
    evened = choices(keys, costs, auction([keys], costs, capacity=3))
    assert wanted.bincount().max() > 3
    assert evened.bincount().max() == 3


def test_different_ids_have_different_keys():
    codes = torch.cartesian_prod(*[torch.arange(20)] * 3)
    assert len(id_keys(codes).unique()) == len(codes)
    assert len(id_keys(codes[:, :2]).unique()) == 400


@pytest.fixture(scope="module")
def dense():
    """Rows of which many share one of 16 x 16 x 16 IDs."""
    return np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)


def test_separating_ids_makes_more_ids_unique_at_little_cost(dense):
    shared = small(separate_ids=False).fit(dense)
    apart = small(separate_ids=True).fit(dense)
    assert collision_rate(apart.transform(dense)) < 0.1
    assert collision_rate(apart.transform(dense)) < 0.5 * collision_rate(
        shared.transform(dense)
    )
    assert apart.score(dense) > shared.score(dense) - 0.03


def shared(keys, costs, prices):
    """Number of rows that share their ID, and the error of all choices."""
    totals = costs + look_up(prices, keys)
    chosen = totals.argmin(1, keepdim=True)
    _, inverse, counts = torch.unique(
        keys.gather(1, chosen), return_inverse=True, return_counts=True
    )
    return int((counts[inverse] > 1).sum()), float(costs.gather(1, chosen).sum())


@pytest.mark.parametrize("max_error", [1.001, 1.01, 1.05, 1.2])
def test_separation_spends_at_most_its_error_budget(max_error):
    keys, costs = crowd(0, n_rows=90, n_ids=100, n_candidates=5)
    costs += 1
    n_shared, error = shared(keys, costs, no_prices(keys.device))
    prices = auction([keys], costs, max_error=max_error)
    n_still_shared, error_after = shared(keys, costs, prices)
    assert error_after <= max_error * error
    assert n_still_shared < n_shared


def test_a_larger_error_budget_leaves_fewer_shared_ids():
    keys, costs = crowd(0, n_rows=300, n_ids=400, n_candidates=5)
    costs += 1
    n_shared = [
        shared(keys, costs, auction([keys], costs, max_error=limit))[0]
        for limit in (1.0, 1.01, 1.03, 1.1, float("inf"))
    ]
    assert n_shared == sorted(n_shared, reverse=True)
    assert n_shared[0] > n_shared[2] > n_shared[4]


def test_a_budget_that_is_not_reached_changes_nothing():
    keys, costs = crowd(0, n_rows=500, n_ids=2000, n_candidates=5)
    costs += 10
    assert len(auction([keys], costs, max_error=1.01).keys) == len(
        auction([keys], costs).keys
    )


def test_by_default_ids_are_separated_until_the_error_has_grown_by_one_percent(dense):
    together, default, apart = (
        small(separate_ids=option, codebook_size=10).fit(dense)
        for option in (False, "auto", True)
    )
    rates = [
        collision_rate(model.transform(dense)) for model in (together, default, apart)
    ]
    assert rates[0] > rates[1] > rates[2]
    unexplained = [1 - model.score(dense) for model in (together, default)]
    assert unexplained[1] < 1.015 * unexplained[0]


@pytest.mark.parametrize("codebook_size", [3, 5, 9])
def test_rows_are_spread_where_there_are_more_of_them_than_ids(dense, codebook_size):
    codebooks = {"codebook_size": codebook_size, "n_layers": 2}
    together, apart = (
        small(separate_ids=choice, **codebooks).fit(dense) for choice in (False, True)
    )
    fullest = [worst_bucket_size(model.transform(dense)) for model in (together, apart)]
    assert fullest[1] < fullest[0]


def test_by_default_no_id_gets_a_price_where_there_are_fewer_ids_than_rows(dense):
    n_ids = 10 * 10 * 10
    assert len(dense) == n_ids
    enough = small(codebook_size=10).fit(dense)
    too_few = small(codebook_size=[10, 10, 9]).fit(dense)
    assert len(enough.net_.module_.prices) > 0
    assert len(too_few.net_.module_.prices) == 0


def test_prices_do_not_make_a_row_depend_on_others(dense):
    model = small(separate_ids=True).fit(dense)
    assert len(model.net_.module_.prices) > 0
    codes = model.transform(dense)
    np.testing.assert_array_equal(model.transform(dense[::-1])[::-1], codes)
    np.testing.assert_array_equal(model.transform(dense[17:18]), codes[17:18])


def test_exact_duplicates_share_their_id(dense):
    model = small().fit(np.concatenate([dense, dense[:50]]))
    np.testing.assert_array_equal(
        model.transform(dense[:50]), model.transform(dense)[:50]
    )


def test_with_one_beam_no_id_gets_a_price(dense):
    assert len(small(n_beams=1).fit(dense).net_.module_.prices) == 0


def test_partial_fit_keeps_the_prices(dense):
    model = small(separate_ids=True).fit(dense)
    prices = model.net_.module_.prices
    model.partial_fit(dense[:100])
    assert len(prices) > 0
    assert torch.equal(model.net_.module_.prices, prices)


def test_too_many_rows_to_separate_are_warned_of(dense, monkeypatch):
    monkeypatch.setattr("sk_rqvae._training.id_separation._MAX_ROWS", 999)
    with pytest.warns(UserWarning, match="not separated.*at most 999.*Got 1000"):
        small(separate_ids=True, max_epochs=1).fit(dense)


def test_re_ranking_improves_the_reconstruction(dense):
    model = small(separate_ids=False, rerank=True, random_state=3).fit(dense)
    reranked = model.inverse_transform(model.transform(dense))
    model.net_.module_.rerank = False
    nearest = model.inverse_transform(model.transform(dense))
    assert explained_variance(dense, reranked) > explained_variance(dense, nearest)


def n_candidates(model, X):
    """How many candidates `transform` compares for each row."""
    module = model.net_.module_
    with torch.no_grad():
        codes, _ = module.candidates(module.standardize(torch.from_numpy(X).double()))
    return codes.shape[1]


def test_re_ranking_compares_more_candidates_than_beams(dense):
    options = {"max_epochs": 1, "n_beams": 4}
    reranked, not_reranked = (
        small(rerank=rerank, **options).fit(dense) for rerank in (True, False)
    )
    assert n_candidates(reranked, dense) > n_candidates(not_reranked, dense) == 4


def test_with_one_beam_there_is_nothing_to_re_rank(dense):
    assert n_candidates(small(max_epochs=1, n_beams=1).fit(dense), dense) == 1


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


def test_next_code_distances_refuse_rows_that_transform_refuses(blobs, fitted):
    masked = np.ma.array(blobs[:5], mask=np.eye(5, 12))
    with pytest.raises(TypeError, match="X must not have masked values"):
        fitted.next_code_distances(masked, np.zeros((5, 1), dtype=int))


def test_the_index_finds_free_ids_with_the_transformers_distances(dense):
    model = small(separate_ids=False).fit(dense)
    codes = model.transform(dense)
    index = SemanticIDIndex(policy="reassign").fit(codes, X=dense, model=model)
    assert collision_rate(codes) > 0
    assert collision_rate(index.ids_) == 0


@pytest.mark.parametrize("n_threads", [1, 3, 5, 6])
def test_prices_do_not_depend_on_the_number_of_threads(blobs, monkeypatch, n_threads):
    # Keys are kept in blocks, which groups of rows must not cross.
    monkeypatch.setattr(id_separation, "_ROWS_OF_KEYS", 4096)
    rows = np.tile(blobs, (9000 // len(blobs) + 1, 1))
    rows += np.random.default_rng(0).normal(scale=0.01, size=rows.shape)
    module = small(max_epochs=1, separate_ids=False).fit(blobs).net_.module_
    with threads_of_torch(1):
        expected = id_separation.price_shared_ids(module, rows)
    with threads_of_torch(n_threads):
        found = id_separation.price_shared_ids(module, rows)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
