from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sk_rqvae.metrics import popularity_groups, score_generated_ids

N_ITEMS = 5
CODES = hnp.arrays(np.int64, (N_ITEMS, 2), elements=st.integers(0, 1))
LISTS = hnp.arrays(np.int64, (2, 4, 2), elements=st.integers(-1, 2))
TARGETS = st.lists(
    st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=3, unique=True),
    min_size=2,
    max_size=2,
)
COUNTS = st.none() | hnp.arrays(np.int64, N_ITEMS, elements=st.integers(0, 1))


def discount(rank):
    return 1 / np.log2(rank + 1)


def scores_of_ranking(ranking, targets, k):
    """Hit, recall and NDCG of a list without ties."""
    ranks = [rank for rank, item in enumerate(ranking[:k], start=1) if item in targets]
    ideal = sum(discount(rank) for rank in range(1, min(k, len(targets)) + 1))
    return [bool(ranks), len(ranks) / len(targets), sum(map(discount, ranks)) / ideal]


def item_scores(ids, codes, targets, k, popularity):
    """Mean over all orders of the items in which ties may be broken."""
    known = list(dict.fromkeys(map(tuple, ids.tolist())))
    scores = []
    for order in itertools.permutations(range(N_ITEMS)):
        ranking = []
        for wanted in known:
            members = [item for item in order if tuple(codes[item]) == wanted]
            if popularity is not None:
                members.sort(key=lambda item: -popularity[item])
            ranking += members
        scores.append(scores_of_ranking(ranking, set(targets), k))
    return np.mean(scores, axis=0)


def id_scores(ids, codes, targets, k):
    wanted = {tuple(codes[item]) for item in targets}
    first = dict.fromkeys(map(tuple, ids.tolist()))
    ranking = [
        generated if generated in first and not first.pop(generated, None) else None
        for generated in map(tuple, ids.tolist())
    ]
    return scores_of_ranking(ranking, wanted, k)


@given(LISTS, CODES, TARGETS, st.integers(1, 7), COUNTS)
def test_scores_equal_the_mean_over_all_orders_of_ties(
    generated, codes, targets, k, popularity
):
    scores = score_generated_ids(generated, codes, targets, k=k, popularity=popularity)
    for query in range(2):
        by_item = item_scores(generated[query], codes, targets[query], k, popularity)
        by_id = id_scores(generated[query], codes, targets[query], k)
        found = [score[query] for score in scores]
        np.testing.assert_allclose(found, [*by_item, *by_id], atol=1e-12)


def test_with_unique_ids_items_and_ids_have_the_same_scores():
    random = np.random.default_rng(0)
    codes = np.stack([np.arange(50) // 10, np.arange(50) % 10], axis=1)
    items = np.array([random.permutation(50)[:20] for _ in range(30)])
    scores = score_generated_ids(codes[items], codes, random.integers(0, 50, 30), k=10)
    np.testing.assert_allclose(scores[:3], scores[3:])
    assert 0 < scores.ndcg.mean() < scores.hit_rate.mean() < 1


def test_hits_by_id_overstate_hits_by_item_for_shared_ids():
    codes = np.zeros((100, 1), dtype=int)
    scores = score_generated_ids([[[0]]], codes, [7], k=10)
    assert scores.id_hit_rate == 1.0
    assert scores.hit_rate == pytest.approx(0.1)
    assert scores.recall == pytest.approx(0.1)


def test_padding_and_unknown_ids_take_a_rank_among_ids_but_not_among_items():
    codes = [[0], [1]]
    scores = score_generated_ids([[[9], [-1], [1]]], codes, [1], k=1)
    assert scores.hit_rate == 1.0
    assert scores.id_hit_rate == 0.0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"generated": [[0, 1]]}, ValueError, "generated must have shape"),
        ({"generated": [[[0]]]}, ValueError, "2 codes per ID"),
        ({"generated": [[[0.0, 1.0]]]}, TypeError, "generated must hold integers"),
        ({"generated": [[[0, -2]]]}, ValueError, "Got a minimum of -2"),
        ({"targets": [0, 1]}, ValueError, "same number of queries. Got 2 and 1"),
        ({"targets": [[]]}, ValueError, "at least one item per query"),
        ({"targets": [2]}, ValueError, r"item indices in \[0, 1\]. Got values from 2"),
        ({"targets": [[1, 1]]}, ValueError, "each item once per query"),
        ({"targets": [0.0]}, TypeError, "targets must be item indices"),
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"popularity": [1]}, ValueError, "popularity and codes must have the same"),
        ({"popularity": [1, -1]}, ValueError, "popularity must not be negative"),
        ({"popularity": [[1, 1]]}, ValueError, "popularity must be 1-D"),
    ],
)
def test_scores_name_the_invalid_argument(changes, error, message):
    valid = {"generated": [[[0, 0]]], "codes": [[0, 0], [0, 1]], "targets": [0]}
    with pytest.raises(error, match=message):
        score_generated_ids(**(valid | changes))


