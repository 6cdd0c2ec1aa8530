from __future__ import annotations

import numpy as np
import pytest

from _contract import Task
from _residual_kmeans import fit_residual_kmeans
from generative_recommender.identifiers import METHODS
from generative_recommender.separation import separated
from generative_recommender.views import Views


@pytest.fixture(scope="module")
def views():
    rng = np.random.default_rng(0)
    text = rng.normal(size=(60, 6)).astype(np.float32)
    return Views(text, [rng.choice(59, 8, replace=False) for _ in range(40)])


def test_an_item_without_behaviour_has_it_missing_and_predicted_beside_text(views):
    assert np.isnan(views.behaviour[59]).all()
    assert not np.isnan(views.behaviour[:59]).any()
    assert (views.behaviour_or_mean[59] == 0).all()
    assert np.isfinite(views.both[59, 6:]).all()
    assert views.both[59, 6:].any()


def test_text_and_behaviour_have_equal_variance(views):
    known = views.both[:59]
    text, behaviour = known[:, :6].var(0).sum(), known[:, 6:].var(0).sum()
    assert text == pytest.approx(behaviour, rel=0.1)


def test_items_weigh_the_root_of_one_more_than_their_uses(views):
    n_uses = sum(7 in history for history in views.train)
    assert views.weights[7] == pytest.approx(np.sqrt(1 + n_uses))
    assert views.weights[59] == 1


@pytest.mark.parametrize("wanted", [0.9, 1.0])
def test_separated_ids_are_as_distinct_as_wanted_and_keep_prefixes(views, wanted):
    quantizer = fit_residual_kmeans(views.text, Task(2, 12, 0))
    before = quantizer.encode(views.text)
    after = separated(quantizer, views.text, 12, wanted)
    n_before, n_after = len(np.unique(before, axis=0)), len(np.unique(after, axis=0))
    assert n_before < 54
    assert n_after == round(wanted * 60)
    assert (after[:, 0] == before[:, 0]).all()
    assert (after != before).any(axis=1).sum() == n_after - n_before


def test_codes_that_are_distinct_enough_stay(views):
    quantizer = fit_residual_kmeans(views.text, Task(2, 8, 0))
    after = separated(quantizer, views.text, 8, 0.1)
    assert (after == quantizer.encode(views.text)).all()


@pytest.mark.parametrize(
    "ids",
    ["random", "kmeans", "kmeans-both", "kmeans-both-weighted", "kmeans-behaviour"],
)
def test_methods_make_codes_of_the_same_size_that_a_seed_decides(views, ids):
    one, same, other = (
        METHODS[ids].make(views, Task(2, 8, seed)) for seed in (1, 1, 2)
    )
    assert one.shape == (60, 2)
    assert one.min() >= 0
    assert one.max() < 8
    assert (one == same).all()
    assert (one != other).any()
