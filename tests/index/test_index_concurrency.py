"""Threads and processes that use one index, or one file, at the same time."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from conftest import ReadWith
from index_toys import ToyQuantizer

from sk_rqvae._persistence.file_lock import LockBeside
from sk_rqvae.exceptions import IndexConflictError
from sk_rqvae.index import SemanticIDIndex


def run_together(*functions):
    """Run functions in threads that begin together, and raise the error of any."""
    errors = []
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("policy", ["none", "suffix", "reassign"])
def test_threads_that_add_lose_no_item_and_share_no_id(policy):
    index = SemanticIDIndex(policy=policy, codebook_size=64)
    index.fit(np.empty((0, 2)), [])
    got = {}

    def add(thread):
        rng = np.random.default_rng(thread)
        for number in range(200):
            code, item = rng.integers(0, 8, (1, 2)), f"{thread} {number}"
            others = {}
            if policy == "reassign":
                others = {"alternatives": rng.integers(0, 64, (1, 20, 2))}
            got[item] = index.add(code, [item], **others)[0].tolist()

    run_together(*(lambda thread=thread: add(thread) for thread in range(8)))
    assert len(index) == len(got) == 1600
    assert index.ids_of(list(got)).tolist() == list(got.values())
    assert index.revision_ == 1601
    if policy != "none":
        assert len(np.unique(index.ids_, axis=0)) == 1600


@pytest.mark.usefixtures("eager_switches")
def test_readers_see_the_index_before_or_after_a_change():
    rng = np.random.default_rng(0)
    index = SemanticIDIndex(codebook_size=4).fit(rng.integers(0, 4, (40, 2)))
    done = threading.Event()

    def change():
        for number in range(150):
            index.add(rng.integers(0, 4, (10, 2)))
            index.remove(index.item_ids_[:10])
            if number % 10 == 0:
                index.update([[0, 0]], index.item_ids_[-1:], on_change="move")
        done.set()

    def read():
        while not done.is_set():
            state = index.summary()
            assert state["n_items"] in (40, 50)
            found = index.items_with_prefix([])
            assert len(found) in (40, 50)
            assert len(set(found.tolist())) == len(found)
            trie = index.trie()
            assert len(trie.item_ids) in (40, 50)
            states = np.full(1, trie.root)
            for code in index.ids_[0]:
                states = trie.step(states, np.array([code]))

    run_together(change, read, read, read)
    assert len(index) == 40


@pytest.mark.usefixtures("eager_switches")
def test_copies_that_share_memory_do_not_share_changes():
    index = SemanticIDIndex(policy="none").fit(np.zeros((5, 1)))
    copies = [copy.copy(index) for _ in range(8)]

    def add(number):
        for _ in range(100):
            copies[number].add([[number]])

    run_together(*(lambda number=number: add(number) for number in range(8)))
    for number, each in enumerate(copies):
        assert each.ids_[:, 0].tolist() == [0] * 5 + [number] * 100
    assert len(index) == 5


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copied_index_can_be_changed_while_the_original_is(copied):
    index = SemanticIDIndex().fit([[0, 1], [0, 1]], ["a", "b"])

    def change_the_copy():
        other.append(copied(index))
        other[0].add([[0, 1]], ["c"])

    other = []
    index._writers.of_this_process().do(change_the_copy)
    assert index.add([[0, 1]], ["d"]).tolist() == [[0, 1, 2]]
    assert other[0].item_ids_.tolist() == ["a", "b", "c"]


def test_an_index_goes_to_worker_processes():
    index = SemanticIDIndex().fit([[0, 1], [0, 1], [2, 2]], ["a", "b", "c"])
    index.remove(["b"])
    jobs = [joblib.delayed(_added)(index, name) for name in ("d", "e")]
    found = joblib.Parallel(n_jobs=2, backend="loky")(jobs)
    assert found == [[0, 1, 2], [0, 1, 2]]
    assert len(index) == 2


def _added(index, item):
    return index.add([[0, 1]], [item])[0].tolist()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_process_forked_while_a_thread_changes_the_index_can_change_it():
    index = SemanticIDIndex().fit([[0, 1]])

    def fork():
        child = os.fork()
        if child == 0:
            index.add([[0, 1]])
            os._exit(len(index))
        return child

    child = index._writers.of_this_process().do(fork)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert len(index) == 1


SAVER = """
import sys
from sk_rqvae.index import SemanticIDIndex

path, name, conflict = sys.argv[1:]
done = 0
while done < 15:
    index = SemanticIDIndex.load(path)
    index.add([[int(name), done]], [f"{name} {done}"])
    try:
        index.save(path, on_conflict=conflict)
    except ValueError as error:
        assert "was changed since" in str(error), error
    else:
        done += 1
