"""Reassigned IDs: near, unique, independent of calls, and with a known cost."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from index_toys import NaiveIndex, ToyQuantizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_rqvae import SemanticIDIndex
from sk_rqvae.index import RealignedModel, code_model
from sk_rqvae.index.policies import candidates
from sk_rqvae.metrics import reconstruction_error


def crowd(n_items, n_features=2, *, seed=0, spread=40):
    """Whole numbers, many of them equal."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(scale=spread, size=(n_items, n_features)))


@given(
    seed=st.integers(0, 2**32),
    n_items=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    spread=st.sampled_from([1, 20, 80]),
    shape=st.sampled_from([(1, 60), (2, 8), (3, 4), (6, 2)]),
)
@settings(max_examples=60, deadline=None)
def test_items_reassigned_together_get_the_ids_of_items_reassigned_one_by_one(
    seed, n_items, cuts, spread, shape
):
    n_layers, size = shape
    X = crowd(n_items, seed=seed, spread=spread)
    model = ToyQuantizer(n_layers, size, random_state=seed).fit(X)
    codes = model.transform(X)
    naive = NaiveIndex("reassign", sizes=(size,) * n_layers)
    naive.add(
        codes.tolist(),
        range(n_items),
        lambda row, prefix: model.next_code_distances(
            X[[row]], np.array([prefix], dtype=int).reshape(1, -1)
        )[0],
    )
    index = SemanticIDIndex(policy="reassign").fit(codes[:0], X=X[:0], model=model)
    for rows in np.split(np.arange(n_items), sorted(min(c, n_items) for c in cuts)):
        index.add(codes[rows], X=X[rows], model=model)
    assert list(map(tuple, index.ids_.tolist())) == naive.ids


def test_an_item_moves_to_the_nearest_free_code_of_the_last_level():
    model = ToyQuantizer(n_layers=2, codebook_size=4).fit(np.zeros((1, 1)))
    model.codebooks_ = [
        np.array([[0.0], [100.0], [200.0], [300.0]]),
        np.array([[0.0], [3.0], [-2.0], [9.0]]),
    ]
    X = np.array([[100.0], [100.0], [100.0], [101.0]])
    index = SemanticIDIndex(policy="reassign")
    index.fit(model.transform(X), X=X, model=model)
    assert index.ids_.tolist() == [[1, 0], [1, 2], [1, 1], [1, 3]]


def test_an_item_goes_up_a_level_where_the_last_one_is_full():
    model = ToyQuantizer(n_layers=2, codebook_size=2).fit(np.zeros((1, 1)))
    model.codebooks_ = [np.array([[0.0], [100.0]]), np.array([[0.0], [1.0]])]
    X = np.array([[0.0], [1.0], [1.0], [0.0]])
    index = SemanticIDIndex(policy="reassign")
    index.fit(model.transform(X), X=X, model=model)
    assert index.ids_.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    summary = index.summary()
    assert summary["n_moved"] == 2
    assert summary["moved_at_level"] == [2, 0]


def test_the_summary_says_what_moving_cost_in_reconstruction():
    X = crowd(50, seed=1, spread=10)
    model = ToyQuantizer(n_layers=2, codebook_size=16).fit(X)
    codes = model.transform(X)
    index = SemanticIDIndex(policy="reassign").fit(codes[:30], X=X[:30], model=model)
    index.add(codes[30:], X=X[30:], model=model)
    summary = index.summary()
    before = reconstruction_error(X, model.inverse_transform(codes))
    after = reconstruction_error(X, model.inverse_transform(index.ids_))
    assert summary["n_moved"] == (index.ids_ != codes).any(axis=1).sum() > 0
    assert summary["added_error"] == pytest.approx(after - before)
    assert summary["n_unique"] == len(np.unique(codes, axis=0)) < 50


def test_every_id_can_be_taken_and_one_more_item_is_an_error():
    X = crowd(9, seed=2)
    model = ToyQuantizer(n_layers=2, codebook_size=3).fit(X)
    index = SemanticIDIndex(policy="reassign")
    index.fit(model.transform(X), X=X, model=model)
    assert len(np.unique(index.ids_, axis=0)) == 9
    with pytest.raises(ValueError, match="Got 10 items in all, expected at most 9"):
        index.add(model.transform(X[:1]), X=X[:1], model=model)
    assert len(index.ids_) == 9


