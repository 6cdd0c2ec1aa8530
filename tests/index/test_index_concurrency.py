"""Threads and processes that use one index, or one file, at the same time."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import joblib
import numpy as np
import pytest

from sk_rqvae.index import SemanticIDIndex, locks


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
    with index._writers.held():
        other = copied(index)
        other.add([[0, 1]], ["c"])
    assert index.add([[0, 1]], ["d"]).tolist() == [[0, 1, 2]]
    assert other.item_ids_.tolist() == ["a", "b", "c"]


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
    with index._writers.held():
        child = os.fork()
        if child == 0:
            index.add([[0, 1]])
            os._exit(len(index))
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
    with pytest.raises(ValueError, match="Got revision 2 in the file and 2 here"):
        second.save(path)
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


def test_threads_of_a_forked_process_share_its_lock(monkeypatch):
    lock, holders = locks.WriterLock(), []
    both_make_one, new_lock = threading.Barrier(2, timeout=10), threading.Lock

    def made_at_the_same_time():
        both_make_one.wait()
        return new_lock()

    def work():
        with lock.held():
            holders.append(threading.get_ident())
            time.sleep(0.01)
            assert holders == [threading.get_ident()]
            holders.clear()

    monkeypatch.setattr(locks, "os", SimpleNamespace(getpid=lambda: -1))
    monkeypatch.setattr(locks, "Lock", made_at_the_same_time)
    run_together(work, work)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_index_knows_the_file_that_an_interrupted_save_has_written(
    tmp_path, monkeypatch, error
):
    path, index, _ = diverged(tmp_path)
    index.add([[2, 2]], ["d"])

    def fail(folder):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("sk_rqvae._persistence.atomic._sync_directory", fail)
        with pytest.raises(error):
            index.save(path)
    assert "d" in SemanticIDIndex.load(path).item_ids_
    index.add([[3, 3]], ["e"])
    index.save(path)
    assert SemanticIDIndex.load(path).item_ids_.tolist() == list("abcde")


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
