from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from generative_recommender.batches import Histories, query_batches
from generative_recommender.code_tree import allowed_codes, code_tree, full_ids
from generative_recommender.decoding import best_items, generated_items, states_of
from generative_recommender.judges import judge
from generative_recommender.layers import initial_weights, unpack
from generative_recommender.recommenders import (
    Catalogue,
    generation_loss,
    item_vectors,
    layout_of,
    user_states,
)
from generative_recommender.split import Query, split_histories
from generative_recommender.training import Plan, Settings

CODES = np.array([[0, 1], [0, 1], [2, 0], [2, 2], [1, 0], [2, 1], [0, 0]])
N_ITEMS = len(CODES)
EVERYTHING = np.ones(N_ITEMS, dtype=bool)
QUERY = Query(
    [np.array(row) for row in ([0, 1, 2], [3, 4, 5], [6], [5, 1, 3, 0])], np.zeros(4)
)


class Toy:
    """One run with random weights, and four users."""

    def __init__(self, candidates=EVERYTHING):
        self.ids = full_ids(CODES)
        self.tree = code_tree(self.ids, candidates)
        allowed = allowed_codes(self.ids, self.tree)
        n_codes = allowed.shape[2]
        ids = torch.from_numpy(self.ids)
        self.catalogue = Catalogue(ids[None], allowed[None], n_codes)
        layout = layout_of(self.ids.shape[1], n_codes, 3, True)
        weights = unpack(initial_weights(layout, [0]), layout)
        # Probabilities that differ a lot.
        self.weights = {
            name: 20 * value if name.startswith("codes") else value
            for name, value in weights.items()
        }
        (self.batch,) = query_batches(QUERY, torch.from_numpy(candidates), 3, 10)

    def open_to(self, candidates):
        return replace(self.batch, candidates=torch.from_numpy(candidates))

    def log_probs(self):
        """The log-probability of every item for every user, one item at a time."""
        states = states_of(self.weights, self.catalogue, self.batch)[None]
        columns = []
        for item in range(N_ITEMS):
            targets = torch.full((1, states.shape[1]), item)
            losses = generation_loss(self.weights, states, targets, self.catalogue)
            columns.append(-losses[0])
        return torch.stack(columns, dim=1)

    def generate(self, candidates, n_beams):
        batch = self.open_to(candidates)
        return generated_items(self.weights, self.catalogue, self.tree, batch, n_beams)


@pytest.fixture(scope="module")
def toy():
    return Toy()


@pytest.fixture
def everything():
    return np.ones((4, N_ITEMS), dtype=bool)


def test_suffixes_do_not_follow_the_order_of_the_items():
    ids = full_ids(np.zeros((200, 3), dtype=np.int64))
    assert sorted(ids[:, 3]) == list(range(200))
    assert abs(np.corrcoef(np.arange(200), ids[:, 3])[0, 1]) < 0.2


def test_a_tree_leads_along_each_id_to_its_item(toy):
    nodes = torch.zeros(N_ITEMS, dtype=torch.int64)
    for codes in torch.from_numpy(toy.ids).T:
        nodes = toy.tree.children[nodes, codes]
    assert toy.tree.items[toy.tree.begin[nodes]].tolist() == list(range(N_ITEMS))
    assert (toy.tree.end[nodes] - toy.tree.begin[nodes] == 1).all()


def test_a_tree_of_some_items_leads_to_no_other(toy):
    some = code_tree(toy.ids, np.arange(N_ITEMS) == 3)
    assert (some.children >= 0).sum() == toy.ids.shape[1]


def test_the_probabilities_of_all_items_add_up_to_one(toy):
    torch.testing.assert_close(toy.log_probs().exp().sum(dim=1), torch.ones(4))


def test_items_that_are_no_candidates_have_no_share_of_the_probability():
    candidates = np.arange(N_ITEMS) < 5
    probabilities = Toy(candidates).log_probs().exp()[:, candidates]
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))


def test_with_a_beam_for_each_item_the_search_is_exhaustive(toy, everything):
    expected = toy.log_probs().argsort(dim=1, descending=True)
    assert toy.generate(everything, N_ITEMS).tolist() == expected.tolist()


def test_items_of_a_history_are_not_generated(toy):
    items = toy.generate(toy.batch.candidates.numpy(), N_ITEMS)
    for row, history in zip(items.tolist(), QUERY.histories, strict=True):
        found = [item for item in row if item >= 0]
        assert sorted([*found, *history]) == list(range(N_ITEMS))