def test_the_model_is_asked_for_many_items_at_once():
    X = np.repeat(crowd(300, seed=3, spread=2000), 2, axis=0)
    model = ToyQuantizer(n_layers=3, codebook_size=16).fit(X)
    codes = model.transform(X)
    model.calls_ = 0
    index = SemanticIDIndex(policy="reassign").fit(codes, X=X, model=model)
    assert index.summary()["n_moved"] >= 300
    assert model.calls_ < 60


def test_the_first_free_alternative_is_taken():
    index = SemanticIDIndex(policy="reassign")
    index.fit([[0, 0], [1, 1]], alternatives=[[[0, 1]], [[1, 0]]])
    new = index.add([[0, 0], [0, 0]], alternatives=[[[1, 1], [0, 1]], [[0, 1], [5, 5]]])
    assert new.tolist() == [[0, 1], [5, 5]]
    assert index.summary()["n_moved"] == 2
    assert index.summary()["added_error"] is None
    assert index.lookup([[5, 5]]).tolist() == [3]


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_ids_by_alternatives_do_not_depend_on_the_division_into_calls(seed, cut):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 6, (40, 2))
    every = np.array([[a, b] for a in range(7) for b in range(7)])
    ranked = np.stack([rng.permutation(every) for _ in codes])
    whole = SemanticIDIndex(policy="reassign").fit(codes, alternatives=ranked)
    parts = SemanticIDIndex(policy="reassign")
    parts.fit(codes[:cut], alternatives=ranked[:cut])
    parts.add(codes[cut:], alternatives=ranked[cut:])
    assert np.array_equal(parts.ids_, whole.ids_)
    assert len(np.unique(whole.ids_, axis=0)) == 40


def test_alternatives_that_are_all_taken_are_an_error():
    index = SemanticIDIndex(policy="reassign")
    with pytest.raises(ValueError, match="Got none for row 1"):
        index.fit([[0, 0], [0, 0]], alternatives=[[[0, 0]], [[0, 0]]])


def test_reassigning_without_a_model_or_alternatives_is_an_error():
    with pytest.raises(ValueError, match="must have X and model, or alternatives"):
        SemanticIDIndex(policy="reassign").fit([[0, 0]])


@pytest.mark.parametrize("policy", ["none", "suffix"])
def test_alternatives_for_a_policy_that_does_not_use_them_are_an_error(policy):
    with pytest.raises(ValueError, match="alternatives must be None"):
        SemanticIDIndex(policy=policy).fit([[0, 0]], alternatives=[[[0, 1]]])


def test_a_model_without_distances_is_an_error():
    class Mute(ToyQuantizer):
        next_code_distances = None

    model = Mute(n_layers=1, codebook_size=2)
    model.codebooks_ = [np.zeros((2, 1))]
    with pytest.raises(TypeError, match="must have next_code_distances"):
        SemanticIDIndex(policy="reassign").fit([[0]], X=[[1.0]], model=model)


@pytest.mark.parametrize("wrong", [np.zeros((1, 3)), np.full((1, 2), np.nan)])
def test_distances_of_a_wrong_shape_or_not_finite_are_an_error(wrong):
    model = ToyQuantizer(n_layers=1, codebook_size=2).fit(np.zeros((1, 1)))
    index = SemanticIDIndex(policy="reassign").fit([[0]], X=[[1.0]], model=model)
    model.next_code_distances = lambda X, prefix: wrong
    with pytest.raises(ValueError, match="finite distances of shape"):
        index.add([[0]], X=[[1.0]], model=model)
    assert index.ids_.tolist() == [[0]]


class CandidateQuantizer(ToyQuantizer):
    """A quantizer with candidates, in order of their reconstruction errors."""

    def candidates(self, X, k):
        every = np.array(list(product(*(range(len(b)) for b in self.codebooks_))))
        restored = self.inverse_transform(every)
        errors = ((np.asarray(X)[:, None] - restored) ** 2).sum(axis=2)
        order = np.argsort(errors, axis=1, kind="stable")[:, :k]
        return every[order], np.take_along_axis(errors, order, axis=1)


