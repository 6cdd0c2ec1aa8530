"""Merges of an index with a file that others have saved meanwhile."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from index_toys import ToyQuantizer

from sk_rqvae.index import SemanticIDIndex


def test_the_revision_of_a_merge_is_above_that_of_the_file(tmp_path):
    path = tmp_path / "index"
    SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", "b"]).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[2, 2]], ["c"])
    theirs.remove(["c"])
    theirs.remove(["b"])
    theirs.save(path)
    mine.add([[3, 3]], ["d"])
    mine.save(path, on_conflict="merge")
    assert (theirs.revision_, mine.revision_) == (4, 5)


@pytest.mark.parametrize("side", ["theirs", "mine"])
def test_an_index_that_was_rebound_on_one_side_cannot_be_merged(tmp_path, side):
    path = tmp_path / "index"
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 2))
    model, other = (ToyQuantizer(random_state=seed).fit(X) for seed in (0, 1))
    codes = model.transform(X)
    SemanticIDIndex().fit(codes, model=model).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    (theirs if side == "theirs" else mine).rebind(other)
    theirs.remove([0])
    theirs.save(path)
    mine.remove([1])
    with pytest.raises(ValueError, match="the same model"):
        mine.save(path, on_conflict="merge")


def test_a_merge_keeps_the_records_of_updates_of_new_items(tmp_path):
    path = tmp_path / "index"
    SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", "b"]).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[2, 2]], ["c"])
    theirs.save(path)
    mine.add([[3, 3]], ["d"])
    mine.update([[4, 4]], ["d"])
    mine.save(path, on_conflict="merge")
    for index in (mine, SemanticIDIndex.load(path)):
        assert index.summary()["n_moved"] == 1
        report = index.update([[2, 2], [4, 4]], ["c", "d"])
        assert report["n_changed"] == 0


def test_a_merge_keeps_that_an_item_kept_its_id_though_its_codes_came_back(tmp_path):
    path = tmp_path / "index"
    index = SemanticIDIndex(policy="reassign", codebook_size=4)
    others = [[[0, 1]], [[0, 2]]]
    index.fit([[0, 0], [0, 0]], ["a", "b"], alternatives=others).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[3, 3]], ["c"], alternatives=others[:1])
    theirs.save(path)
    for codes in ([[2, 2]], [[0, 0]]):
        mine.update(codes, ["b"], alternatives=others[:1])
    mine.save(path, on_conflict="merge")
    moved = SemanticIDIndex.load(path).update(
        [[0, 0]], ["b"], alternatives=others[:1], on_change="move"
    )
    assert moved["n_moved"] == 1


def test_a_merge_takes_over_new_embeddings_with_the_same_codes(tmp_path):
    path = tmp_path / "index"
    X = np.arange(6.0).reshape(3, 2)
    SemanticIDIndex().fit([[0, 0], [0, 0], [1, 1]], ["a", "b", "c"], X=X).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[2, 2]], ["d"], X=[[7.0, 7.0]])
    theirs.save(path)
    mine.update([[0, 0]], ["b"], X=X[:1])
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).summary()["exact_duplicates"] == 1
    assert mine.history()[-1]["n_changed"] == 1


def test_one_item_with_other_embeddings_on_both_sides_cannot_be_merged(tmp_path):
    path = tmp_path / "index"
    X = np.arange(6.0).reshape(3, 2)
    SemanticIDIndex().fit([[0, 0], [0, 0], [1, 1]], ["a", "b", "c"], X=X).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.update([[0, 0]], ["b"], X=X[:1])
    theirs.save(path)
    mine.update([[0, 0]], ["b"], X=X[2:])
    with pytest.raises(ValueError, match="must not be updated by one side"):
        mine.save(path, on_conflict="merge")


@pytest.mark.parametrize("side", ["theirs", "mine", "both"])
def test_a_merge_knows_no_duplicates_if_one_side_does_not(tmp_path, side):
    path, X = tmp_path / "index", np.arange(6.0).reshape(3, 2)
    SemanticIDIndex().fit([[0, 0], [0, 0], [1, 1]], ["a", "b", "c"], X=X).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.update([[2, 2]], ["a"], X=X[:1] if side == "mine" else None)
    theirs.save(path)
    mine.update([[4, 4]], ["b"], X=X[2:] if side == "theirs" else None)
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).summary()["exact_duplicates"] is None


@pytest.mark.parametrize("policy", ["none", "reassign"])
def test_both_sides_of_a_merge_cannot_exceed_the_capacity(tmp_path, policy):
    path = tmp_path / "index"
    others = {} if policy == "none" else {"alternatives": [[[1, 1]]]}
    index = SemanticIDIndex(policy=policy, capacity=2, codebook_size=4)
    index.fit([[0, 0]], ["a"], **others).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[0, 0]], ["b"], **others)
    theirs.save(path)
    mine.add([[0, 0]], ["c"], **others)
    with pytest.raises(ValueError, match="added by both sides"):
        mine.save(path, on_conflict="merge")


@pytest.mark.parametrize("weighted", ["theirs", "mine", "both"])
def test_a_merge_keeps_the_weights_of_both_sides(tmp_path, weighted):
    path = tmp_path / "index"
    SemanticIDIndex(policy="none").fit([[0, 0]], ["a"]).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[0, 0]], ["b"], weights=None if weighted == "mine" else [2.0])
    theirs.save(path)
    mine.add([[0, 0]], ["c"], weights=None if weighted == "theirs" else [3.0])
    mine.save(path, on_conflict="merge")
    expected = {"theirs": "bac", "mine": "cab", "both": "cba"}[weighted]
    for index in (mine, SemanticIDIndex.load(path)):
        assert index.lookup([[0, 0]])[0].tolist() == list(expected)


@pytest.mark.parametrize("weights", [[3.0, 2.0, 1.0], None])
@pytest.mark.parametrize("side", ["theirs", "mine", "both"])
def test_a_merge_takes_over_new_weights(tmp_path, weights, side):
    path = tmp_path / "index"
    index = SemanticIDIndex(policy="none").fit([[0, 0]] * 3, list("abc"))
    if weights is not None:
        index.update([[0, 0]] * 3, list("abc"), weights=weights)
    index.save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    if side != "mine":
        theirs.update([[0, 0]], ["b"], weights=[5.0])
    theirs.add([[0, 0]], ["d"])
    theirs.save(path)
    if side != "theirs":
        mine.update([[0, 0]], ["b" if side == "both" else "c"], weights=[5.0])
    mine.add([[0, 0]], ["e"])
    mine.save(path, on_conflict="merge")
    first = "c" if side == "mine" else "b"
    rest = [item for item in "abcde" if item != first]
    for merged in (mine, SemanticIDIndex.load(path)):
        assert merged.lookup([[0, 0]])[0].tolist() == [first, *rest]


@pytest.mark.parametrize("weights", [[3.0, 2.0], None])
@pytest.mark.parametrize(
    "other",
    [
        lambda index: index.update([[0, 0]], ["a"], weights=[6.0]),
        lambda index: index.update([[1, 1]], ["a"]),
        lambda index: index.update([[1, 1]], ["a"], on_change="move"),
    ],
)
def test_one_item_with_a_new_weight_and_another_change_cannot_be_merged(
    tmp_path, weights, other
):
    path = tmp_path / "index"
    index = SemanticIDIndex(policy="none")
    index.fit([[0, 0]] * 2, list("ab"), weights=weights).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.update([[0, 0]], ["a"], weights=[5.0])
    theirs.save(path)
    other(mine)
    with pytest.raises(ValueError, match=r"updated by .* Got 'a'"):
        mine.save(path, on_conflict="merge")


def test_an_item_with_a_new_weight_that_the_other_side_removed_stays_removed(tmp_path):
    path = tmp_path / "index"
    SemanticIDIndex(policy="none").fit([[0, 0]] * 2, list("ab")).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.remove(["a"])
    theirs.save(path)
    mine.update([[0, 0]] * 2, ["a", "b"], weights=[5.0, 6.0])
    mine.save(path, on_conflict="merge")
    assert mine.item_ids_.tolist() == ["b"]
    assert mine.history()[-1]["n_changed"] == 1


def test_a_file_that_went_back_to_an_older_one_cannot_be_merged(tmp_path):
    path, backup = tmp_path / "index", tmp_path / "backup"
    mine = SemanticIDIndex().fit([[0, 0]], ["a"])
    mine.save(path)
    mine.save(backup)
    mine.add([[1, 1]], ["b"])
    mine.save(path)
    theirs = SemanticIDIndex.load(backup)
    theirs.add([[2, 2]], ["c"])
    theirs.save(path, on_conflict="overwrite")
    mine.add([[3, 3]], ["d"])
    with pytest.raises(ValueError, match="must descend from"):
        mine.save(path, on_conflict="merge")


@pytest.mark.parametrize("side", ["mine", "theirs"])
def test_copies_from_before_two_merges_may_be_replaced(tmp_path, side):
    path, copy, stale = (tmp_path / name for name in ("index", "copy", "stale"))
    SemanticIDIndex().fit([[0, 0]], ["a"]).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    one, other = (mine, theirs) if side == "mine" else (theirs, mine)
    one.add([[1, 1]], ["b"])
    one.save(copy)
    shutil.copy(copy, stale)
    for number in range(2):
        other.add([[2, number]], [f"other {number}"])
        other.save(path, on_conflict="merge")
        one.add([[3, number]], [f"one {number}"])
        one.save(path, on_conflict="merge")
    mine.add([[4, 4]], ["e"])
    mine.save(path, on_conflict="merge")
    mine.save(stale)
    assert "b" in SemanticIDIndex.load(stale).item_ids_


def test_an_index_fitted_twice_again_may_replace_a_stale_copy(tmp_path):
    path, copy = tmp_path / "index", tmp_path / "copy"
    index = SemanticIDIndex().fit([[0, 0]], ["a"])
    index.save(path)
    shutil.copy(path, copy)
    index.fit([[1, 1]], ["b"]).fit([[2, 2]], ["c"])
    index.save(copy)
    assert SemanticIDIndex.load(copy).item_ids_.tolist() == ["c"]


@pytest.mark.parametrize("n_fits", [1, 2])
def test_an_index_that_is_fitted_again_replaces_no_change_of_others(tmp_path, n_fits):
    path = tmp_path / "index"
    index = SemanticIDIndex().fit([[0, 0]], ["a"])
    index.save(path)
    other = SemanticIDIndex.load(path)
    other.add([[5, 5]], ["x"])
    other.save(tmp_path / "other")
    for number in range(n_fits):
        index.fit([[number, 1]], ["b"])
    with pytest.raises(ValueError, match="was changed"):
        index.save(tmp_path / "other")


def test_an_item_that_they_have_and_i_removed_again_is_found(tmp_path):
    path = tmp_path / "index"
    index = SemanticIDIndex().fit([[0, 0], [1, 1]], ["x", "y"])
    index.remove(["x"])
    index.save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[2, 2]], ["x"])
    theirs.save(path)
    mine.add([[3, 3]], ["x"])
    mine.remove(["x"])
    mine.save(path, on_conflict="merge")
    for merged in (mine, SemanticIDIndex.load(path)):
        assert merged.ids_of(["x"]).tolist() == [[2, 2, 0]]
        with pytest.raises(ValueError, match="must be new to the index"):
            merged.add([[4, 4]], ["x"])


@pytest.mark.parametrize("seed", range(20))
def test_every_item_of_a_merged_index_is_found(tmp_path, seed):
    rng, path = np.random.default_rng(seed), tmp_path / "index"
    SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", "b"]).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    for index in (theirs, mine):
        for _ in range(rng.integers(1, 5)):
            item = rng.choice(["a", "b", "c", "d"])
            if item in index:
                index.remove([item])
            else:
                index.add(rng.integers(0, 9, (1, 2)), [item])
    theirs.save(path)
    try:
        mine.save(path, on_conflict="merge")
    except ValueError:
        return  # both added an item or an ID
    for merged in (mine, SemanticIDIndex.load(path)):
        found = merged.ids_of(merged.item_ids_)
        assert found.tolist() == merged.ids_.tolist()
