from __future__ import annotations

from math import log2

import numpy as np
import pytest
import torch

from generative_recommender.popularity import most_popular
from generative_recommender.ranking import gains, hits
from generative_recommender.records import Records
from generative_recommender.split import leave_one_out
from generative_recommender.training import (
    Settings,
    padded,
    random_window,
    recommend,
    train,
    unseen,
)
from generative_recommender.trie import Trie
from sk_rqvae import SemanticIDIndex

RANKED = np.array([[4, 2, 7], [1, 0, 3], [5, 6, 8], [9, 0, 4]])
TARGETS = np.array([4, 3, 9, 0])


def test_hits_are_users_whose_target_is_listed():
    assert hits(RANKED, TARGETS).tolist() == [1, 1, 0, 1]


def test_gains_fall_with_the_logarithm_of_the_rank():
    expected = [1, 1 / log2(4), 0, 1 / log2(3)]
    assert gains(RANKED, TARGETS) == pytest.approx(expected)


def test_the_popular_come_in_order_without_what_a_user_has():
    train_histories = [np.array([3, 1]), np.array([3, 1]), np.array([3, 0])]
    allowed = np.ones((2, 5), dtype=bool)
    allowed[1, 3] = False
    assert most_popular(train_histories, allowed, 3).tolist() == [[3, 1, 0], [1, 0, 2]]


def test_unseen_items_are_those_not_in_the_history():
    allowed = unseen([np.array([0, 2]), np.array([1])], 3)
    assert allowed.tolist() == [[False, True, False], [True, False, True]]


def test_windows_are_consecutive_and_start_anywhere():
    rng = np.random.default_rng(0)
    windows = [random_window(np.arange(7), 3, rng).tolist() for _ in range(100)]
    assert sorted(set(map(tuple, windows))) == [(i, i + 1, i + 2) for i in range(5)]


def test_a_window_longer_than_the_history_is_the_history():
    assert random_window(np.arange(2), 3, np.random.default_rng(0)).tolist() == [0, 1]


def test_padded_rows_keep_their_lengths():
    rows, lengths = padded([np.array([5]), np.array([6, 7])])
    assert rows.tolist() == [[5, 0], [6, 7]]
    assert lengths.tolist() == [1, 2]


@pytest.fixture(scope="module")
def circle():
    """Users who walk round six items, and the items' IDs."""
    histories = [(start + np.arange(5)) % 6 for start in range(6) for _ in range(4)]
    codes = [[item // 2, item % 2] for item in range(6)]
    return Trie(SemanticIDIndex(policy="suffix").fit(codes)), leave_one_out(histories)


SETTINGS = Settings(
    lr=1e-2, dropout=0.0, width=16, n_layers=1, max_epochs=30, batch_size=8, n_beams=2
)


def test_training_learns_what_follows_what(circle):
    trie, split = circle
    trained = train(trie, split, SETTINGS, seed=0)
    found = recommend(trained.model, trie, split.test, n_beams=2)
    assert found[:, 0].tolist() == split.test.targets.tolist()
    assert trained.valid_ndcg == 1


def test_training_repeats_and_leaves_the_global_generator_alone(circle):
    trie, split = circle
    few = Settings(width=16, n_layers=1, max_epochs=3, batch_size=8, n_beams=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, other = (train(trie, split, few, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


def test_records_are_found_by_what_they_are_of_after_a_restart(tmp_path):
    path = tmp_path / "records.json"
    Records(path).add({"ndcg": 0.5}, ids="random", seed=1)
    again = Records(path)
    assert again.get(seed=1, ids="random") == {"ndcg": 0.5}
    assert again.get(seed=2, ids="random") is None