"""


@pytest.mark.parametrize("on_conflict", ["raise", "merge"])
def test_processes_that_save_to_one_file_lose_no_item(tmp_path, on_conflict):
    path = tmp_path / "index"
    SemanticIDIndex().fit([[0, 0]], ["first"]).save(path)
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, path, name, on_conflict])
        for name in ("1", "2")
    ]
    assert [saver.wait(timeout=120) for saver in savers] == [0, 0]
    index = SemanticIDIndex.load(path)
    names = {f"{name} {number}" for name in (1, 2) for number in range(15)}
    assert set(index.item_ids_) == {"first", *names}
    assert index.lookup(index.ids_).tolist() == index.item_ids_.tolist()
    assert [child.name for child in tmp_path.iterdir()] == ["index"]


def diverged(tmp_path, **parameters):
    """An index that saved a file, and another that was loaded from it."""
    path = tmp_path / "index"
    first = SemanticIDIndex(**parameters)
    first.fit([[0, 0], [0, 0], [1, 1]], ["a", "b", "c"])
    first.save(path)
    second = SemanticIDIndex.load(path)
    return path, first, second


def test_saving_over_changes_of_others_is_an_error_that_says_so(tmp_path):
    path, first, second = diverged(tmp_path)
    first.add([[2, 2]], ["d"])
    first.save(path)
    first.save(path)
    second.add([[3, 3]], ["e"])
    message = r"Got revision 2 in the file and 2 here, with different changes\."
    with pytest.raises(IndexConflictError, match=message):
        second.save(path)
    second.add([[3, 4]], ["f"])
    with pytest.raises(
        IndexConflictError, match=r"revision 2 in the file and 3 here\."
    ):
        second.save(path)
    second.remove(["f"])
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b", "c", "d"]
    second.save(path, on_conflict="overwrite")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b", "c", "e"]
    with pytest.raises(ValueError, match="on_conflict must be one of"):
        second.save(path, on_conflict="ignore")


def test_an_older_copy_of_the_same_index_may_be_replaced(tmp_path):
    path, index, _ = diverged(tmp_path)
    backup = tmp_path / "backup"
    index.save(backup)
    for number in range(3):
        index.add([[number, 5]], [f"new {number}"])
        index.save(path)
    index.save(backup)
    assert len(SemanticIDIndex.load(backup)) == 6
    SemanticIDIndex().fit([[0, 0]]).save(backup)
    assert len(SemanticIDIndex.load(backup)) == 1


def test_merging_keeps_every_id_that_either_side_assigned(tmp_path):
    path, first, second = diverged(tmp_path)
    first.add([[2, 2], [0, 0]], ["d", "e"])
    first.remove(["b"])
    first.save(path)
    second.add([[3, 3], [4, 4]], ["f", "g"])
    second.remove(["c", "g"])
    given = dict(zip(second.item_ids_, second.ids_.tolist(), strict=True))
    second.save(path, on_conflict="merge")
    for index in (second, SemanticIDIndex.load(path)):
        assert sorted(index.item_ids_) == ["a", "d", "e", "f"]
        assert index.ids_of(["a", "f"]).tolist() == [given["a"], given["f"]]
        assert index.ids_of(["e"]).tolist() == first.ids_of(["e"]).tolist()
        # The IDs of b, c and g are retired.
        assert copy.copy(index).add([[4, 4]], ["x"]).tolist() == [[4, 4, 1]]
        assert index.history()[-1]["action"] == "merge"
    first = SemanticIDIndex.load(path)
    first.add([[7, 7]], ["h"])
    first.save(path)


CHANGES = {
    "removed": lambda index: index.remove(["a"]),
    "moved": lambda index: index.update([[5, 5]], ["a"], on_change="move"),
    "added again": lambda index: (index.remove(["a"]), index.add([[5, 5]], ["a"])),
    "updated": lambda index: index.update([[5, 5]], ["a"]),
    "updated in another way": lambda index: index.update([[5, 6]], ["a"]),
}


@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ("moved", "removed"),
        ("removed", "moved"),
        ("added again", "removed"),
        ("removed", "added again"),
        ("updated", "moved"),
        ("moved", "updated"),
        ("updated", "updated in another way"),
    ],
)
def test_changes_of_an_item_that_exclude_each_other_cannot_be_merged(
    tmp_path, theirs, mine
):
    path, first, second = diverged(tmp_path)
    CHANGES[theirs](first)
    first.save(path)
    CHANGES[mine](second)
    before, content = second.ids_, path.read_bytes()
    with pytest.raises(ValueError, match=r"must not be .* by the other .* Got 'a'"):
        second.save(path, on_conflict="merge")
    assert path.read_bytes() == content
    assert np.array_equal(second.ids_, before)
    assert second.revision_ == 2 + (mine == "added again")


def changed_at_random(index, name, rng):
    """IDs of the items before some changes, and of those after."""
    before = dict(zip(index.item_ids_, map(tuple, index.ids_), strict=True))
    for number in range(rng.integers(4)):
        item, code = rng.choice(index.item_ids_), rng.integers(0, 6, (1, 2))
        match rng.integers(4):
            case 0:
                index.add(code, [f"{name}{number}"])
            case 1 if len(index) > 1:
                index.remove([item], reuse=bool(rng.integers(2)))
            case 2:
                index.update(code, [item])
            case 3:
                index.update(code, [item], on_change="move")
    return before, dict(zip(index.item_ids_, map(tuple, index.ids_), strict=True))


@pytest.mark.parametrize("policy", ["none", "suffix"])
@pytest.mark.parametrize("seed", range(40))
def test_a_merge_gives_an_item_the_id_of_the_side_that_changed_it(
    tmp_path, policy, seed
):
    rng = np.random.default_rng(seed)
    path, first, second = diverged(tmp_path, policy=policy, codebook_size=6)
    base, theirs = changed_at_random(first, "theirs", rng)
    _, mine = changed_at_random(second, "mine", rng)
    first.save(path)
    content = path.read_bytes()
    refusal = ""
    try:
        second.save(path, on_conflict="merge")
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert "to be merged" in refusal
        assert path.read_bytes() == content
        return
    expected = {
        item: theirs.get(item) if mine.get(item) == base.get(item) else mine.get(item)
        for item in theirs | mine
    }
    expected = {item: given for item, given in expected.items() if given is not None}
    for index in (
        second,
        *(SemanticIDIndex.load(path, mmap_mode=m) for m in (None, "r")),
    ):
        assert (
            dict(zip(index.item_ids_, map(tuple, index.ids_), strict=True)) == expected
        )
        assert index.summary() == second.summary()


@pytest.mark.parametrize("change", ["removed", "updated"])
def test_the_same_change_of_both_sides_is_merged(tmp_path, change):
    path, first, second = diverged(tmp_path)
    CHANGES[change](first)
    first.save(path)
    CHANGES[change](second)
    second.save(path, on_conflict="merge")
    merged = SemanticIDIndex.load(path)
    assert merged.item_ids_.tolist() == first.item_ids_.tolist()
    assert merged.summary() == first.summary() == second.summary()


def test_an_item_that_left_before_both_sides_began_may_come_back_on_one(tmp_path):
    path, first, _ = diverged(tmp_path)
    first.remove(["a", "b"])
    first.save(path)
    second = SemanticIDIndex.load(path)
    first.add([[5, 5]], ["a"])
    first.save(path)
    second.add([[6, 6]], ["b"])
    second.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["c", "a", "b"]


def test_merging_keeps_the_records_of_updates_that_kept_an_id(tmp_path):
    path = tmp_path / "index"
    X = np.arange(6.0).reshape(3, 2)
    SemanticIDIndex().fit([[0, 0], [0, 0], [1, 1]], ["a", "b", "c"], X=X).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.update([[2, 2]], ["a"], X=X[:1])
    theirs.add([[3, 3]], ["d"], X=X[:1])
    theirs.save(path)
    mine.update([[4, 4]], ["b"], X=X[2:])
    mine.update([[1, 1]], ["c"], X=X[2:])
    mine.save(path, on_conflict="merge")
    merged = SemanticIDIndex.load(path)
    assert merged.summary() == mine.summary()
    assert merged.summary()["n_moved"] == 2
    assert merged.summary()["exact_duplicates"] == 2
    report = merged.update([[2, 2], [4, 4]], ["a", "b"], on_change="move")
    assert (report["n_changed"], report["n_moved"]) == (0, 2)
    # c was updated with what it had.
    assert mine.history()[-1]["n_changed"] == 1


@pytest.mark.parametrize("removed_by", ["theirs", "mine"])
def test_the_update_of_an_item_that_the_other_side_removed_is_dropped(
    tmp_path, removed_by
):
    path, theirs, mine = diverged(tmp_path)
    CHANGES["removed" if removed_by == "theirs" else "updated"](theirs)
    theirs.save(path)
    CHANGES["removed" if removed_by == "mine" else "updated"](mine)
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["b", "c"]
    assert mine.history()[-1]["n_changed"] == (removed_by == "mine")
    assert mine.summary()["n_moved"] == 0


def test_a_merge_has_the_history_of_both_sides_and_a_revision_above_theirs(tmp_path):
    path, theirs, mine = diverged(tmp_path)
    mine.add([[7, 0]], ["x"])
    mine.save(path)
    theirs = SemanticIDIndex.load(path)
    theirs.remove(["c"])
    theirs.save(path)
    mine.add([[7, 1], [7, 2]], ["y", "z"])
    mine.remove(["a", "z"])
    mine.update([[8, 8], [9, 9]], ["b", "x"], on_change="move")
    mine.save(path, on_conflict="merge")
    for index in (mine, SemanticIDIndex.load(path)):
        assert [
            (e["action"], e["first_revision"], e["revision"], e["n_changed"])
            for e in index.history()
        ] == [
            ("fit", 1, 1, 3),
            ("add", 2, 2, 1),
            ("remove", 3, 3, 1),
            ("add", 3, 3, 2),
            ("remove", 4, 4, 2),
            ("update", 5, 5, 2),
            # b, x and y have new IDs, and a has left.
            ("merge", 6, 6, 4),
        ]
        assert index.revision_ == 6
        assert sorted(index.item_ids_) == ["b", "x", "y"]
    theirs = SemanticIDIndex.load(path)
    theirs.add([[7, 7]], ["u"])
    theirs.save(path)
    mine.add([[7, 8]], ["v"])
    mine.save(path, on_conflict="merge")
    assert [e["revision"] for e in mine.history()[-3:]] == [7, 7, 8]


def test_changes_by_turns_are_counted_once_in_a_merge(tmp_path):
    path, theirs, mine = diverged(tmp_path)
    mine.add([[7, 0]], ["x"])
    mine.remove(["x"])
    mine.save(path)
    theirs = SemanticIDIndex.load(path)
    theirs.add([[6, 0]], ["t"])
    theirs.save(path)
    mine.add([[7, 1], [7, 2]], ["y", "z"])
    mine.remove(["z"])
    mine.add([[7, 3]], ["w"])
    mine.save(path, on_conflict="merge")
    assert [(e["action"], e["n_changed"]) for e in mine.history()] == [
        ("fit", 3),
        ("remove", 1),
        ("add", 2),
        ("remove", 1),
        ("add", 3),
        ("merge", 2),
    ]


def test_an_id_that_one_side_retired_is_not_given_again_after_a_merge(tmp_path):
    path, theirs, mine = diverged(tmp_path)
    theirs.remove(["c", "b"], reuse=True)
    theirs.save(path)
    mine.remove(["c"])
    other = copy.deepcopy(mine)
    mine.save(path, on_conflict="merge")
    for index in (
        mine,
        *(SemanticIDIndex.load(path, mmap_mode=m) for m in (None, "r")),
    ):
        assert index.item_ids_.tolist() == ["a"]
        assert index.allowed_next([]).tolist() == [0]
        ids = copy.copy(index).add([[1, 1], [0, 0]], ["x", "y"])
        assert ids.tolist() == [[1, 1, 1], [0, 0, 1]]
    theirs.add([[1, 1]], ["x"])
    theirs.save(path, on_conflict="overwrite")
    with pytest.raises(ValueError, match=r"retired by one side and given again .*1, 0"):
        other.save(path, on_conflict="merge")


@pytest.mark.parametrize("on_conflict", ["raise", "merge"])
def test_going_back_to_an_older_file_is_a_change_of_others(tmp_path, on_conflict):
    path, old, other = diverged(tmp_path)
    other.add([[2, 2]], ["d"])
    other.save(path)
    live = SemanticIDIndex.load(path)
    old.save(path, on_conflict="overwrite")
    live.add([[3, 3]], ["e"])
    message = "was changed since" if on_conflict == "raise" else "must descend from"
    with pytest.raises(ValueError, match=message):
        live.save(path, on_conflict=on_conflict)
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b", "c"]
    old.add([[4, 4]], ["f"])
    old.save(path)
    with pytest.raises(ValueError, match=message):
        live.save(path, on_conflict=on_conflict)


@pytest.mark.parametrize("on_conflict", ["raise", "merge"])
def test_going_back_by_a_link_is_a_change_of_others(tmp_path, on_conflict):
    live = tmp_path / "live"
    index = SemanticIDIndex().fit([[0, 1]], ["a"])
    index.save(tmp_path / "first")
    index.add([[1, 1]], ["b"])
    index.save(tmp_path / "second")
    live.symlink_to("second")
    writer = SemanticIDIndex.load(live)
    live.unlink()
    live.symlink_to("first")
    writer.add([[2, 2]], ["c"])
    with pytest.raises(ValueError, match=r"was changed since|must descend from"):
        writer.save(live, on_conflict=on_conflict)
    assert SemanticIDIndex.load(live).item_ids_.tolist() == ["a"]


def test_an_index_that_was_never_saved_cannot_be_merged_into_a_file(tmp_path):
    SemanticIDIndex().fit([[0, 1]], ["live"]).save(tmp_path / "index")
    mine = SemanticIDIndex().fit([[0, 2]], ["mine"])
    with pytest.raises(ValueError, match="must descend from"):
        mine.save(tmp_path / "index", on_conflict="merge")
    assert SemanticIDIndex.load(tmp_path / "index").item_ids_.tolist() == ["live"]
    mine.save(tmp_path / "new", on_conflict="merge")


def test_an_index_that_saved_a_copy_elsewhere_is_merged_into_the_live_file(tmp_path):
    path, mine, theirs = diverged(tmp_path)
    mine.add([[2, 2]], ["d"])
    mine.save(tmp_path / "backup")
    theirs.add([[3, 3]], ["e"])
    theirs.save(path)
    mine.remove(["a"])
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["b", "c", "e", "d"]
    # The copy has no changes that the merged index lacks.
    mine.save(tmp_path / "backup")
    theirs = SemanticIDIndex.load(path)
    theirs.add([[6, 6]], ["f"])
    theirs.save(path)
    mine.add([[7, 7]], ["g"])
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == list("bcedfg")


def test_a_merged_index_may_replace_a_copy_whose_changes_it_has(tmp_path):
    path, mine, theirs = diverged(tmp_path)
    backup = tmp_path / "backup"
    mine.add([[2, 2]], ["d"])
    mine.save(backup)
    copied = SemanticIDIndex.load(backup)
    theirs.add([[3, 3]], ["e"])
    theirs.save(path)
    mine.save(path, on_conflict="merge")
    merged = SemanticIDIndex.load(path)
    merged.save(tmp_path / "other")
    merged = SemanticIDIndex.load(tmp_path / "other")
    merged.save(backup)
    assert SemanticIDIndex.load(backup).item_ids_.tolist() == list("abced")
    # Its rows do not begin with those of the copy.
    copied.add([[4, 4]], ["f"])
    with pytest.raises(ValueError, match="must descend from"):
        copied.save(path, on_conflict="merge")


def test_an_index_that_is_fitted_again_does_not_undo_changes_of_others(tmp_path):
    path, index, theirs = diverged(tmp_path)
    index.fit([[7, 7]], ["x"])
    index.save(path)
    index.fit([[8, 8]], ["y"])
    theirs.add([[2, 2]], ["d"])
    with pytest.raises(ValueError, match="was changed since"):
        theirs.save(path)
    with pytest.raises(ValueError, match="must descend from"):
        theirs.save(path, on_conflict="merge")
    theirs.save(path, on_conflict="overwrite")
    with pytest.raises(ValueError, match="was changed since"):
        index.save(path)
    with pytest.raises(ValueError, match=r"must descend from .* fitted again"):
        index.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == list("abcd")
    index.save(path, on_conflict="overwrite")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["y"]


def test_an_index_that_is_fitted_again_is_merged_from_its_new_file_on(tmp_path):
    path, index, _ = diverged(tmp_path)
    index.fit([[8, 8]], ["y"])
    index.save(path)
    theirs = SemanticIDIndex.load(path)
    theirs.add([[2, 2]], ["d"])
    theirs.save(path)
    index.add([[3, 3]], ["e"])
    index.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["y", "d", "e"]


def test_an_id_or_item_added_on_both_sides_cannot_be_merged(tmp_path):
    path, first, second = diverged(tmp_path)
    first.add([[0, 0]], ["d"])
    first.save(path)
    other = copy.deepcopy(second)
    second.add([[0, 0]], ["e"])
    with pytest.raises(ValueError, match=r"Got \(0, 0, 2\) in both"):
        second.save(path, on_conflict="merge")
    other.add([[5, 5]], ["d"])
    with pytest.raises(ValueError, match="added by both sides to be merged"):
        other.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b", "c", "d"]


def test_indexes_without_a_common_history_cannot_be_merged(tmp_path):
    path, _, second = diverged(tmp_path)
    SemanticIDIndex().fit([[9, 9]], ["z"]).save(path)
    with pytest.raises(ValueError, match="must descend from the state"):
        second.save(path, on_conflict="merge")
    numbered = SemanticIDIndex().fit([[0, 0]])
    numbered.save(path)
    other = SemanticIDIndex.load(path)
    numbered.add([[1, 1]])
    numbered.save(path)
    other.add([[2, 2]])
    with pytest.raises(ValueError, match="must have item_ids for additions"):
        other.save(path, on_conflict="merge")


@pytest.mark.parametrize(
    "names", [(None, [7]), ([5], ["s"]), (["s"], [5]), (None, ["s"])]
)
def test_items_that_are_named_in_two_ways_cannot_be_merged(tmp_path, names):
    path = tmp_path / "index"
    SemanticIDIndex().fit(np.empty((0, 2), int)).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[0, 0]], names[0])
    theirs.save(path)
    mine.add([[1, 0]], names[1])
    with pytest.raises(ValueError, match="item_ids must be of one kind to be merged"):
        mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == theirs.item_ids_.tolist()


def test_items_of_one_side_are_merged_into_an_empty_file(tmp_path):
    path = tmp_path / "index"
    SemanticIDIndex(codebook_size=9).fit(np.empty((0, 2), int)).save(path)
    theirs, mine = SemanticIDIndex.load(path), SemanticIDIndex.load(path)
    theirs.add([[0, 0]], ["gone"])
    theirs.remove(["gone"])
    theirs.save(path)
    mine.add([[1, 0]], ["s"])
    mine.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["s"]


def test_an_id_that_my_side_took_from_its_own_item_is_merged(tmp_path):
    path, theirs, mine = diverged(tmp_path)
    theirs.add([[3, 3]], ["q"])
    theirs.save(path)
    taken = [[1, 1, 0]]
    for before, after in (("c", "n"), ("n", "o")):
        mine.remove([before], reuse=True)
        assert mine.add([[1, 1]], [after]).tolist() == taken
    mine.remove(["b"])
    mine.save(path, on_conflict="merge")
    merged = SemanticIDIndex.load(path)
    assert merged.item_ids_.tolist() == ["a", "q", "o"]
    assert merged.ids_of(["o"]).tolist() == taken
    assert merged.add([[0, 0]], ["x"]).tolist() == [[0, 0, 2]]  # that of b is retired


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("on_conflict", ["raise", "merge"])
@pytest.mark.parametrize("checked", [True, False])
def test_an_index_knows_the_file_that_an_interrupted_save_has_written(
    tmp_path, monkeypatch, error, on_conflict, checked
):
    path, index, theirs = diverged(tmp_path)
    index.add([[2, 2]], ["d"])
    if on_conflict == "merge":
        theirs.add([[5, 5]], ["theirs"])
        theirs.save(path)

    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("sk_rqvae._persistence.atomic._sync_directory", fail)
        if not checked:  # as if it were interrupted again
            patched.setattr("sk_rqvae.index.formats.state_file._is_at", fail)
        with pytest.raises(error):
            index.save(path, on_conflict=on_conflict)
    assert "d" in SemanticIDIndex.load(path).item_ids_
    index.add([[3, 3]], ["e"])
    other = copy.deepcopy(index)
    index.save(path)
    added = ["theirs", "d", "e"] if on_conflict == "merge" else ["d", "e"]
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b", "c", *added]
    index.add([[4, 4]], ["f"])
    index.save(path)
    other.remove(["a", "e"])
    with pytest.raises(ValueError, match="was changed since"):
        other.save(path)
    with pytest.raises(ValueError, match="IDs must not be added by both sides"):
        other.save(path, on_conflict="merge")


@pytest.mark.parametrize("checked", [True, False])
def test_an_index_goes_on_after_a_merge_that_was_not_written(
    tmp_path, monkeypatch, checked
):
    path, index, theirs = diverged(tmp_path)
    index.add([[2, 2]], ["d"])
    theirs.add([[5, 5]], ["theirs"])
    theirs.save(path)

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("sk_rqvae.index.formats.state_file.write_file", fail)
        if not checked:  # as if it were interrupted again
            patched.setattr("sk_rqvae.index.formats.state_file._is_at", fail)
        with pytest.raises(KeyboardInterrupt):
            index.save(path, on_conflict="merge")
    if checked:
        assert (index.item_ids_.tolist(), index.revision_) == (list("abcd"), 2)
    theirs.add([[6, 6]], ["more"])
    theirs.save(path)
    index.save(path, on_conflict="merge")
    merged = SemanticIDIndex.load(path).item_ids_.tolist()
    assert merged == ["a", "b", "c", "theirs", "more", "d"]


def fails_to_write(path, header, arrays):
    raise OSError("no space")


def destroys_the_file(path, header, arrays):
    path.write_bytes(b"SEMIDIX\n")
    raise OSError("no disk")


@pytest.mark.parametrize(
    ("on_conflict", "write_file"),
    [("raise", None), ("raise", fails_to_write), ("overwrite", destroys_the_file)],
)
def test_saves_that_fail_do_not_make_an_index_larger(
    tmp_path, monkeypatch, on_conflict, write_file
):
    path, index, theirs = diverged(tmp_path)
    if write_file is None:
        theirs.add([[5, 5]], ["theirs"])
        theirs.save(path)
    else:
        monkeypatch.setattr("sk_rqvae.index.formats.state_file.write_file", write_file)
    sizes = []
    for number in range(20):
        index.add([[2, 2]], [f"new {number:02}"])
        with pytest.raises((OSError, ValueError)):
            index.save(path, on_conflict=on_conflict)
        without_files = copy.copy(index)
        without_files._state = index._state._replace(lineage=None)
        sizes.append(len(pickle.dumps(index)) - len(pickle.dumps(without_files)))
    # A name is 32 characters; what a file held is much more.
    assert sizes[19] - sizes[9] < 10 * 45


def interrupted(call, at):
    """Whether Ctrl-C at a line of the code that locks files ends a call."""
    n_lines = 0

    def trace_lines(frame, event, argument):
        nonlocal n_lines
        if event == "line":
            n_lines += 1
            if n_lines == at:
                raise KeyboardInterrupt
        return trace_lines

    def trace(frame, event, argument):
        name = frame.f_code.co_filename
        return trace_lines if "filelock" in name or "file_lock" in name else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.skipif(os.name == "nt", reason="files are locked by filelock there")
def test_other_threads_can_save_after_a_save_was_interrupted_anywhere(tmp_path):
    path, index, _ = diverged(tmp_path)
    at = 1
    while interrupted(lambda: index.save(path), at):
        other = threading.Thread(target=lambda: index.save(path), daemon=True)
        other.start()
        other.join(timeout=10)
        assert not other.is_alive(), f"after an interrupt at line {at}"
        at += 1
    assert at > 5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="signals are others there")
def test_a_save_that_waits_for_another_can_be_interrupted(tmp_path):
    path, index, _ = diverged(tmp_path)
    with LockBeside(path):
        waiting = subprocess.Popen(
            [sys.executable, "-c", WAITER, path], stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout.readline() == "saving\n"
        time.sleep(0.5)
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        assert waiting.communicate(timeout=60)[0] == "interrupted\n"
    index.save(path)
    assert list(tmp_path.iterdir()) == [path]


WAITER = """
import signal
import sys
from sk_rqvae.index import SemanticIDIndex