def test_a_beam_is_not_spent_on_a_prefix_without_a_candidate(toy):
    least = toy.log_probs().argmin(dim=1).numpy()
    only = np.arange(N_ITEMS) == least[:, None]
    assert toy.generate(only, 1)[:, 0].tolist() == least.tolist()


def test_the_best_items_are_candidates_in_order_of_their_scores(toy):
    vectors = item_vectors(toy.weights, toy.catalogue.ids)[0]
    states = states_of(toy.weights, toy.catalogue, toy.batch)
    scores = states @ vectors.T
    items = best_items(toy.weights, toy.catalogue, toy.batch, N_ITEMS)
    for user, row in enumerate(items.tolist()):
        allowed = toy.batch.candidates[user].nonzero()[:, 0].tolist()
        expected = sorted(allowed, key=lambda item: -scores[user, item])
        assert [item for item in row if item >= 0] == expected


def test_states_of_some_positions_are_those_of_all(toy):
    def states(at):
        items = toy.batch.items[None]
        return user_states(toy.weights, toy.catalogue.ids, items, torch.tensor(at))

    torch.testing.assert_close(states([0, 2]), states([0, 1, 2])[:, :, [0, 2]])


def test_a_state_does_not_depend_on_later_items(toy):
    at = torch.tensor([0, 1])
    items = toy.batch.items[None]
    later = items.clone()
    later[..., 2] = 6
    one, other = (
        user_states(toy.weights, toy.catalogue.ids, each, at) for each in (items, later)
    )
    torch.testing.assert_close(one, other)


def test_windows_are_consecutive_and_may_start_anywhere():
    histories = Histories.of([np.arange(7), np.array([9])], torch.device("cpu"))
    draws = torch.linspace(0, 1, 50, dtype=torch.float64)
    items, lengths = histories.windows(torch.zeros(50, dtype=int), 3, draws)
    assert sorted(set(map(tuple, items.tolist()))) == [
        (i, i + 1, i + 2) for i in range(5)
    ]
    assert items[-1].tolist() == [4, 5, 6]
    items, lengths = histories.windows(torch.tensor([1]), 3, draws[-1:])
    assert (items[0, 0], lengths[0]) == (9, 1)


class Circle:
    """Users who walk round twelve items, as a data set."""

    n_items = 12

    class source:  # noqa: N801
        window = 6
        batch_size = 12

    def __init__(self):
        walks = [(start + np.arange(8)) % 12 for start in range(12)] * 3
        self.split = split_histories(walks, self.n_items)


PLAN = Plan(max_steps=180, steps_a_look=30, n_beams=12)
ROUND = np.stack([np.arange(12) // 4, np.arange(12) % 4], axis=1)


@pytest.mark.parametrize("loss", ["generation", "softmax", "binary"])
def test_training_learns_what_follows_what(loss):
    settings = [Settings(1e-2, 0.0, loss)]
    (outcome,) = judge(Circle(), [ROUND], settings, [0], PLAN, "cpu")
    assert outcome.test_ndcg.mean() > 0.8
    assert outcome.valid_ndcg > 0.8


def test_a_run_that_chooses_settings_scores_validation_items_alone():
    settings = [Settings(1e-2, 0.0, "softmax")]
    plan = replace(PLAN, max_steps=30).shortened()
    (outcome,) = judge(Circle(), [ROUND], settings, [0], plan, "cpu")
    assert outcome.valid_ndcg > 0
    assert outcome.test_ndcg.size == outcome.cold_ndcg.size == 0


def test_runs_of_a_stack_do_not_influence_each_other():
    settings = [Settings(1e-2, 0.0, "generation"), Settings(1e-3, 0.0, "generation")]
    codes = [ROUND, ROUND[::-1].copy()]
    plan = replace(PLAN, max_steps=12, steps_a_look=6, patience=1)
    stack = judge(Circle(), codes, settings, [3, 4], plan, "cpu")
    for run in range(2):
        (alone,) = judge(
            Circle(), [codes[run]], [settings[run]], [3 + run], plan, "cpu"
        )
        assert alone.epoch == stack[run].epoch
        np.testing.assert_allclose(alone.test_ndcg, stack[run].test_ndcg, atol=1e-6)


def test_a_run_repeats_and_leaves_the_global_generator_alone():
    settings = [Settings(1e-2, 0.2, "softmax")]
    plan = replace(PLAN, max_steps=6)
    before = torch.get_rng_state()
    one, other = (
        judge(Circle(), [ROUND], settings, [3], plan, "cpu")[0] for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(one.test_ndcg, other.test_ndcg)
