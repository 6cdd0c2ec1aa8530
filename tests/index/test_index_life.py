"""The life of a catalogue: removals, updates, limits and the history."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest
from index_toys import ToyQuantizer

import sk_rqvae
from sk_rqvae.index import SemanticIDIndex, history
from sk_rqvae.index.items import ItemIds

CODES = np.array([[0, 1], [0, 1], [3, 2], [0, 0]])


@pytest.fixture
def index():
    return SemanticIDIndex(codebook_size=4).fit(CODES, ["a", "b", "c", "d"])


def test_a_removed_item_is_not_found_and_its_id_is_not_reused(index):
    index.remove(["b", "c"])
    assert index.lookup([[0, 1, 1], [3, 2, 0]], default=None).tolist() == [None, None]
    assert index.items_with_prefix([]).tolist() == ["d", "a"]
    assert index.allowed_next([]).tolist() == [0]
    assert index.item_ids_.tolist() == ["a", "d"]
    assert index.add([[0, 1], [3, 2]], ["e", "b"]).tolist() == [[0, 1, 2], [3, 2, 1]]
    assert index.ids_of(["b"]).tolist() == [[3, 2, 1]]


def test_an_item_that_often_came_and_went_is_found_in_two_looks():
    items = ItemIds.of(["a", "b"], 2)
    for _ in range(50):
        items = items.extended(np.array(["b"], dtype=object), numbered=False)
    looks = []

    def is_removed(rows):
        looks.append(rows)
        return (rows > 0) & (rows < 51)

    rows = items.rows_of(np.array(["a", "b", "c"], dtype=object), is_removed)
    assert rows.tolist() == [0, 51, -1]
    assert len(looks) == 2
    assert items.rows_of(np.array(["b"], dtype=object), lambda r: r > 0).tolist() == [
        -1
    ]


def test_ids_of_removed_items_are_reused_if_asked_for(index):
    index.remove(["b", "c"], reuse=True)
    assert index.add([[0, 1], [3, 2]], ["e", "f"]).tolist() == [[0, 1, 1], [3, 2, 0]]
    index.remove(["a"], reuse=True)
    # A larger suffix is in use, so 0 is not given again.
    assert index.add([[0, 1]], ["g"]).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (["a", "x"], KeyError, "no item 'x'"),
        (["a", "a"], ValueError, "Got 'a' more than once"),
        ([1], KeyError, "no item 1"),
        ("a", TypeError, "sequence of integers or strings"),
    ],
)
def test_removing_an_unknown_item_is_an_error_and_removes_nothing(
    index, items, error, message
):
    for change in (index.remove, lambda i: index.update(CODES[: len(i)], i)):
        with pytest.raises(error, match=message):
            change(items)
    assert len(index) == 4
    assert index.revision_ == 1


def test_an_updated_item_keeps_its_id_or_moves(index):
    report = index.update([[2, 2], [0, 1]], ["a", "b"])
    assert report["ids"].tolist() == [[0, 1, 0], [0, 1, 1]]
    assert (report["n_changed"], report["n_moved"]) == (1, 0)
    assert index.summary()["n_moved"] == 1
    report = index.update([[1, 1], [0, 1]], ["a", "b"], on_change="move")
    assert report["ids"].tolist() == [[1, 1, 0], [0, 1, 1]]
    assert report["moved"].tolist() == [True, False]
    assert index.summary()["n_moved"] == 0
    assert index.lookup([[0, 1, 0]], default=None)[0] is None
    with pytest.raises(ValueError, match="on_change must be one of"):
        index.update([[1, 1]], ["a"], on_change="ask")
    with pytest.raises(ValueError, match="must have the same length"):
        index.update([[1, 1], [1, 1]], ["a"])


@pytest.mark.parametrize("on_change", ["keep", "move"])
def test_an_update_without_items_is_no_change(index, on_change):
    report = index.update(np.empty((0, 2)), [], on_change=on_change)
    assert report["ids"].shape == (0, 3)
    assert (report["n_changed"], report["n_moved"]) == (0, 0)
    assert index.revision_ == len(index.history()) == 1


def test_an_item_whose_id_was_kept_can_be_moved_later(index):
    index.update([[2, 2]], ["a"])
    report = index.update([[2, 2]], ["a"], on_change="move")
    assert report["ids"].tolist() == [[2, 2, 0]]
    assert (report["n_changed"], report["n_moved"]) == (0, 1)
    assert index.summary()["n_moved"] == 0


def test_an_item_whose_new_codes_are_those_of_its_id_does_not_move(index):
    index.update([[2, 2]], ["a"])
    report = index.update([[0, 1]], ["a"], on_change="move")
    assert report["ids"].tolist() == [[0, 1, 0]]
    assert (report["n_changed"], report["n_moved"]) == (1, 0)
    assert index.summary()["n_moved"] == 0


def test_a_reassigned_item_stays_until_its_codes_are_free():
    index = SemanticIDIndex(policy="reassign", codebook_size=3)
    others = [[[0, 1]], [[0, 2]]]
    index.fit([[0, 0], [0, 0]], ["a", "b"], alternatives=others)
    move = {"alternatives": others[1:], "on_change": "move"}
    assert index.update([[0, 0]], ["b"], **move)["n_moved"] == 0
    index.remove(["a"], reuse=True)
    report = index.update([[0, 0]], ["b"], **move)
    assert report["ids"].tolist() == [[0, 0]]


def test_a_reassigned_item_stays_if_another_of_the_same_call_takes_its_codes():
    index = SemanticIDIndex(policy="reassign", codebook_size=3)
    codes = [[0, 0], [0, 0], [2, 2]]
    index.fit(codes, ["a", "b", "c"], alternatives=[[[0, 1]]] * 3)
    index.remove(["a"], reuse=True)
    # c has the codes of b first, because they are free when the call begins.
    report = index.update(
        [[0, 0], [0, 0]],
        ["b", "c"],
        alternatives=[[[1, 1]], [[1, 2]]],
        on_change="move",
    )
    assert report["ids"].tolist() == [[0, 1], [0, 0]]
    assert report["moved"].tolist() == [False, True]
    assert (report["n_changed"], report["n_moved"]) == (1, 1)


def saved_and_loaded(index, path):
    index.save(path)
    return SemanticIDIndex.load(path)


def saved_and_mapped(index, path):
    index.save(path)
    return SemanticIDIndex.load(path, mmap_mode="r")


def merged(index, path):
    """The changes since the first save, merged with those of somebody else."""
    other = SemanticIDIndex.load(path)
    other.add([[2, 0]], ["c"], alternatives=[[[2, 1]]])
    other.save(path)
    index.save(path, on_conflict="merge")
    return SemanticIDIndex.load(path)


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    "again",
    [
        lambda index, path: index,
        lambda index, path: pickle.loads(pickle.dumps(index)),
        saved_and_loaded,
        saved_and_mapped,
        merged,
    ],
    ids=["at once", "pickled", "loaded", "mapped", "merged"],
)
def test_an_item_that_kept_its_id_moves_when_asked_though_its_codes_are_taken(
    tmp_path, again, is_new
):
    new = {"codes": [[0, 0]], "item_ids": ["b"], "alternatives": [[[0, 1]]]}
    index = SemanticIDIndex(policy="reassign", codebook_size=4)
    index.fit([[0, 0]], ["a"], alternatives=[[[1, 1]]])
    if is_new:
        index.save(tmp_path / "index")
    index.add([[3, 3]], ["b"], alternatives=[[[3, 2]]])
    if not is_new:
        index.save(tmp_path / "index")
    index.update(**new)
    index = again(index, tmp_path / "index")
    assert index.update(**new)["n_moved"] == 0
    report = index.update(**new, on_change="move")
    assert report["ids"].tolist() == [[0, 1]]
    # From now on it has been reassigned, and stays.
    assert index.update(**new, on_change="move")["n_moved"] == 0


def test_numbered_items_keep_their_numbers_when_others_leave_or_move():
    index = SemanticIDIndex().fit(CODES)
    index.remove([1])
    index.update([[2, 2]], [0], on_change="move")
    assert index.item_ids_.tolist() == [2, 3, 0]
    index.add([[0, 0]])
    assert index.item_ids_.tolist() == [2, 3, 0, 4]
    assert index.ids_of([0, 4]).tolist() == [[2, 2, 0], [0, 0, 1]]


def test_an_index_has_a_length_and_knows_its_items(index):
    assert len(index) == 4
    assert "a" in index
    for other in ("x", 3, 2.5, None, True, 2**70, ["a"]):
        assert other not in index
    numbered = SemanticIDIndex().fit(CODES)
    assert np.int64(3) in numbered
    assert 4 not in numbered


def test_items_without_an_id_get_the_default(index):
    found = index.ids_of(["x", "a"], default=None)
    assert found[0] is None
    assert found[1].tolist() == [0, 1, 0]
    assert index.ids_of(["a"], default=None).tolist() == [[0, 1, 0]]
    assert index.ids_of([], default=None).shape == (0, 3)


def test_known_items_are_skipped_if_asked_for(index):
    codes, items = [[2, 2], [3, 3], [1, 1]], ["n", "a", "n"]
    ids = index.add(codes, items, on_duplicate="skip")
    assert ids.tolist() == [[2, 2, 0], [0, 1, 0], [2, 2, 0]]
    assert len(index) == 5
    before = index.revision_
    index.add(codes, items, on_duplicate="skip")
    assert index.revision_ == before
    with pytest.raises(ValueError, match="on_duplicate must be one of"):
        index.add(codes, items, on_duplicate="replace")


def test_the_history_records_every_change_with_its_time_and_release(index):
    X = np.zeros((4, 2))
    model = ToyQuantizer(2, 4).fit(X)
    index.add([[1, 1]], ["e"])
    index.add([[1, 1], [1, 2]], ["f", "g"])
    index.remove(["a"])
    index.rebind(model)
    entries = index.history()
    assert [(e["action"], e["n_changed"], e["n_items"]) for e in entries] == [
        ("fit", 4, 4),
        ("add", 3, 7),
        ("remove", 1, 6),
        ("rebind", 0, 6),
    ]
    assert [(e["first_revision"], e["revision"]) for e in entries] == [
        (1, 1),
        (2, 3),
        (4, 4),
        (5, 5),
    ]
    assert index.revision_ == 5
    assert [e["fingerprint"] for e in entries] == [None] * 3 + [index.fingerprint_]
    assert {e["version"] for e in entries} == {sk_rqvae.__version__}
    assert all(datetime.fromisoformat(e["time"]).tzinfo for e in entries)
    index.fit(CODES)
    assert index.revision_ == 1


@pytest.mark.parametrize("n_calls", [1, 100])
def test_changes_of_one_item_at_a_time_do_not_fill_the_history(n_calls):
    items = list(range(n_calls))
    index = SemanticIDIndex(policy="none").fit([[0, 1]] * (n_calls + 1))
    for _ in items:
        index.add([[1, 1]], None)
    for item in items:
        index.remove([item])
    entries = index.history()
    assert [(e["action"], e["n_changed"]) for e in entries] == [
        ("fit", n_calls + 1),
        ("add", n_calls),
        ("remove", n_calls),
    ]
    assert index.revision_ == entries[-1]["revision"] == 2 * n_calls + 1


def test_changes_by_turns_do_not_fill_the_history(index):
    for number in range(10):
        index.add([[1, 1]], [f"n{number}"])
        index.remove([f"n{number}"])
    entries = [tuple(entry.values())[:5] for entry in index.history()]
    assert entries == [
        ("fit", 1, 1, 4, 4),
        ("add", 2, 20, 10, 5),
        ("remove", 3, 21, 10, 4),
    ]


def test_additions_before_and_after_another_model_are_separate_entries(index):
    model = ToyQuantizer(2, 4).fit(np.zeros((4, 2)))
    index.rebind(model)
    for item in ("e", "f"):
        index.add([[1, 1]], [item], model=model)
        index.rebind(model)
    actions = [entry["action"] for entry in index.history()]
    assert actions == ["fit", "rebind", "add", "rebind", "add", "rebind"]


def test_additions_by_another_release_are_a_separate_entry(index, monkeypatch):
    index.add([[1, 1]], ["e"])
    monkeypatch.setattr(history, "__version__", "9.9")
    index.add([[1, 1]], ["f"])
    assert [e["version"] for e in index.history()[1:]] == [sk_rqvae.__version__, "9.9"]


def test_as_many_items_as_the_capacity_share_an_id_and_the_heaviest_comes_first():
    X = np.zeros((5, 2))
    model = ToyQuantizer(2, 4).fit(X)
    index = SemanticIDIndex(policy="reassign", capacity=2)
    codes = model.transform(X)
    index.fit(codes[:4], list("abcd"), X=X[:4], model=model, weights=[1, 5, 2, 3])
    index.add(codes[4:], ["e"], X=X[4:], model=model)
    first, second, third = index.lookup(index.ids_[::2])
    assert (first.tolist(), second.tolist()) == (["b", "a"], ["d", "c"])
    assert third.tolist() == ["e"]
    assert index.summary()["n_moved"] == 3


def test_a_capacity_of_one_makes_ids_unique_or_an_error():
    index = SemanticIDIndex(policy="none", capacity=1).fit([[0, 1], [1, 1]])
    assert index.lookup([[1, 1]]).tolist() == [1]
    with pytest.raises(ValueError, match=r"at most capacity=1 .* Got 2 for \(0, 1\)"):
        index.add([[0, 1]])
    assert len(index) == 2


@pytest.mark.parametrize(
    ("policy", "codes", "others", "message"),
    [
        ("none", [[0, 1]], None, r"Got 3 for \(0, 1\), in row 0\."),
        ("suffix", [[0, 1]], None, r"Got one more for \(0, 1\) in row 0\."),
        ("reassign", [[0, 1]], [[[0, 1]]], "Got none for row 0"),
        ("reassign", [[1, 1]] * 7, None, "Got 9 items in all"),
    ],
)
def test_an_error_about_room_tells_of_retired_ids(policy, codes, others, message):
    X = np.arange(14.0).reshape(7, 2)
    model = ToyQuantizer(2, 2).fit(X) if policy == "reassign" else None
    index = SemanticIDIndex(policy=policy, capacity=2, codebook_size=2)
    index.fit([[0, 1], [0, 1]], ["a", "b"], X=X[:2], model=model)
    index.remove(["a", "b"])
    retired = r".* Retired IDs .* count too, here 2\. They stay retired"
    with pytest.raises(ValueError, match=message + retired):
        index.add(
            codes,
            [f"item {number}" for number in range(len(codes))],
            X=X[: len(codes)],
            model=model,
            alternatives=others,
        )


@pytest.mark.parametrize("policy", ["none", "suffix"])
def test_an_error_about_room_does_not_tell_of_retired_ids_of_other_codes(policy):
    index = SemanticIDIndex(policy=policy, capacity=1).fit([[0, 1], [1, 1]], ["a", "b"])
    index.remove(["a"])
    with pytest.raises(ValueError, match="capacity=1") as error:
        index.add([[1, 1]], ["c"])
    assert "Retired" not in str(error.value)


def test_the_error_about_a_full_id_counts_its_own_items():
    with pytest.raises(ValueError, match=r"Got 2 for \(0, 0\), in row 0\."):
        SemanticIDIndex(policy="none", capacity=1).fit([[0, 0]] * 2 + [[1, 1]] * 3)


def test_a_bounded_suffix_bounds_the_vocabulary():
    index = SemanticIDIndex(codebook_size=4, capacity=2).fit(CODES)
    assert len(index.vocabulary()) == 4 + 4 + 2
    with pytest.raises(ValueError, match=r"capacity=2 items .* row 1\. Fit an index"):
        index.add([[3, 3], [0, 1]])
    moving = SemanticIDIndex(codebook_size=4, capacity=2, overflow="reassign")
    moving.fit(CODES, alternatives=np.zeros((4, 1, 2)))
    assert moving.add([[0, 1]], alternatives=[[[0, 1], [2, 2]]]).tolist() == [[2, 2, 0]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"capacity": 0}, "capacity must be at least 1"),
        ({"capacity": 2.5}, "capacity must be an int"),
        ({"overflow": "drop"}, "overflow must be one of"),
        ({"overflow": "reassign"}, "needs policy='suffix' and a capacity"),
        (
            {"policy": "none", "capacity": 2, "overflow": "reassign"},
            "needs policy='suffix' and a capacity",
        ),
    ],
)
def test_invalid_combinations_of_rules_are_an_error(parameters, message):
    with pytest.raises((TypeError, ValueError), match=message):
        SemanticIDIndex(**parameters).fit(CODES)


def test_weights_that_cannot_be_used_are_an_error(index):
    with pytest.raises(ValueError, match="weights rank items that share an ID"):
        index.add([[0, 0]], ["e"], weights=[1])
    with pytest.raises(ValueError, match="weights rank items that share an ID"):
        index.update([[0, 1]], ["a"], weights=[1])
    shared = SemanticIDIndex(policy="none")
    for weights in ([1], [1, 2, 3, np.nan], [[1]] * 4):
        with pytest.raises(ValueError, match="weights must be 4 finite numbers"):
            shared.fit(CODES, weights=weights)


def test_capacity_and_weights_are_saved(tmp_path):
    index = SemanticIDIndex(policy="none", capacity=3)
    index.fit(CODES, list("abcd"), weights=[1, 2, 3, 4]).save(tmp_path / "index")
    for mmap_mode in (None, "r"):
        other = SemanticIDIndex.load(tmp_path / "index", mmap_mode=mmap_mode)
        assert other.get_params() == index.get_params()
        assert other.lookup([[0, 1]])[0].tolist() == ["b", "a"]


def test_importing_the_index_imports_none_of_the_large_libraries():
    code = (
        "import sys, sk_rqvae.index as i; index = i.SemanticIDIndex().fit([[0, 1]]);"
        "index.add([[0, 1]]), index.trie(), repr(index), index.summary();"
        "large = {'torch', 'sklearn', 'skorch', 'scipy', 'pandas', 'filelock',"
        " 'importlib.metadata'};"
        "print(sorted(large & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("policy", ["none", "reassign"])
@pytest.mark.parametrize("n_items", range(12))
def test_an_index_with_fewer_items_than_its_capacity_is_loaded_again(
    tmp_path, policy, n_items
):
    index = SemanticIDIndex(policy=policy, capacity=10, codebook_size=12)
    codes = np.arange(n_items).reshape(-1, 1)
    index.fit(codes, alternatives=codes[:, None] if policy == "reassign" else None)
    index.save(tmp_path / "index")
    for mmap_mode in (None, "r"):
        loaded = SemanticIDIndex.load(tmp_path / "index", mmap_mode=mmap_mode)
        assert np.array_equal(loaded.ids_, codes)


def test_a_default_is_returned_as_it_is_for_each_id_that_does_not_exist():
    index = SemanticIDIndex().fit([[0, 1]])
    for default in ([], ("x", "y"), None, 2**70, -1, np.arange(2)):
        found = index.lookup([[0, 1, 0], [5, 5, 0], [6, 6, 0]], default=default)
        assert found[0] == 0
        assert found[1] is default or found[1] == default
        assert found[2] is default or found[2] == default


@pytest.mark.parametrize(
    ("weights", "got"),
    [("abcd", "'abcd'"), (list("abcd"), "'a'"), ([1, 2, 3, np.inf], "inf")],
)
def test_the_error_says_which_weight_is_no_finite_number(weights, got):
    with pytest.raises(ValueError, match=rf"weights must be 4 finite numbers.*{got}"):
        SemanticIDIndex(policy="none").fit(CODES, weights=weights)


def test_an_item_that_moves_keeps_its_weight():
    index = SemanticIDIndex(policy="none").fit(
        [[0, 0], [1, 1], [1, 1]], ["a", "b", "c"], weights=[3.0, 2.0, 1.0]
    )
    index.update([[1, 1]], ["a"], on_change="move")
    assert index.lookup([[1, 1]])[0].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("weights", [[4.0, 3.0, 2.0, 1.0], None])
@pytest.mark.parametrize(
    ("on_change", "expected"), [("keep", ["cab", "d"]), ("move", ["cb", "ad"])]
)
def test_an_update_changes_the_weights_of_items_that_stay_and_of_those_that_move(
    tmp_path, weights, on_change, expected
):
    index = SemanticIDIndex(policy="none")
    index.fit([[0, 0]] * 3 + [[1, 1]], list("abcd"), weights=weights)
    copied = copy.copy(index)
    codes = [[0, 0], [0, 0], [1, 1]]
    index.update(codes, list("cba"), weights=[9, 5, 7], on_change=on_change)
    index.update(codes, list("cba"))
    index.save(tmp_path / "index")
    for mmap_mode in (None, "r"):
        loaded = SemanticIDIndex.load(tmp_path / "index", mmap_mode=mmap_mode)
        for each in (index, loaded):
            assert ["".join(i) for i in each.lookup([[0, 0], [1, 1]])] == expected
    assert copied.lookup([[0, 0]])[0].tolist() == list("abc")


def test_weights_of_an_update_change_nothing_else():
    X = np.arange(4.0).reshape(2, 2)
    index = SemanticIDIndex(policy="none").fit([[0, 0]] * 2, ["a", "b"], X=X)
    before, ids = index.summary(), index.ids_
    report = index.update([[0, 0]], ["b"], weights=[1])
    assert (report["n_changed"], report["n_moved"]) == (0, 0)
    assert index.summary() == before
    assert index.ids_.tolist() == ids.tolist()


def test_codes_that_an_item_waits_for_with_policy_none_must_have_room():
    index = SemanticIDIndex(policy="none", capacity=1)
    index.fit([[0, 0], [1, 1]], ["a", "b"])
    index.update([[1, 1]], ["a"])
    with pytest.raises(ValueError, match="at most capacity=1"):
        index.update([[1, 1]], ["a"], on_change="move")


def test_an_update_without_embeddings_forgets_the_duplicates():
    X = [[1.0], [1.0]]
    index = SemanticIDIndex().fit([[0, 0], [0, 0]], ["a", "b"], X=X)
    index.update([[1, 1]], ["a"])
    assert index.summary()["exact_duplicates"] is None


def test_removing_no_item_changes_nothing():
    index = SemanticIDIndex().fit([[0, 0], [1, 1]], ["a", "b"])
    before = index.history()
    index.remove([])
    assert index.history() == before
    assert index.revision_ == 1