# A shell starts programs in the background with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
index = SemanticIDIndex.load(sys.argv[1])
print("saving", flush=True)
try:
    index.save(sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_lock_is_one_where_the_file_system_has_no_locks_of_its_own(
    tmp_path, monkeypatch
):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "index"

    def missing(descriptor, operation):
        raise OSError(errno.ENOSYS, "no locks")

    def hold():
        with LockBeside(path):
            pass

    monkeypatch.setattr(fcntl, "flock", missing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        waiting = threading.Thread(target=hold)
        with LockBeside(path):
            waiting.start()
            waiting.join(timeout=0.5)
            assert waiting.is_alive()
            (other,) = tmp_path.iterdir()
            assert other.name == ".index.lock"
        waiting.join(timeout=30)
        assert not waiting.is_alive()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_lock_file_of_another_user_need_not_be_writable(
    tmp_path, monkeypatch, is_removed
):
    fcntl = pytest.importorskip("fcntl")
    path, lock, os_open = tmp_path / "index", tmp_path / ".index.lock", os.open

    def open_of_another_user(name, flags, *mode, **where):
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        if str(name) == str(lock) and writes and not flags & os.O_EXCL:
            if is_removed:
                lock.unlink()
            raise PermissionError(errno.EACCES, "not yours", str(name))
        return os_open(name, flags, *mode, **where)

    index = SemanticIDIndex().fit([[0, 0]])
    lock.touch()
    with lock.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        monkeypatch.setattr(os, "open", open_of_another_user)
        saving = threading.Thread(target=index.save, args=(path,))
        saving.start()
        saving.join(timeout=0.5)
        assert saving.is_alive() is not is_removed
    saving.join(timeout=30)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_file_that_may_not_be_removed_stays(tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    path, unlink = tmp_path / "index", Path.unlink

    def unlink_of_others(self, **options):
        if self.name == ".index.lock":
            raise PermissionError(errno.EPERM, "not yours", str(self))
        unlink(self, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", unlink_of_others)
        SemanticIDIndex().fit([[0, 0]]).save(path)
        assert sorted(tmp_path.iterdir()) == [tmp_path / ".index.lock", path]
    SemanticIDIndex.load(path).save(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_failed_early_does_not_hide_changes_of_others(
    tmp_path, monkeypatch
):
    path, index, other = diverged(tmp_path)
    index.add([[2, 2]], ["d"])

    def fail(*args):
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("sk_rqvae.index.formats.state_file.write_file", fail)
        with pytest.raises(OSError, match="no space"):
            index.save(path)
    other.add([[3, 3]], ["e"])
    other.save(path)
    with pytest.raises(ValueError, match="was changed since"):
        index.save(path)
    index.save(path, on_conflict="merge")
    assert SemanticIDIndex.load(path).item_ids_.tolist() == list("abced")


# A thread within its own change: signal handlers, finalizers, methods of arguments

WITHIN = {
    "fit": lambda index, path: index.fit([[0, 0]], ["new"]),
    "add": lambda index, path: index.add([[3, 3]], ["new"]),
    "remove": lambda index, path: index.remove(["b"]),
    "update": lambda index, path: index.update([[3, 3]], ["b"]),
    "save": lambda index, path: index.save(path),
}


@pytest.mark.parametrize("change", WITHIN)
def test_a_change_within_a_change_of_the_same_thread_is_an_error_and_no_hang(
    tmp_path, change
):
    index = SemanticIDIndex().fit([[0, 1], [0, 1]], ["a", "b"])
    path = tmp_path / "index"
    codes = ReadWith([[2, 2]], lambda: WITHIN[change](index, path))
    with pytest.raises(RuntimeError, match="already"):
        index.add(codes, ["c"])
    assert index.item_ids_.tolist() == ["a", "b"]
    assert not path.exists()
    with ThreadPoolExecutor(1) as other:  # the lock is free
        other.submit(index.add, [[2, 2]], ["c"]).result(timeout=10)
    assert index.item_ids_.tolist() == ["a", "b", "c"]


def test_a_copy_can_be_saved_within_a_change(tmp_path):
    index = SemanticIDIndex().fit([[0, 1], [0, 1]], ["a", "b"])
    path = tmp_path / "index"
    save = lambda: copy.copy(index).save(path, on_conflict="overwrite")  # noqa: E731
    index.add(ReadWith([[2, 2]], save), ["c"])
    assert SemanticIDIndex.load(path).item_ids_.tolist() == ["a", "b"]
    assert index.item_ids_.tolist() == ["a", "b", "c"]


def test_a_file_that_a_thread_is_writing_cannot_be_written_by_it_again(tmp_path):
    path = tmp_path / "index"
    with LockBeside(path):
        with pytest.raises(RuntimeError, match="is locked by this thread already"):
            SemanticIDIndex().fit([[0, 1]]).save(path)
        SemanticIDIndex().fit([[0, 1]]).save(tmp_path / "another")
    SemanticIDIndex().fit([[0, 1]]).save(path)


def test_a_folder_that_a_thread_writes_is_the_same_under_another_name(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    with (
        LockBeside(folder / "config.json"),
        pytest.raises(RuntimeError, match="is locked by this thread already"),
        LockBeside(link / "config.json"),
    ):
        raise AssertionError("two locks on one file")


# Arguments and models that another thread changes meanwhile


def test_codes_that_change_while_they_are_added_are_those_of_the_call():
    codes = np.array([[1, 2], [3, 0]])

    def overwrite():
        codes[:] = -7

    index = SemanticIDIndex().fit([[0, 1]], [0])
    ids = index.add(codes, ReadWith([1, 2], overwrite))
    assert ids.tolist() == [[1, 2, 0], [3, 0, 0]]
    assert index.lookup(index.ids_).tolist() == [0, 1, 2]


def test_alternatives_that_change_while_they_are_added_are_those_of_the_call():
    alternatives = np.array([[[1, 2]]])

    def overwrite():
        alternatives[:] = -7

    index = SemanticIDIndex(policy="reassign")
    index.fit([[0, 1]], [0], alternatives=alternatives)
    items = ReadWith([1], overwrite)
    ids = index.add([[0, 1]], items, alternatives=alternatives)
    assert ids.tolist() == [[1, 2]]


def test_an_index_is_of_one_model_if_the_model_is_fitted_again_meanwhile():
    X = np.arange(60.0).reshape(30, 2) // 4
    model, other = (ToyQuantizer(2, 6, random_state=seed).fit(X) for seed in (0, 1))
    codes = model.transform(X)
    expected = SemanticIDIndex(policy="reassign").fit(
        codes, range(30), X=X, model=model
    )
    refitted = copy.copy(model)
    items = ReadWith(range(30), lambda: vars(refitted).update(vars(other)))
    index = SemanticIDIndex(policy="reassign").fit(codes, items, X=X, model=refitted)
    assert refitted.codebooks_ is other.codebooks_
    assert index.fingerprint_ == expected.fingerprint_
    np.testing.assert_array_equal(index.ids_, expected.ids_)