@given(
    seed=st.integers(0, 2**32),
    n_items=st.integers(0, 40),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    capacity=st.integers(1, 3),
    n_candidates=st.sampled_from([1, 3, 32]),
)
@settings(max_examples=40, deadline=None)
def test_an_item_gets_the_best_candidate_of_its_model_that_is_free(
    seed, n_items, cuts, capacity, n_candidates
):
    X = crowd(n_items, seed=seed, spread=10)
    model = CandidateQuantizer(2, 7, random_state=seed).fit(X)
    codes = model.transform(X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_model, "_CANDIDATES", n_candidates)
        patch.setattr(candidates, "_ROWS_AHEAD", 3)
        index = SemanticIDIndex(policy="reassign", capacity=capacity)
        index.fit(codes[:0], X=X[:0], model=model)
        for rows in np.split(np.arange(n_items), sorted(min(c, n_items) for c in cuts)):
            index.add(codes[rows], X=X[rows], model=model)
    counts = Counter()
    for row, identifier in enumerate(map(tuple, index.ids_.tolist())):
        found = model.candidates(X[[row]], n_candidates)[0][0].tolist()
        wishes = [tuple(codes[row].tolist()), *map(tuple, found)]
        free = [wish for wish in wishes if counts[wish] < capacity]
        assert identifier == (free[0] if free else identifier)
        counts[identifier] += 1
        assert counts[identifier] <= capacity


def test_a_transformer_reassigns_to_its_own_candidates(fitted, blobs):
    X = np.repeat(blobs[:1], 4, axis=0)
    index = SemanticIDIndex(policy="reassign")
    index.fit(fitted.transform(X), X=X, model=fitted)
    best, _ = fitted.candidates(X[:1], 32)
    own = index.ids_[0].tolist()
    others = [code for code in best[0].tolist() if code != own]
    assert index.ids_.tolist() == [own, *others[:3]]


class WholeDistances(ToyQuantizer):
    """Gives its distances, which are whole numbers, as integers."""

    def next_code_distances(self, X, prefix):
        return super().next_code_distances(X, prefix).astype(np.int64)


def test_distances_can_be_integers():
    X = np.round(np.random.default_rng(0).normal(scale=40, size=(60, 2)))
    found = []
    for kind in (ToyQuantizer, WholeDistances):
        model = kind(2, 8).fit(X)
        index = SemanticIDIndex(policy="reassign", codebook_size=8)
        found.append(index.fit(model.transform(X), X=X, model=model).ids_)
    assert len(np.unique(model.transform(X), axis=0)) < 60
    np.testing.assert_array_equal(*found)


def test_as_many_items_return_to_their_codes_as_have_room():
    index = SemanticIDIndex(policy="reassign", codebook_size=4)
    index.fit(
        [[0, 0]] * 3, ["a", "b", "c"], alternatives=[[[0, 0], [1, 1], [2, 2]]] * 3
    )
    index.remove(["a"], reuse=True)
    report = index.update(
        [[0, 0]] * 2,
        ["b", "c"],
        alternatives=[[[0, 0], [3, 3]]] * 2,
        on_change="move",
    )
    assert report["moved"].tolist() == [True, False]
    assert report["ids"].tolist() == [[0, 0], [2, 2]]
    assert report["n_moved"] == 1


@pytest.mark.parametrize(
    "alternatives", [[[[9, 0]]], [[[1, 0]], [[1, 1]]], [[[1, 0], [9, 0]]]]
)
def test_alternatives_that_do_not_fit_are_an_error(alternatives):
    index = SemanticIDIndex(policy="reassign", codebook_size=4)
    index.fit([[0, 0]], ["a"], alternatives=[[[1, 1]]])
    with pytest.raises(ValueError, match="alternatives must"):
        index.add([[0, 0]], ["b"], alternatives=alternatives)


def test_rows_reach_the_quantizer_of_a_pipeline_through_its_steps():
    X = np.random.default_rng(0).normal(scale=30, size=(40, 3))
    scaled = Pipeline(
        [
            ("half", FunctionTransformer(lambda X: 100 * X[:, ::-1])),
            ("toy", ToyQuantizer(n_layers=2).fit(100 * X[:, ::-1])),
        ]
    )
    toy = scaled.steps[-1][1]
    codes = toy.transform(100 * X[:, ::-1])[:10]
    by_pipeline = SemanticIDIndex(policy="reassign").fit(codes, X=X[:10], model=scaled)
    by_toy = SemanticIDIndex(policy="reassign").fit(
        codes, X=100 * X[:10, ::-1], model=toy
    )
    assert by_pipeline.summary()["n_moved"] > 0
    assert by_pipeline.ids_.tolist() == by_toy.ids_.tolist()
    assert by_pipeline.summary() == by_toy.summary()


class Wrong(ToyQuantizer):
    def candidates(self, X, k):
        return np.full((len(X), k, self.n_layers), 99), np.zeros((len(X), k))


