"""The trie, compared with lookups of one prefix at a time."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_rqvae.index import SemanticIDIndex
from sk_rqvae.index.decoding import item_positions
from sk_rqvae.index.decoding import trie as trie_module
from sk_rqvae.index.decoding.item_positions import ItemPositions
from sk_rqvae.index.decoding.trie_arrays import TrieArrays
from sk_rqvae.index.decoding.trie_masks import (
    allowed_by_bitmap,
    allowed_by_children,
    child_of,
)


def catalogue(policy="suffix", n_items=300, size=9, **parameters):
    rng = np.random.default_rng(0)
    codes = (size * rng.random((n_items, 3)) ** 2).astype(int)
    names = [f"item {n}" for n in range(n_items)]
    index = SemanticIDIndex(policy=policy, codebook_size=size, **parameters)
    return index.fit(codes, names)


def walk(trie, prefixes):
    """The states of some prefixes of equal length."""
    states = np.full(len(prefixes), trie.root)
    for codes in np.asarray(prefixes, dtype=int).reshape(len(prefixes), -1).T:
        states = trie.step(states, codes)
    return states


def expected_mask(index, prefix, width):
    mask = np.zeros(width, dtype=bool)
    mask[index.allowed_next(prefix)] = True
    return mask


@given(
    codes=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 2)),
        min_size=1,
        max_size=40,
    ),
    policy=st.sampled_from(["none", "suffix"]),
    wrong=st.lists(st.integers(-1, 40), min_size=4, max_size=4),
    bitmaps=st.booleans(),
    data=st.data(),
)
@settings(max_examples=60)
def test_a_trie_allows_what_the_index_allows(codes, policy, wrong, bitmaps, data):
    index = SemanticIDIndex(policy=policy).fit(codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie_module, "_BITMAP_BYTES", 2**20 if bitmaps else 0)
        trie = index.trie()
    some = data.draw(st.sets(st.sampled_from(range(len(codes))), min_size=1))
    kept = SemanticIDIndex(policy=policy).fit(codes)
    kept.remove([item for item in range(len(codes)) if item not in some])
    restricted = trie.restricted_to(sorted(some))
    for depth in range(trie.n_levels + 1):
        prefixes = index.ids_[:, :depth]
        states = walk(trie, prefixes)
        masks = trie.allowed(states)
        kept_masks = restricted.allowed(states)
        for prefix, mask, kept_mask in zip(prefixes, masks, kept_masks, strict=True):
            assert np.array_equal(mask, expected_mask(index, prefix, trie.width))
            assert np.array_equal(kept_mask, expected_mask(kept, prefix, trie.width))
    found = trie.items(walk(trie, index.ids_))
    assert all(map(np.array_equal, found, index.lookup(index.ids_)))
    states = walk(trie, [wrong[: trie.n_levels]])
    exists = index.lookup([np.maximum(wrong[: trie.n_levels], 0)], default=None)[0]
    if exists is None or min(wrong[: trie.n_levels]) < 0:
        assert states.tolist() == [-1]
        assert not trie.allowed(states).any()
        assert list(trie.items(states, default="?")) == ["?"]
        assert trie.step(states, np.zeros(1, dtype=int)).tolist() == [-1]


def test_a_state_that_is_no_complete_id_has_no_item():
    index = catalogue()
    trie = index.trie()
    states = walk(trie, index.ids_[:4, :2])
    assert trie.items(states).tolist() == [None] * 4
    assert trie.leaves(states).tolist() == [-1] * 4


def test_states_have_any_shape():
    index = catalogue()
    trie = index.trie()
    ids = index.ids_[:24].reshape(4, 6, 4)
    states = np.zeros((4, 6), dtype=int)
    for level in range(4):
        mask = trie.allowed(states)
        assert mask.shape == (4, 6, trie.width)
        assert np.take_along_axis(mask, ids[..., level, None], axis=2).all()
        states = trie.step(states, ids[..., level])
    assert np.array_equal(
        trie.item_ids[trie.leaves(states)].ravel(), index.item_ids_[:24]
    )


def test_a_restricted_trie_has_the_items_of_both_restrictions():
    index = catalogue()
    trie = index.trie()
    stock, region = index.item_ids_[:200], [*index.item_ids_[100:250], "unknown"]
    both = trie.restricted_to(stock).restricted_to(region)
    states = walk(both, index.ids_)
    expected = [n if 100 <= n < 200 else -1 for n in range(300)]
    named = [f"item {n}" if n >= 0 else None for n in expected]
    assert both.items(states).tolist() == named
    assert trie.items(walk(trie, index.ids_)).tolist() == index.item_ids_.tolist()
    nothing = trie.restricted_to([])
    assert not nothing.allowed(np.array([nothing.root])).any()


def test_a_mask_of_items_restricts_as_their_names_do():
    trie = catalogue().trie()
    mask = np.random.default_rng(1).random(300) < 0.3
    states = np.arange(trie.n_nodes)
    by_mask = trie.restricted_to(mask).allowed(states)
    assert np.array_equal(
        by_mask, trie.restricted_to(trie.item_ids[mask]).allowed(states)
    )
    with pytest.raises(ValueError, match=r"must have shape \(300,\). Got \(2,\)"):
        trie.restricted_to(mask[:2])


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_restricted_trie_does_not_change_with_the_mask_that_it_was_made_of(kind):
    index = catalogue()
    trie = index.trie()
    mask = np.ones(300, dtype=bool)
    if kind == "tensor":
        mask = pytest.importorskip("torch").from_numpy(mask)
    restricted = trie.restricted_to(mask)
    states = walk(trie, index.ids_)
    mask[:] = False
    assert restricted.items(states).tolist() == index.item_ids_.tolist()
    further = restricted.restricted_to(index.item_ids_[:3])
    assert further.items(states)[:4].tolist() == [*index.item_ids_[:3], None]


def test_the_items_and_arrays_of_a_trie_cannot_be_written_to():
    trie = catalogue(policy="none").trie()
    for copied in (trie, pickle.loads(pickle.dumps(trie))):
        items = copied.items(np.arange(trie.n_nodes)[-1:])[0]
        for array in (copied.item_ids, items, *copied.to_arrays().values()):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = array[0]


def test_a_trie_of_a_subset_has_no_other_items():
    index = catalogue()
    trie = index.trie(index.item_ids_[:5])
    assert sorted(trie.item_ids) == sorted(index.item_ids_[:5])
    assert trie.n_nodes <= 1 + 4 * 5
    with pytest.raises(KeyError, match="no item 'x'"):
        index.trie(["x"])
    with pytest.raises(ValueError, match=r"subset must have .* one item\. Got none"):
        index.trie([])


def test_items_that_share_an_id_come_by_falling_weight():
    index = SemanticIDIndex(policy="none")
    index.fit([[1, 0], [1, 0], [2, 0]], ["a", "b", "c"], weights=[1, 3, 2])
    trie = index.trie()
    found = trie.items(walk(trie, [[1, 0], [2, 0], [0, 0]]), default=None)
    assert [None if f is None else f.tolist() for f in found] == [
        ["b", "a"],
        ["c"],
        None,
    ]
    only = trie.restricted_to(["a", "c"])
    assert [f.tolist() for f in only.items(walk(only, [[1, 0], [2, 0]]))] == [
        ["a"],
        ["c"],
    ]


@pytest.mark.parametrize("weights", [None, [1, 3, 2]])
def test_an_id_whose_items_are_all_restricted_has_the_default(weights):
    index = SemanticIDIndex(policy="none")
    index.fit([[1, 0], [1, 0], [2, 0]], ["a", "b", "c"], weights=weights)
    trie = index.trie()
    found = trie.restricted_to(["c"]).items(walk(trie, [[1, 0], [2, 0]]), "nothing")
    assert [list(each) for each in found] == [list("nothing"), ["c"]]


def test_a_trie_can_be_pickled_and_does_not_change_with_the_index():
    index = catalogue()
    trie = pickle.loads(pickle.dumps(index.trie()))
    before = trie.allowed(np.arange(trie.n_nodes))
    index.remove(index.item_ids_[:100])
    assert np.array_equal(trie.allowed(np.arange(trie.n_nodes)), before)
    assert len(index.trie().item_ids) == 200


def test_the_arrays_of_a_trie_are_enough_to_decode():
    index = catalogue(policy="none")
    trie = index.trie().restricted_to(index.item_ids_[::2])
    arrays = trie.to_arrays()
    for row in (0, 2, 7):
        node = 0
        for code in index.ids_[row]:
            start, stop = arrays["first_child"][node : node + 2]
            node = start + np.searchsorted(arrays["codes"][start:stop], code)
            assert arrays["codes"][node] == code
        leaf = node - (len(arrays["first_child"]) - 1)
        start, stop = arrays["first_leaf"][leaf : leaf + 2]
        assert index.item_ids_[row] in trie.item_ids[start:stop]
        assert arrays["allowed"][node] == any(
            int(name.split()[1]) % 2 == 0 for name in trie.item_ids[start:stop]
        )


def test_tensors_give_the_tensors_that_arrays_give():
    torch = pytest.importorskip("torch")
    index = catalogue()
    for trie in (index.trie(), index.trie().restricted_to(index.item_ids_[:50])):
        ids = index.ids_
        states = np.zeros(len(ids), dtype=int)
        tensors = torch.zeros(len(ids), dtype=torch.long)
        for level in range(trie.n_levels):
            mask = trie.to("cpu").allowed(tensors)
            assert torch.is_tensor(mask)
            assert np.array_equal(mask.numpy(), trie.allowed(states))
            states = trie.step(states, ids[:, level])
            tensors = trie.step(tensors, torch.from_numpy(ids[:, level].copy()))
            assert np.array_equal(tensors.numpy(), states)
        found = trie.items(tensors, default="?")
        assert found.tolist() == trie.items(states, default="?").tolist()


def test_what_runs_on_a_device_is_what_runs_on_arrays():
    torch = pytest.importorskip("torch")
    from operation_log import OperationLog

    index = catalogue(size=11)
    arrays = TrieArrays.of_sorted(index.ids_[np.lexsort(index.ids_.T[::-1])])
    width = int(index.ids_.max()) + 1
    mask = np.random.default_rng(2).random(300) < 0.4
    on_device = arrays.to(torch, "cpu")
    bitmaps = arrays.bitmaps(width)
    states = np.arange(-1, len(arrays.codes))
    codes = np.random.default_rng(3).integers(-1, width, len(states))
    tensors = torch.from_numpy(states), torch.from_numpy(codes)
    alive = on_device.alive(torch.from_numpy(mask))
    assert np.array_equal(alive.numpy(), arrays.alive(mask))
    with OperationLog() as log:
        by_bitmap = allowed_by_bitmap(torch.from_numpy(bitmaps), tensors[0], width)
        by_children = allowed_by_children(on_device, None, tensors[0], width)
        restricted = allowed_by_children(on_device, alive, tensors[0], width)
        stepped = child_of(on_device, alive, *tensors)
    assert log.waits == []
    expected = allowed_by_children(arrays, None, states, width)
    assert np.array_equal(allowed_by_bitmap(bitmaps, states, width), expected)
    assert np.array_equal(by_bitmap.numpy(), expected)
    assert np.array_equal(by_children.numpy(), expected)
    assert np.array_equal(
        restricted.numpy(), allowed_by_children(arrays, alive.numpy(), states, width)
    )
    assert np.array_equal(
        stepped.numpy(), child_of(arrays, alive.numpy(), states, codes)
    )


@pytest.mark.cuda
def test_a_trie_works_on_a_gpu_without_waiting_for_it():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    index = catalogue()
    trie = index.trie()
    for each in (trie, trie.restricted_to(index.item_ids_[:50])):
        on_device = each.to("cuda")
        states = torch.zeros(300, dtype=torch.long, device="cuda")
        ids = torch.from_numpy(index.ids_.copy()).cuda()
        torch.cuda.set_sync_debug_mode("error")
        masks = []
        for level in range(trie.n_levels):
            masks.append(on_device.allowed(states))
            states = on_device.step(states, ids[:, level])
        torch.cuda.set_sync_debug_mode("default")
        expected = np.zeros(300, dtype=int)
        for level, mask in enumerate(masks):
            assert np.array_equal(mask.cpu().numpy(), each.allowed(expected))
            expected = each.step(expected, index.ids_[:, level])
        assert on_device.items(states).tolist() == each.items(expected).tolist()


def test_a_sequence_can_be_the_default_of_items():
    trie = SemanticIDIndex().fit([[0, 1], [1, 0]], ["a", "b"]).trie()
    (leaf,) = walk(trie, [(0, 1, 0)])
    states = np.array([-1, leaf, -1])
    for default in (("x", "y"), [], "none"):
        assert trie.items(states, default=default).tolist() == [default, "a", default]


def test_a_mask_of_items_can_be_a_column_of_a_data_frame():
    trie = catalogue().trie()
    mask = np.arange(len(trie.item_ids)) % 3 == 0
    found = trie.restricted_to(pd.Series(mask))
    expected = trie.restricted_to(mask)
    assert list(found.item_ids) == list(expected.item_ids)
    states = walk(trie, [(0,), (1,), (2,)])
    np.testing.assert_array_equal(found.allowed(states), expected.allowed(states))


def test_a_trie_can_be_restricted_by_a_column_of_truth_values():
    index = SemanticIDIndex(policy="none").fit([[0, 1], [1, 0], [2, 2]])
    trie = index.trie()
    chosen = [True, False, True]
    expected = trie.restricted_to([0, 2]).allowed(np.array([trie.root]))
    masks = [chosen, tuple(chosen), list(np.array(chosen))]
    masks += [pd.Series(chosen, dtype=kind) for kind in (bool, "boolean")]
    masks += [pd.Series(chosen, dtype="bool[pyarrow]"), pl.Series(chosen)]
    for mask in masks:
        found = trie.restricted_to(mask).allowed(np.array([trie.root]))
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=r"must not have missing values.* position 1"):
        trie.restricted_to(pd.Series([True, None, False], dtype="boolean"))
    with pytest.raises(ValueError, match=r"must not have missing values.* position 1"):
        trie.restricted_to(pd.array([True, None, False], dtype="boolean"))
    with pytest.raises(TypeError, match="a mask of items must not have masked values"):
        trie.restricted_to(np.ma.array(chosen, mask=[1, 0, 0]))


def test_a_single_state_is_an_array_or_tensor_without_axes():
    torch = pytest.importorskip("torch")
    trie = SemanticIDIndex(policy="none").fit([[0, 1], [1, 0]]).trie()
    state = trie.step(np.array(trie.root), np.array(1))
    found = trie.step(torch.tensor(trie.root), torch.tensor(1))
    assert int(found) == int(state)
    leaf = trie.step(found, torch.tensor(0))
    assert int(trie.leaves(leaf)) == 1


def few_keys(texts):
    return np.array([ord(text) % 3 for text in texts], dtype=int)


@given(st.sets(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("defghijk")))
def test_strings_are_found_whatever_hash_they_have(names, wanted):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            item_positions,
            "text_keys",
            lambda texts: np.array([ord(t) % 3 for t in texts], int),
        )
        positions = ItemPositions(np.array(sorted(names), dtype=object))
        for some in (wanted, names):  # the second call finds the strings sorted
            mask = positions.mask(np.array(sorted(some), dtype=object))
            assert mask.tolist() == [name in some for name in sorted(names)]