@given(
    hnp.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 20)).filter(any),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_head_and_tail_have_at_most_their_share_of_interactions(counts, head, tail):
    groups = popularity_groups(counts, head=head, tail=tail)
    shares = {name: counts[groups == name].sum() / counts.sum() for name in set(groups)}
    assert shares.get("head", 0) <= head + 1e-9
    assert shares.get("tail", 0) <= tail + 1e-9
    order = {"tail": 0, "torso": 1, "head": 2}
    ranks = np.array([order[name] for name in groups])
    assert (np.diff(ranks[np.argsort(counts)]) >= 0).all()
    for value in np.unique(counts):
        assert len(set(groups[counts == value])) == 1


@given(
    hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 9)).filter(any),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_head_and_tail_are_the_largest_sets_of_their_shares(counts, head, rest):
    tail = min(rest, 20 - head)
    limits = {"head": head * counts.sum(), "tail": tail * counts.sum()}
    largest = {"head": set(), "tail": set()}
    for value in range(11):
        sets = {"head": counts >= max(value, 1), "tail": counts < max(value, 1)}
        for name, members in sets.items():
            if 20 * counts[members].sum() <= limits[name]:
                largest[name] |= set(np.flatnonzero(members))
    groups = popularity_groups(counts, head=head / 20, tail=tail / 20)
    for name, expected in largest.items():
        assert set(np.flatnonzero(groups == name)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"popularity": [0, 0]}, "must have a positive entry"),
        ({"popularity": [1, np.nan]}, "popularity contains NaN"),
        ({"popularity": [1, 2], "head": 0.7, "tail": 0.6}, "at most 1"),
        ({"popularity": [1, 2], "head": -0.1}, "head must be in"),
    ],
)
def test_popularity_groups_name_the_invalid_argument(options, message):
    with pytest.raises(ValueError, match=message):
        popularity_groups(**options)


def test_targets_can_mix_types_of_integers():
    codes = [[0], [1], [2]]
    generated = [[[0], [1]], [[2], [0]]]
    mixed = [np.array([0], np.uint64), np.array([1, 2], np.int64)]
    scores = score_generated_ids(generated, codes, mixed, k=2)
    expected = score_generated_ids(generated, codes, [[0], [1, 2]], k=2)
    np.testing.assert_array_equal(scores, expected)


def test_an_item_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\]\. Got values from 0 to 3"):
        score_generated_ids([[[0]], [[0]]], [[0], [1]], [[0], [1, 3]], k=1)


def test_items_without_interactions_are_tail_and_shares_may_be_rounded():
    assert popularity_groups([3, 0], head=1.0, tail=0.0).tolist() == ["head", "tail"]
    groups = popularity_groups([0.1, 0.2, 0.7], head=0.0, tail=0.3)
    assert groups.tolist() == ["tail", "tail", "torso"]