def test_candidates_must_be_codes_of_the_model():
    X = np.zeros((2, 3))
    model = Wrong(n_layers=2).fit(X)
    with pytest.raises(ValueError, match="candidates"):
        SemanticIDIndex(policy="reassign").fit(model.transform(X), X=X, model=model)


@pytest.fixture
def frame(blobs):
    """Rows so much alike that many have one ID, with names of their columns."""
    rows = np.repeat(blobs[:20], 3, axis=0)
    return pd.DataFrame(rows, columns=list("abcdefghijkl"))


@pytest.fixture(params=["itself", "realigned", "in a Pipeline", "frozen"])
def named(request, fitted, frame):
    """The transformer with the names of columns of a frame, alone or in something."""
    model = copy.copy(fitted)
    model.feature_names_in_ = frame.columns.to_numpy(dtype=object)
    if request.param == "realigned":
        return RealignedModel(model, [np.arange(16)[::-1]] * 3)
    if request.param == "in a Pipeline":
        # This step gives a frame back and does not look at its columns.
        return make_pipeline(FunctionTransformer(lambda X: X), model)
    if request.param == "frozen":
        return FrozenEstimator(model)
    return model


def polars_frame(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def dask_frame(frame):
    dask_dataframe = pytest.importorskip("dask.dataframe")
    return dask_dataframe.from_pandas(frame, npartitions=2)


FRAMES = [pd.DataFrame, polars_frame, dask_frame]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_with_another_order_of_columns_is_refused(named, frame, kind):
    index = SemanticIDIndex(policy="reassign")
    codes = named.transform(frame)
    with pytest.raises(ValueError, match="must be in the same order"):
        index.fit(codes, X=kind(frame[frame.columns[::-1]]), model=named)
    with pytest.raises(ValueError, match="seen at fit time, yet now missing:\n- a"):
        index.fit(codes, X=kind(frame.rename(columns={"a": "z"})), model=named)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_with_columns_as_in_fit_gives_the_ids_of_its_rows(
    named, frame, kind, recwarn
):
    codes = named.transform(frame)
    index = SemanticIDIndex(policy="reassign")
    index.fit(codes[:30], X=kind(frame[:30]), model=named)
    index.add(codes[30:], X=kind(frame[30:]), model=named)
    index.update(codes, np.arange(60), X=kind(frame), model=named)
    assert [str(each.message) for each in recwarn] == []
    assert index.summary()["n_moved"] > 0
    with warnings.catch_warnings(action="ignore"):
        nameless = SemanticIDIndex(policy="reassign").fit(
            codes, X=frame.to_numpy(), model=named
        )
    assert index.ids_.tolist() == nameless.ids_.tolist()
    assert index.summary() == nameless.summary()


def test_rows_of_one_dimension_are_refused_as_such(named, frame):
    with pytest.raises(ValueError, match="X must be a 2-D array of numbers"):
        SemanticIDIndex().fit(named.transform(frame), X=frame["a"], model=named)


def test_a_model_keeps_its_column_names_in_an_index(named, frame):
    codes = named.transform(frame)
    SemanticIDIndex(policy="reassign").fit(codes, X=frame, model=named)
    with pytest.raises(ValueError, match="must be in the same order"):
        named.transform(frame[frame.columns[::-1]])


def test_rows_without_column_names_give_the_one_warning_of_transform(fitted, frame):
    named = copy.copy(fitted)
    named.feature_names_in_ = frame.columns.to_numpy(dtype=object)
    codes = named.transform(frame)
    with pytest.warns(UserWarning, match="does not have valid feature") as caught:
        SemanticIDIndex(policy="reassign").fit(codes, X=frame.to_numpy(), model=named)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "as_tensor",
    [
        torch.Tensor.bfloat16,
        torch.Tensor.requires_grad_,
        lambda X: X.bfloat16().requires_grad_(),
        torch.Tensor.double,
    ],
)
def test_any_tensor_that_a_transformer_takes_can_be_the_rows(fitted, frame, as_tensor):
    X = as_tensor(torch.tensor(frame.to_numpy()))
    codes = fitted.transform(X)
    index = SemanticIDIndex(policy="reassign").fit(codes, X=X, model=fitted)
    rows = X.detach().double().numpy()
    expected = SemanticIDIndex(policy="reassign").fit(codes, X=rows, model=fitted)
    assert index.ids_.tolist() == expected.ids_.tolist()
    assert index.summary() == expected.summary()
