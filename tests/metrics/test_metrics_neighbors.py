from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sk_rqvae.metrics import _exact_neighbors as exact_neighbors
from sk_rqvae.metrics import decoded_neighbor_recall, prefix_neighbor_recall
from sk_rqvae.metrics._neighbor_recall import _draw_queries

N_ITEMS = 5


def points(n_columns, high):
    return hnp.arrays(
        np.float64, (N_ITEMS, n_columns), elements=st.integers(0, high).map(float)
    )


def squared_distances(X):
    return ((X[:, None] - X[None]) ** 2).sum(axis=2)


def prefix_distances(codes):
    same = codes[:, None] == codes[None]
    return codes.shape[1] - np.cumprod(same, axis=2).sum(axis=2)


def recall_over_all_orders(true_distances, code_distances, k):
    """Average over every order of the items in which ties may be broken."""
    recalls = []
    for query in range(len(true_distances)):
        others = [item for item in range(len(true_distances)) if item != query]
        radius = sorted(true_distances[query, others])[k - 1]
        relevant = {i for i in others if true_distances[query, i] <= radius}
        for order in itertools.permutations(others):
            ranked = sorted(order, key=lambda item: code_distances[query, item])
            recalls.append(len(relevant.intersection(ranked[:k])) / k)
    return np.mean(recalls)


@settings(max_examples=50, deadline=None)
@given(points(2, 3), points(2, 2), st.integers(1, N_ITEMS - 1))
def test_prefix_recall_averages_over_all_orders_of_ties(X, codes, k):
    expected = recall_over_all_orders(squared_distances(X), prefix_distances(codes), k)
    assert prefix_neighbor_recall(X, codes, k=k) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(points(2, 3), points(1, 3), st.integers(1, N_ITEMS - 1))
def test_decoded_recall_averages_over_all_orders_of_ties(X, code, k):
    X_rec = np.hstack([code, -code])
    expected = recall_over_all_orders(squared_distances(X), squared_distances(X_rec), k)
    assert decoded_neighbor_recall(X, X_rec, k=k) == pytest.approx(expected)


@given(points(3, 2), st.integers(1, N_ITEMS - 1))
def test_a_perfect_reconstruction_has_a_recall_of_one(X, k):
    assert decoded_neighbor_recall(X, X, k=k) == pytest.approx(1.0)


@given(points(2, 3), st.integers(1, N_ITEMS - 1))
def test_a_single_id_for_all_items_has_the_recall_of_chance(X, k):
    codes = np.zeros((N_ITEMS, 2), dtype=int)
    recall = prefix_neighbor_recall(X, codes, k=k)
    assert recall >= k / (N_ITEMS - 1) - 1e-12
    assert decoded_neighbor_recall(X, codes, k=k) == pytest.approx(recall)


