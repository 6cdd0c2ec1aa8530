from __future__ import annotations

import numpy as np
import pytest
import torch

from generative_recommender.decoding import beam_search
from generative_recommender.model import CodeTransformer
from generative_recommender.trie import Trie
from sk_rqvae import SemanticIDIndex

CODES = [[0, 1], [0, 1], [2, 0], [2, 2], [1, 0], [2, 1], [0, 0]]
N_ITEMS = len(CODES)


@pytest.fixture(scope="module")
def trie():
    return Trie(SemanticIDIndex(policy="suffix").fit(CODES))


@pytest.fixture(scope="module")
def model(trie):
    """Random weights, large enough for probabilities that differ a lot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CodeTransformer(trie, width=8, n_layers=1, max_length=4).eval()
        with torch.no_grad():
            model.code_vectors.mul_(50)
            model.levels.mul_(50)
    return model


@pytest.fixture(scope="module")
def states(model):
    histories = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 6, 0], [5, 1, 3]])
    with torch.no_grad():
        return model.user_states(histories)[:, -1]


def exhaustive(model, states):
    """The log-probability of every item for every user, one item at a time."""
    with torch.no_grad():
        columns = [
            model.item_log_probs(states, torch.full((len(states),), item))
            for item in range(N_ITEMS)
        ]
    return torch.stack(columns, dim=1)


def everything(states):
    return torch.ones(len(states), N_ITEMS, dtype=torch.bool)


def test_a_trie_leads_from_the_root_along_each_id_to_its_item(trie):
    nodes = torch.zeros(N_ITEMS, dtype=torch.int64)
    for column in trie.codes.T:
        nodes = trie.children[nodes, column]
    assert trie.items[nodes].tolist() == list(range(N_ITEMS))
    assert trie.paths[:, -1].tolist() == nodes.tolist()


def test_a_trie_has_a_node_for_each_prefix_and_no_other(trie):
    prefixes = {
        tuple(identifier[:depth])
        for identifier in trie.codes.tolist()
        for depth in range(4)
    }
    assert len(trie.children) == len(prefixes)
    assert (trie.children >= 0).sum() == len(prefixes) - 1


def test_nodes_are_alive_where_an_allowed_item_is_under_them(trie):
    allowed = torch.zeros(1, N_ITEMS, dtype=torch.bool)
    allowed[0, 3] = True
    alive = trie.alive(allowed)[0]
    assert alive.nonzero().flatten().tolist() == sorted(trie.paths[3].tolist())


def test_the_probabilities_of_all_items_add_up_to_one(model, states):
    total = exhaustive(model, states).exp().sum(dim=1)
    torch.testing.assert_close(total, torch.ones(len(states)))


def test_users_differ_in_what_is_probable(model, states):
    assert len(exhaustive(model, states).argmax(dim=1).unique()) > 1


def test_with_a_beam_for_each_item_the_search_is_exhaustive(model, trie, states):
    items, log_probs = beam_search(model, trie, states, everything(states), N_ITEMS)
    expected = exhaustive(model, states).sort(dim=1, descending=True)
    assert items.tolist() == expected.indices.tolist()
    torch.testing.assert_close(log_probs, expected.values)


def test_what_few_beams_find_exists_once_and_has_its_own_probability(
    model, trie, states
):
    items, log_probs = beam_search(model, trie, states, everything(states), 2)
    assert items.shape == (len(states), 2)
    assert (items >= 0).all()
    assert (items[:, 0] != items[:, 1]).all()
    torch.testing.assert_close(log_probs, exhaustive(model, states).gather(1, items))


def test_users_are_searched_independently_of_each_other(model, trie, states):
    together, _ = beam_search(model, trie, states, everything(states), 3)
    alone = [
        beam_search(model, trie, state[None], everything(state[None]), 3)[0][0].tolist()
        for state in states
    ]
    assert together.tolist() == alone


def test_items_that_are_not_allowed_are_not_found(model, trie, states):
    allowed = everything(states)
    favourites = exhaustive(model, states).argsort(dim=1, descending=True)
    allowed.scatter_(1, favourites[:, :3], False)
    items, _ = beam_search(model, trie, states, allowed, N_ITEMS)
    assert items.tolist() == [[*row[3:], -1, -1, -1] for row in favourites.tolist()]


def test_a_beam_is_not_spent_on_a_prefix_without_an_allowed_item(model, trie, states):
    allowed = torch.zeros(len(states), N_ITEMS, dtype=torch.bool)
    least = exhaustive(model, states).argmin(dim=1)
    allowed[torch.arange(len(states)), least] = True
    items, _ = beam_search(model, trie, states, allowed, 1)
    assert items[:, 0].tolist() == least.tolist()


def test_what_comes_later_does_not_change_a_state(model):
    histories = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 6]])
    with torch.no_grad():
        one, other = model.user_states(histories)
    torch.testing.assert_close(one[:3], other[:3])
    assert not np.allclose(one[3], other[3])
