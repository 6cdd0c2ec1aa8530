"""Retrained models: renamed codes, and the changes that remain."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from index_toys import ToyQuantizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_rqvae import RQVAETransformer
from sk_rqvae.index import RealignedModel, SemanticIDIndex
from sk_rqvae.index.realignment import best_maps


def shuffled(codes, sizes, rng):
    names = [rng.permutation(size) for size in sizes]
    return np.stack([n[c] for n, c in zip(names, codes.T, strict=True)], axis=1)


@given(seed=st.integers(0, 2**32), n_items=st.integers(1, 200))
@settings(max_examples=40)
def test_codes_that_were_only_renamed_get_their_names_back(seed, n_items):
    rng = np.random.default_rng(seed)
    sizes = (5, 4, 6)
    codes = np.stack([rng.integers(0, size, n_items) for size in sizes], axis=1)
    index = SemanticIDIndex(codebook_size=sizes).fit(codes)
    renamed, report = index.realign(shuffled(codes, sizes, rng), np.arange(n_items))
    assert report["kept"][0] == 1
    if n_items > 100:
        assert np.array_equal(renamed, codes)
        assert report["kept"] == [1.0, 1.0, 1.0]
    same, _ = index.realign(codes, np.arange(n_items))
    assert np.array_equal(same, codes)


@given(seed=st.integers(0, 2**32))
@example(seed=272)  # equally good names of one level let another improve
@settings(max_examples=30)
def test_no_other_names_of_one_level_keep_more_codes(seed):
    rng = np.random.default_rng(seed)
    old, new = rng.integers(0, 3, (2, 12, 2))
    maps = best_maps(new, old, (3, 3))

    def kept(names):
        renamed = np.stack([n[c] for n, c in zip(names, new.T, strict=True)], axis=1)
        return np.cumprod(renamed == old, axis=1).sum()

    for level in range(2):
        assert sorted(maps[level]) == [0, 1, 2]
        for other in itertools.permutations(range(3)):
            names = list(maps)
            names[level] = np.array(other)
            assert kept(names) <= kept(maps)


def test_new_names_keep_no_fewer_codes_than_the_present_ones():
    # Level by level, most items keep their code if 0 is called 1, then 1, then 0.
    old = np.repeat([[0, 0, 0], [1, 1, 0], [1, 1, 1]], [49, 26, 25], axis=0)
    index = SemanticIDIndex(policy="none", codebook_size=2).fit(old)
    _, report = index.realign(np.zeros((100, 3), dtype=int), np.arange(100))
    assert sum(report["kept"]) >= sum(report["kept_without"]) == pytest.approx(1.47)


def test_most_items_keep_their_codes_when_some_moved_and_some_are_new():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 16, (2000, 3))
    index = SemanticIDIndex(policy="none", codebook_size=16).fit(codes)
    changed = codes.copy()
    moved = rng.choice(2000, 200, replace=False)
    changed[moved] = rng.integers(0, 16, (200, 3))
    fresh = rng.integers(0, 16, (100, 3))
    new = shuffled(np.concatenate([changed, fresh]), (16,) * 3, rng)
    renamed, report = index.realign(new, np.arange(2100))
    assert np.array_equal(renamed, np.concatenate([changed, fresh]))
    assert (report["n_items"], report["n_common"]) == (2100, 2000)
    assert min(report["kept"]) >= 0.9 > 0.2 > max(report["kept_without"])


def test_a_realigned_model_gives_the_codes_that_realign_gave():
    X = np.round(np.random.default_rng(0).normal(scale=60, size=(80, 2)))
    old, new = (ToyQuantizer(3, 4, random_state=seed).fit(X) for seed in (0, 1))
    index = SemanticIDIndex(codebook_size=4).fit(old.transform(X))
    items = np.arange(80)
    codes, report = index.realign(new.transform(X), items, model=new)
    model = pickle.loads(pickle.dumps(report["model"]))
    assert np.array_equal(model.transform(X), codes)
    assert np.array_equal(
        model.inverse_transform(codes), new.inverse_transform(new.transform(X))
    )
    prefix = codes[:, :1]
    distances = model.next_code_distances(X, prefix)
    assert np.array_equal(distances.argmin(axis=1), codes[:, 1])
    later = SemanticIDIndex(policy="reassign").fit(
        codes[:30], X=X[:30], model=report["model"]
    )
    later.add(model.transform(X[30:40]), X=X[30:40], model=model)
    with pytest.raises(ValueError, match="model must be the one"):
        later.add(new.transform(X[40:]), X=X[40:], model=new)


def test_a_realigned_transformer_is_saved_like_any_other(fitted, blobs, tmp_path):
    codes = fitted.transform(blobs)
    index = SemanticIDIndex(policy="none").fit(codes[:, ::-1])
    renamed, report = index.realign(codes, np.arange(len(codes)), model=fitted)
    later = SemanticIDIndex().fit(renamed[5:], model=report["model"])
    report["model"].save_pretrained(tmp_path)
    model = RQVAETransformer.from_pretrained(tmp_path)
    assert np.array_equal(model.transform(blobs), renamed)
    assert len(later.add(renamed[:5], model=model)) == 5


def test_a_realigned_model_is_made_again_of_its_model_and_its_maps():
    X = np.round(np.random.default_rng(0).normal(scale=60, size=(80, 2)))
    quantizer = ToyQuantizer(3, 4).fit(X)
    codes = quantizer.transform(X)
    index = SemanticIDIndex(policy="none").fit(codes[:, ::-1])
    renamed, report = index.realign(codes, np.arange(80), model=quantizer)
    later = SemanticIDIndex().fit(renamed[5:], model=report["model"])
    model = RealignedModel(quantizer, report["code_maps"])
    assert np.array_equal(model.transform(X), renamed)
    assert len(later.add(renamed[:5], model=model)) == 5


def test_maps_that_are_no_permutation_are_an_error():
    model = ToyQuantizer(2, 3).fit(np.zeros((1, 2)))
    for maps in ([[0, 1, 2]], [[0, 1, 2], [0, 1, 1]], [[0, 1, 2], [0, 1]]):
        with pytest.raises(ValueError, match="code_maps must have a permutation"):
            RealignedModel(model, [np.array(names) for names in maps])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[-1, 0]], "must not be negative"),
        ([[1.5, 0]], r"Got 1\.5"),
        ([[3, 0]], "Got 3"),
        ([[0, 0, 0]], "X must have at most 2 columns"),
    ],
)
def test_codes_that_a_realigned_model_does_not_have_are_refused(codes, message):
    model = ToyQuantizer(2, 3).fit(np.zeros((1, 2)))
    renamed = RealignedModel(model, [np.array([2, 0, 1])] * 2)
    with pytest.raises(ValueError, match=message):
        renamed.inverse_transform(codes)


def test_a_realigned_pipeline_is_a_pipeline():
    X = np.random.default_rng(0).normal(scale=60, size=(80, 2))
    pipe = make_pipeline(StandardScaler().fit(X), ToyQuantizer(2, 4).fit(X))
    index = SemanticIDIndex().fit(pipe.transform(X)[:, ::-1])
    codes, report = index.realign(pipe.transform(X), np.arange(80), model=pipe)
    assert np.array_equal(report["model"].transform(X), codes)
    later = SemanticIDIndex().fit(codes, model=report["model"])
    assert len(later.add(codes[:3], model=report["model"])) == 3


def test_codes_that_cannot_be_compared_are_an_error():
    X = np.zeros((2, 2))
    index = SemanticIDIndex(codebook_size=4).fit([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="must have the 2 levels of the index"):
        index.realign([[0, 1, 2]], [0])
    with pytest.raises(ValueError, match="below codebook_size"):
        index.realign([[0, 4]], [0])
    with pytest.raises(ValueError, match="codebook_size must be that of the model"):
        index.realign([[0, 1]], [0], model=ToyQuantizer(2, 5).fit(X))
    with pytest.raises(ValueError, match="same length"):
        index.realign([[0, 1]], [0, 1])


def test_churn_counts_what_changed_at_each_level():
    before = SemanticIDIndex().fit(
        [[0, 1], [0, 1], [2, 2], [3, 3], [3, 4]], ["a", "b", "c", "d", "e"]
    )
    after = SemanticIDIndex().fit(
        [[0, 1], [2, 2], [0, 2], [3, 3], [5, 5]], ["b", "a", "c", "d", "f"]
    )
    assert before.churn(after) == {
        "n_common": 4,
        "n_added": 1,
        "n_removed": 1,
        # a and c have another first code, b another suffix.
        "n_changed": [2, 2, 3],
        "changed_share": [0.5, 0.5, 0.75],
        "prefixes_gone": [0, 1, 2],
        "prefixes_new": [1, 2, 2],
        # (0, 1, 0) was a and is b; (2, 2, 0) was c and is a.
        "n_reused": 2,
    }
    assert sum(before.churn(before)["n_changed"]) == 0


def test_an_item_that_was_removed_and_comes_later_is_added():
    before = SemanticIDIndex(policy="none").fit([[0, 1], [1, 1]], ["a", "b"])
    before.remove(["a"])
    after = SemanticIDIndex(policy="none").fit([[0, 1], [1, 1]], ["a", "b"])
    report = before.churn(after)
    assert (report["n_common"], report["n_added"], report["n_removed"]) == (1, 1, 0)


def test_churn_compares_ids_with_and_without_a_suffix():
    before = SemanticIDIndex(policy="none").fit([[0, 1], [1, 1]])
    after = SemanticIDIndex(policy="suffix").fit([[0, 1], [1, 1]])
    report = before.churn(after)
    assert report["n_changed"] == [0, 0, 2]
    assert report["n_reused"] == 0


def test_a_model_that_lacks_codes_of_the_index_is_an_error():
    model = ToyQuantizer(2, 4).fit(np.zeros((1, 2)))
    index = SemanticIDIndex(policy="none").fit([[0, 5], [2, 3]], ["a", "b"])
    message = r"model must have the codes of the index, at least \(3, 6\) a level"
    with pytest.raises(ValueError, match=message):
        index.realign([[0, 1], [2, 3]], ["a", "b"], model=model)
    with pytest.raises(ValueError, match=message):
        index.rebind(model)


def test_an_id_of_a_removed_item_that_another_item_has_now_is_reused():
    before = SemanticIDIndex().fit([[0, 1]] * 3, ["a", "b", "c"])
    of_b = before.ids_of(["b"])
    before.remove(["b"])
    after = SemanticIDIndex().fit([[0, 1]] * 2, ["a", "c"])
    assert after.lookup(of_b).tolist() == ["c"]
    assert before.churn(after)["n_reused"] == 1


def test_an_item_that_comes_back_to_its_old_id_does_not_reuse_it():
    before = SemanticIDIndex().fit([[0, 1], [1, 1]], ["a", "b"])
    after = SemanticIDIndex().fit([[0, 1], [1, 1]], ["a", "b"])
    before.remove(["b"])
    assert before.churn(after)["n_reused"] == 0


def test_items_of_another_kind_cannot_be_realigned():
    index = SemanticIDIndex().fit([[0, 1], [1, 2]], ["1", "2"])
    with pytest.raises(TypeError, match=r"must be of the index's type, str\. Got 1"):
        index.realign([[0, 1], [1, 2]], [1, 2])


def test_items_that_are_realigned_come_once():
    index = SemanticIDIndex().fit([[0, 1], [1, 2]], ["a", "b"])
    with pytest.raises(ValueError, match=r"must be unique\. Got 'a' more than once"):
        index.realign([[0, 1], [1, 2]], ["a", "a"])


def test_without_common_items_no_share_of_them_is_known():
    index = SemanticIDIndex().fit([[0, 1], [1, 2]], ["a", "b"])
    _, report = index.realign([[0, 1], [1, 2]], ["c", "d"])
    assert report["n_common"] == 0
    assert np.isnan(report["kept"] + report["kept_without"]).all()


def test_new_codes_may_be_above_or_below_those_of_the_index():
    index = SemanticIDIndex().fit([[5, 1], [2, 1]], ["a", "b"])
    codes, _ = index.realign([[0, 1], [1, 0]], ["a", "x"])
    assert codes[0].tolist() == [5, 1]
    codes, _ = index.realign([[9, 1]], ["a"])
    assert codes.tolist() == [[5, 1]]
    codes, _ = index.realign([[0, 1], [1, 0]], ["x", "y"])
    assert codes.tolist() == [[0, 1], [1, 0]]


def test_codes_that_no_item_decides_keep_their_names():
    index = SemanticIDIndex(codebook_size=4).fit([[0], [3]], ["a", "b"])
    _, report = index.realign([[1], [2]], ["x", "y"])
    assert report["code_maps"][0].tolist() == [0, 1, 2, 3]
    rng = np.random.default_rng(0)
    for _ in range(100):
        old, new = rng.permutation(6)[:2], rng.permutation(6)[:2]
        index = SemanticIDIndex(codebook_size=6).fit(old[:, None], ["a", "b"])
        _, report = index.realign(new[:, None], ["a", "b"])
        free = np.setdiff1d(np.arange(6), np.union1d(old, new))
        assert report["code_maps"][0][free].tolist() == free.tolist()


def test_an_id_that_goes_back_to_an_earlier_item_is_reused():
    backup = SemanticIDIndex().fit([[0, 0], [1, 1]], ["x", "y"])
    live = SemanticIDIndex().fit([[0, 0], [1, 1]], ["x", "y"])
    live.remove(["x"], reuse=True)
    live.add([[0, 0]], ["q"])
    assert live.lookup([[0, 0, 0]]).tolist() == ["q"]
    assert live.churn(backup)["n_reused"] == 1