@pytest.fixture(scope="module")
def clusters():
    """Two levels of clusters, their IDs, and the means of the IDs."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(6, 16)) * 10
    fine = random.normal(size=(6, 16))
    codes = random.integers(0, 6, size=(300, 2))
    X_rec = coarse[codes[:, 0]] + fine[codes[:, 1]]
    return X_rec + 0.1 * random.normal(size=X_rec.shape), codes, X_rec


def test_ids_of_true_clusters_beat_shuffled_ids(clusters):
    X, codes, X_rec = clusters
    shuffled = np.random.default_rng(1).permutation(len(codes))
    chance = 10 / (len(codes) - 1)
    assert prefix_neighbor_recall(X, codes) > 15 * chance
    assert decoded_neighbor_recall(X, X_rec) > 15 * chance
    assert prefix_neighbor_recall(X, codes[shuffled]) == pytest.approx(chance, rel=0.3)
    assert decoded_neighbor_recall(X, X_rec[shuffled]) == pytest.approx(chance, rel=0.3)


def test_sampled_queries_estimate_the_recall_of_all_queries(clusters):
    X, codes, X_rec = clusters
    options = {"n_queries": 150, "random_state": 0, "k": 30}
    all_prefix = prefix_neighbor_recall(X, codes, k=30)
    assert prefix_neighbor_recall(X, codes, **options) == pytest.approx(
        all_prefix, abs=0.05
    )
    all_decoded = decoded_neighbor_recall(X, X_rec, k=30)
    assert decoded_neighbor_recall(X, X_rec, **options) == pytest.approx(
        all_decoded, abs=0.05
    )


def test_the_seed_decides_which_queries_are_drawn(clusters):
    X, codes, _ = clusters

    def recall(seed):
        return prefix_neighbor_recall(X, codes, k=7, n_queries=20, random_state=seed)

    assert recall(0) == recall(0)
    assert len({recall(seed) for seed in range(5)}) > 1


def test_a_metric_does_not_touch_the_global_random_state(clusters):
    X, codes, _ = clusters
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    prefix_neighbor_recall(X, codes, n_queries=20, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("scale", [1e-300, 1e-165, 1e155, 1e300])
def test_ties_are_found_where_squares_leave_the_range_of_floats(scale):
    rng = np.random.default_rng(0)
    X, X_rec = rng.integers(0, 4, (2, 30, 2)).astype(float)
    expected = decoded_neighbor_recall(X, X_rec, k=3)
    assert decoded_neighbor_recall(X, scale * X_rec, k=3) == expected
    assert decoded_neighbor_recall(scale * X, X_rec, k=3) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("scale", "shift"), [(1e-20, 0.0), (1e25, 0.0), (1.0, 1e3)])
def test_recall_does_not_depend_on_units(clusters, dtype, scale, shift):
    X, _, X_rec = clusters
    expected = decoded_neighbor_recall(X, X_rec)
    moved = decoded_neighbor_recall(
        (X * scale + shift).astype(dtype), (X_rec * scale + shift).astype(dtype)
    )
    assert moved == pytest.approx(expected, abs=0.01)


def test_recall_does_not_depend_on_the_block_size(clusters, monkeypatch):
    X, codes, X_rec = clusters
    prefix = prefix_neighbor_recall(X, codes)
    decoded = decoded_neighbor_recall(X, X_rec)
    monkeypatch.setattr(exact_neighbors, "_BLOCK_DISTANCES", 3 * len(X))
    assert prefix_neighbor_recall(X, codes) == pytest.approx(prefix)
    assert decoded_neighbor_recall(X, X_rec) == pytest.approx(decoded)


def test_neighbors_in_tight_float32_clusters_are_exact():
    # Products of these rows lose all digits of the distances within a cluster.
    random = np.random.default_rng(0)
    centres = random.choice([-1.0, 1.0], size=(10, 64))
    X = np.repeat(centres, 30, axis=0) + 1e-5 * random.normal(size=(300, 64))
    single = X.astype(np.float32)
    exact = ((single[:, None].astype(float) - single[None]) ** 2).sum(axis=2)
    np.fill_diagonal(exact, np.inf)
    near = exact_neighbors.neighborhoods(single, np.arange(300), 5)
    for query, nearby in enumerate(near):
        found = np.concatenate(nearby)
        assert set(found) == set(np.argsort(exact[query])[:5])


@pytest.mark.parametrize(("k", "n_values"), [(1, 5), (11, 40), (11, 10**6), (999, 10)])
def test_the_kth_smallest_value_equals_that_of_a_full_sort(k, n_values):
    values = np.random.default_rng(0).integers(0, n_values, size=1000).astype(float)
    values[3] = np.inf
    assert exact_neighbors._kth_smallest(values, k) == np.sort(values)[k - 1]


def test_recall_accepts_integers_and_lists():
    X = [[0], [1], [10], [11]]
    codes = [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert prefix_neighbor_recall(X, codes, k=1) == 1.0
    assert decoded_neighbor_recall(X, X, k=3) == 1.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1. Got 0"),
        ({"k": 3}, ValueError, "k must be at most 2. Got 3"),
        ({"k": 1.0}, TypeError, "k must be an int. Got 1.0"),
        ({"k": True}, TypeError, "k must be an int"),
        ({"k": 1, "n_queries": 0}, ValueError, "n_queries must be at least 1"),
        ({"k": 1, "n_queries": "all"}, TypeError, "n_queries must be an int"),
    ],
)
def test_recall_names_options_out_of_range(options, error, message):
    X = [[0.0], [1.0], [2.0]]
    with pytest.raises(error, match=message):
        prefix_neighbor_recall(X, [[0], [0], [1]], **options)
    with pytest.raises(error, match=message):
        decoded_neighbor_recall(X, X, **options)


def test_recall_rejects_matrices_of_wrong_shape():
    with pytest.raises(ValueError, match="X and codes must have the same number"):
        prefix_neighbor_recall([[0.0], [1.0]], [[0]])
    with pytest.raises(ValueError, match="X and X_rec must have the same shape"):
        decoded_neighbor_recall([[0.0], [1.0]], [[0.0]])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        prefix_neighbor_recall([[0.0], [np.nan]], [[0], [1]])


def test_items_at_nearly_the_distance_of_the_last_neighbor_are_neighbors():
    X = [[0.0], [1.0], [-1 - 1e-10]]
    codes = [[0, 0], [1, 0], [0, 1]]
    assert prefix_neighbor_recall(X, codes, k=1) == pytest.approx(2.5 / 3)


def test_queries_are_drawn_without_replacement():
    assert len(set(_draw_queries(100, 99, 0).tolist())) == 99
