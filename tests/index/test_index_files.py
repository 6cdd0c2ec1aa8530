"""Files of indexes: saved, reloaded and exchanged."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import struct
import tracemalloc
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_toys import ToyQuantizer

from sk_rqvae import SemanticIDIndex
from sk_rqvae.index.formats import table as _table

CODES = np.array([[0, 1], [0, 1], [3, 2], [0, 300], [0, 1]])
ITEMS = {
    "row": None,
    "int": [9, -(2**62), 7, 6, 5],
    "str": ["e", "", "ünïcode \ud800", 'com,ma"', "nul\0"],
}


def same(index, other):
    assert np.array_equal(index.ids_, other.ids_)
    assert np.array_equal(index.item_ids_, other.item_ids_)
    assert index.summary() == other.summary()
    assert index.fingerprint_ == other.fingerprint_


@pytest.mark.parametrize("policy", ["none", "suffix"])
@pytest.mark.parametrize("kind", ITEMS)
def test_a_reloaded_index_is_equal_and_gives_new_items_the_same_ids(
    tmp_path, policy, kind
):
    index = SemanticIDIndex(policy=policy).fit(CODES, ITEMS[kind], X=CODES)
    index.save(tmp_path / "index")
    other = SemanticIDIndex.load(str(tmp_path / "index"))
    assert other.get_params() == index.get_params()
    same(index, other)
    new = None if kind == "row" else [{"int": 1, "str": "new"}[kind]]
    assert np.array_equal(index.add([[0, 1]], new), other.add([[0, 1]], new))
    same(index, other)


def test_a_reloaded_index_knows_its_model_and_the_cost_of_moved_items(tmp_path):
    X = np.round(np.random.default_rng(0).normal(scale=9, size=(40, 2)))
    model = ToyQuantizer(2, 8).fit(X)
    index = SemanticIDIndex(policy="reassign", codebook_size=(8, 8))
    index.fit(model.transform(X), X=X, model=model)
    index.save(tmp_path / "index")
    other = SemanticIDIndex.load(tmp_path / "index")
    same(index, other)
    assert other.summary()["n_moved"] > 0
    new = X[:5]
    assert np.array_equal(
        index.add(model.transform(new), X=new, model=model),
        other.add(model.transform(new), X=new, model=model),
    )
    changed = ToyQuantizer(2, 8, random_state=1).fit(X)
    with pytest.raises(ValueError, match="must be the one"):
        other.add(changed.transform(new), X=new, model=changed)


@pytest.mark.parametrize("size", [4, [4, 5], None])
def test_a_file_has_the_codebook_size_of_the_last_fit_whatever_was_set_later(
    tmp_path, size
):
    index = SemanticIDIndex(codebook_size=copy.copy(size))
    index.fit([[0, 1], [0, 1]], ["a", "b"])
    if isinstance(size, list):
        index.codebook_size[0] = 1
    index.set_params(codebook_size=[4, 4, 4])
    with pytest.raises(ValueError, match="one entry per level"):
        index.fit([[0, 1]])
    index.save(tmp_path / "index")
    loaded = SemanticIDIndex.load(tmp_path / "index")
    same(index, loaded)
    assert loaded.codebook_size == size


def test_a_reloaded_index_of_huge_codes_takes_new_items(tmp_path):
    index = SemanticIDIndex(policy="none").fit([[2**62, 0]])
    index.save(tmp_path / "index")
    other = SemanticIDIndex.load(tmp_path / "index")
    assert other.add(np.empty((0, 2))).shape == (0, 2)
    assert other.add([[0, 1]]).tolist() == [[0, 1]]
    assert other.ids_.tolist() == [[2**62, 0], [0, 1]]


def test_an_empty_index_can_be_saved(tmp_path):
    index = SemanticIDIndex(codebook_size=4).fit(np.empty((0, 3)), [])
    index.save(tmp_path / "index")
    assert SemanticIDIndex.load(tmp_path / "index").ids_.shape == (0, 4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "index"
    SemanticIDIndex(codebook_size=512).fit(CODES, ITEMS["str"], X=CODES).save(path)
    return path.read_bytes()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_file_with_any_byte_changed_is_refused(saved, tmp_path_factory, data):
    place = data.draw(st.integers(0, len(saved) - 1))
    changed = bytearray(saved)
    changed[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(changed)
    with pytest.raises(ValueError, match=r"changed (is|was|has)"):
        SemanticIDIndex.load(path)


@given(length=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_file_cut_anywhere_is_refused(saved, tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "cut"
    path.write_bytes(saved[: length % len(saved)])
    with pytest.raises(ValueError, match=r"truncated|not an index file"):
        SemanticIDIndex.load(path)


DAMAGES = {
    "a byte less": (
        lambda content: content[:-1],
        r"is truncated: array 'item_rows' ends at byte \d+\. Got \d+ bytes\.$",
    ),
    "a byte more": (
        lambda content: content + b"\0",
        r"must end at byte \d+, with its last array\. Got \d+ bytes\.$",
    ),
    "another bit": (
        lambda content: content[:-64] + bytes([content[-64] ^ 1]) + content[-63:],
        r"is corrupt: array 'item_rows', bytes \d+ to \d+, does not match its "
        r"checksum\.$",
    ),
    "a byte between header and arrays": (
        lambda content: (
            content[: end_of_header(content)]
            + b"\1"
            + content[end_of_header(content) + 1 :]
        ),
        r"is corrupt: bytes \d+ to \d+ must be zeros\.$",
    ),
}


def end_of_header(content):
    """Where its checksum ends."""
    return 20 + struct.unpack("<Q", content[12:20])[0] + 32


@pytest.mark.parametrize("name", DAMAGES)
def test_the_error_of_a_damaged_file_says_what_is_damaged(saved, tmp_path, name):
    change, message = DAMAGES[name]
    path = tmp_path / "index"
    path.write_bytes(change(saved))
    with pytest.raises(ValueError, match=f"index {message}"):
        SemanticIDIndex.load(path)


def test_a_file_of_a_newer_version_is_refused(saved, tmp_path):
    path = tmp_path / "newer"
    path.write_bytes(saved[:8] + struct.pack("<I", 7) + saved[12:])
    with pytest.raises(ValueError, match=r"newer sk_rqvae\. Got format version 7"):
        SemanticIDIndex.load(path)


def rewritten(saved, change):
    """The file with its header changed and a checksum that fits."""
    (length,) = struct.unpack("<Q", saved[12:20])
    header = json.loads(saved[20 : 20 + length])
    change(header)
    head = with_header(json.dumps(header).encode())
    return head + saved[-(-(52 + length) // 64) * 64 :]


def with_header(text):
    head = b"SEMIDIX\n" + struct.pack("<IQ", 2, len(text)) + text
    head += hashlib.sha256(head).digest()
    return head.ljust(-(-len(head) // 64) * 64, b"\0")


def array(header, name):
    return next(entry for entry in header["arrays"] if entry["name"] == name)


FORGERIES = {
    "no policy": lambda header: header.pop("policy"),
    "unknown policy": lambda header: header.update(policy="other"),
    "small codebooks": lambda header: header.update(sizes=[2, 2]),
    "other items": lambda header: header.update(items="int"),
    "unknown items": lambda header: header.update(items="float"),
    "no ids": lambda header: header["arrays"].pop(0),
    "no arrays": lambda header: header.update(arrays=None),
    "an array of arrays": lambda header: header.update(arrays=[[]]),
    "many rows": lambda header: array(header, "ids").update(shape=[10**9, 3]),
    "many columns": lambda header: array(header, "ids").update(shape=[0, 5 * 10**9]),
    "absurdly many": lambda header: array(header, "ids").update(shape=[10**400, 3]),
    "no columns": lambda header: array(header, "ids").update(shape=[2**62, 0]),
    "more digits than Python prints": lambda header: array(header, "ids").update(
        shape=[10**4299, 4096]
    ),
    "no offset": lambda header: array(header, "ids").pop("offset"),
    "fewer columns": lambda header: array(header, "ids").update(shape=[3, 5]),
    "three dimensions": lambda header: array(header, "ids").update(shape=[5, 3, 1]),
    "no shape": lambda header: array(header, "ids").update(shape=5),
    "negative": lambda header: array(header, "ids").update(shape=[-1, 3]),
    "before the file": lambda header: array(header, "ids").update(offset=-64),
    "objects": lambda header: array(header, "ids").update(dtype="|O"),
    "many levels": lambda header: header.update(n_layers=10**12),
    "levels in words": lambda header: header.update(n_layers="two"),
    "fewer items": lambda header: array(header, "item_ends").update(shape=[4]),
    "no item text": lambda header: header["arrays"].remove(array(header, "item_text")),
    "no digests": lambda header: array(header, "digests").update(shape=[0]),
    "a broken history": lambda header: header.update(history=[{"action": "fit"}]),
    "no history": lambda header: header.update(history=[]),
    "a history of another type": lambda header: header.update(history={}),
    "a change without a revision": lambda header: header["history"][-1].update(
        revision="x"
    ),
    "a change at no time": lambda header: header["history"][-1].update(time=0),
    "a model of another type": lambda header: header.update(fingerprint=1e300),
    "an endless version": lambda header: header.update(fingerprint_version=1e999),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_a_file_whose_parts_do_not_fit_is_refused(saved, tmp_path, name, mmap_mode):
    path = tmp_path / "forged"
    path.write_bytes(rewritten(saved, FORGERIES[name]))
    with pytest.raises(ValueError, match="forged") as caught:
        SemanticIDIndex.load(path, mmap_mode=mmap_mode)
    assert "Error(" not in str(caught.value)


def test_a_mapped_file_with_codes_of_no_radix_is_refused(saved, tmp_path):
    path = tmp_path / "forged"
    path.write_bytes(rewritten(saved, lambda header: header.update(radices=[0] * 3)))
    with pytest.raises(ValueError, match=r"forged .*radices"):
        SemanticIDIndex.load(path, mmap_mode="r")


@pytest.mark.parametrize("codebook_size", [None, 8, 2**40])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_mapped_file_with_another_radix_is_refused(
    tmp_path, codebook_size, level, factor
):
    path = tmp_path / "forged"
    codes = np.random.default_rng(0).integers(0, 8, (500, 3))
    index = SemanticIDIndex(policy="none", codebook_size=codebook_size).fit(codes)
    index.save(path)

    def change(header):
        header["radices"][level] = int(factor * header["radices"][level])

    path.write_bytes(rewritten(path.read_bytes(), change))
    if codebook_size is None and level == 0 and factor == 2:
        # Keys do not depend on the first radix, which only bounds the codes.
        loaded = SemanticIDIndex.load(path, mmap_mode="r")
        assert loaded.lookup(codes)[0].tolist() == index.lookup(codes)[0].tolist()
    else:
        with pytest.raises(ValueError, match=r"forged .*(keys|radices|sizes|fit)"):
            SemanticIDIndex.load(path, mmap_mode="r")


@pytest.mark.parametrize("items", [range(700, 1200), [f"{n}" for n in range(500)]])
@pytest.mark.parametrize("pair", [("id_rows", "item_rows"), ("item_keys", "digests")])
def test_a_mapped_file_whose_keys_are_of_other_rows_is_refused(tmp_path, items, pair):
    path = tmp_path / "forged"
    codes = np.random.default_rng(0).integers(0, 8, (500, 3))
    SemanticIDIndex(codebook_size=8).fit(codes, list(items), X=codes).save(path)

    def change(header):
        one, other = (array(header, name) for name in pair)
        one["offset"], other["offset"] = other["offset"], one["offset"]

    path.write_bytes(rewritten(path.read_bytes(), change))
    with pytest.raises(ValueError, match=r"forged .*keys"):
        SemanticIDIndex.load(path, mmap_mode="r")


def test_a_file_whose_next_row_is_taken_is_refused(tmp_path):
    index = SemanticIDIndex().fit(CODES)
    index.remove([1])
    path = tmp_path / "forged"
    for next_number in (0, len(CODES) - 1):
        index.save(path, on_conflict="overwrite")
        change = {"next_number": next_number}
        path.write_bytes(rewritten(path.read_bytes(), lambda h, c=change: h.update(c)))
        with pytest.raises(ValueError, match=r"forged .*next row"):
            SemanticIDIndex.load(path)


def test_a_broken_history_does_not_get_in_the_way_of_a_conflict(saved, tmp_path):
    path = tmp_path / "forged"
    SemanticIDIndex().fit(CODES).save(path)
    index = SemanticIDIndex.load(path)
    path.write_bytes(rewritten(saved, FORGERIES["no history"]))
    with pytest.raises(ValueError, match="forged is not a valid index"):
        index.save(path)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"arrays": []}']
)
def test_a_file_whose_header_is_no_description_is_refused(tmp_path, text):
    path = tmp_path / "forged"
    path.write_bytes(with_header(text))
    with pytest.raises(ValueError, match="forged"):
        SemanticIDIndex.load(path)


def test_a_header_that_claims_to_be_longer_than_the_file_is_refused(saved, tmp_path):
    path = tmp_path / "forged"
    path.write_bytes(saved[:12] + struct.pack("<Q", 2**63) + saved[20:])
    with pytest.raises(ValueError, match="is truncated"):
        SemanticIDIndex.load(path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    index = SemanticIDIndex().fit(CODES)
    for name, read in {
        "index": SemanticIDIndex.load,
        "index.json": SemanticIDIndex.from_json,
        "index.csv": SemanticIDIndex.from_table,
    }.items():
        os.mkfifo(tmp_path / name)
        with pytest.raises(ValueError, match="is a FIFO"):
            read(tmp_path / name)
    with pytest.raises(ValueError, match="is a FIFO"):
        index.save(tmp_path / "index")


def test_a_file_rewritten_with_the_same_bytes_loads(saved, tmp_path):
    path = tmp_path / "same"
    path.write_bytes(rewritten(saved, lambda header: None))
    original = SemanticIDIndex(codebook_size=512).fit(CODES, ITEMS["str"], X=CODES)
    same(SemanticIDIndex.load(path), original)


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "index"
    index = SemanticIDIndex().fit(CODES)
    index.save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        index.save(path)
    with pytest.raises(OSError, match="no space"):
        index.to_json(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_loading_imports_no_pickle_and_finds_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        SemanticIDIndex.load(tmp_path / "missing")
    path = tmp_path / "pickle"
    np.save(path.open("wb"), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not an index file"):
        SemanticIDIndex.load(path)


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_a_saved_file_keeps_its_permissions_and_a_link_to_it(tmp_path):
    path, link = tmp_path / "index", tmp_path / "link"
    path.touch(mode=0o600)
    link.symlink_to(path)
    index = SemanticIDIndex().fit(CODES)
    for save in (index.save, index.to_json):
        save(link)
        assert link.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(child.name for child in tmp_path.iterdir()) == ["index", "link"]


def test_a_new_index_replaces_a_file_that_cannot_be_read(saved, tmp_path):
    path = tmp_path / "index"
    path.write_bytes(saved[:8] + struct.pack("<I", 1) + saved[12:])
    SemanticIDIndex().fit(CODES).save(path)
    index = SemanticIDIndex.load(path)
    path.write_bytes(saved[:100])
    with pytest.raises(ValueError, match="truncated"):
        index.save(path)
    index.save(path, on_conflict="overwrite")
    same(index, SemanticIDIndex.load(path))


def test_json_is_what_generative_recommenders_read(tmp_path):
    path = tmp_path / "index.json"
    SemanticIDIndex().fit([[1, 2], [1, 2]], [10, 11]).to_json(path)
    assert json.loads(path.read_text()) == {
        "10": ["<a_1>", "<b_2>", "<c_0>"],
        "11": ["<a_1>", "<b_2>", "<c_1>"],
    }


@pytest.mark.parametrize("policy", ["none", "suffix"])
@pytest.mark.parametrize("kind", ITEMS)
@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_an_exchanged_index_is_the_same(tmp_path, policy, kind, suffix):
    items = ITEMS[kind]
    if kind == "str" and suffix != "json":
        items = [item.replace("\ud800", "\n") for item in items]
    if kind == "str" and suffix == "csv":
        items = [item or " " for item in items]
    index = SemanticIDIndex(policy=policy).fit(CODES, items)
    path = tmp_path / f"index.{suffix}"
    arguments = {"policy": policy, "item_type": str if kind == "str" else int}
    if suffix == "json":
        index.to_json(path)
        other = SemanticIDIndex.from_json(path, **arguments)
    else:
        index.to_table(path)
        other = SemanticIDIndex.from_table(path, **arguments)
    same(index, other)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_either_parquet_library_writes_what_the_other_reads(
    tmp_path, monkeypatch, library
):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    monkeypatch.setattr(
        _table, "_parquet_library", lambda: (library, pytest.importorskip(library))
    )
    for name, items in {"a": None, "b": ["x", "y", "z", "v", "w"]}.items():
        path = tmp_path / f"{name}.parquet"
        index = SemanticIDIndex().fit(CODES, items)
        index.to_table(path)
        same(index, SemanticIDIndex.from_table(path, item_type=None))
        for frame in (pd.read_parquet(path), pl.read_parquet(path)):
            assert list(frame.columns) == ["item_id", "level_1", "level_2", "suffix"]
            assert frame["level_2"].to_list() == CODES[:, 1].tolist()
            assert frame["item_id"].to_list() == index.item_ids_.tolist()


def test_parquet_without_a_library_is_an_import_error(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pyarrow or polars"):
        SemanticIDIndex().fit(CODES).to_table(tmp_path / "index.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_any_kind_must_name_it(tmp_path):
    index = SemanticIDIndex().fit(CODES)
    with pytest.raises(ValueError, match=r"must end in '\.parquet' or '\.csv'"):
        index.to_table(tmp_path / "index.txt")
    with pytest.raises(ValueError, match=r"must end in '\.parquet' or '\.csv'"):
        SemanticIDIndex.from_table(tmp_path / "index.txt")


def test_suffixes_read_from_a_file_are_kept_whatever_the_order_of_its_rows(tmp_path):
    path = tmp_path / "index.json"
    path.write_text('{"x": ["<a_1>", "<b_1>"], "y": ["<a_1>", "<b_0>"]}')
    index = SemanticIDIndex.from_json(path)
    assert index.ids_.tolist() == [[1, 1], [1, 0]]
    assert index.lookup([[1, 0], [1, 1]]).tolist() == ["y", "x"]
    assert index.add([[1]], ["z"]).tolist() == [[1, 2]]
    index.save(tmp_path / "saved")
    same(index, SemanticIDIndex.load(tmp_path / "saved"))


def test_an_index_read_with_its_model_takes_codes_of_that_model_only(tmp_path):
    X = np.arange(12.0).reshape(6, 2)
    model, other = (ToyQuantizer(2, 4, random_state=s).fit(X) for s in (0, 1))
    path = tmp_path / "index.json"
    SemanticIDIndex().fit(model.transform(X)).to_json(path)
    index = SemanticIDIndex.from_json(path, model=model)
    assert index.fingerprint_ is not None
    with pytest.raises(ValueError, match="must be the one"):
        index.add(other.transform(X), [f"{n}" for n in range(6, 12)], model=other)


BAD_JSON = {
    "": "not valid JSON",
    "[]": "an object of items",
    "{}": "at least one item",
    '{"x": "<a_1>"}': "a list of tokens",
    '{"x": [1]}': "a list of tokens",
    '{"x": ["<a_1>", "<c_0>"]}': "must name one code per level",
    '{"x": ["<a_1>", "<b_0>"], "y": ["<a_1>"]}': "for item 'y', expected 2",
    '{"x": ["<a_1>", "<b_0>"], "x": ["<a_2>", "<b_0>"]}': "must be unique",
    '{"x": ["<a_1>", "<b_1>"]}': "count from 0",
    '{"x": ["<a_1>"]}': "one column per level and one for the suffix",
    '{"x": ["<a_9>", "<b_0>"]}': "below codebook_size",
    '{"x": ["<a_9223372036854775808>", "<b_0>"]}': "codes below 2",
}


@pytest.mark.parametrize("text", BAD_JSON)
def test_json_that_is_not_an_index_is_an_error(tmp_path, text):
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=BAD_JSON[text]):
        SemanticIDIndex.from_json(path, codebook_size=9)


def test_reassigned_ids_that_are_not_unique_are_an_error(tmp_path):
    path = tmp_path / "index.json"
    path.write_text('{"x": ["<a_1>"], "y": ["<a_1>"]}')
    with pytest.raises(ValueError, match=r"must be unique .* Got one 2 times"):
        SemanticIDIndex.from_json(path, policy="reassign")
    path.write_text('{"x": ["<a_1>"], "y": ["<a_2>"]}')
    index = SemanticIDIndex.from_json(path, policy="reassign")
    assert index.add([[1]], ["z"], alternatives=[[[0]]]).tolist() == [[0]]


def test_items_that_are_not_integers_are_an_error_where_integers_are_asked_for(
    tmp_path,
):
    path = tmp_path / "index.json"
    path.write_text('{"x": ["<a_1>", "<b_0>"]}')
    with pytest.raises(ValueError, match="integer items"):
        SemanticIDIndex.from_json(path, item_type=int)
    with pytest.raises(ValueError, match="item_type must be int or str"):
        SemanticIDIndex.from_json(path, item_type=float)


BAD_CSV = {
    "": "a column of items and one per level",
    "item\nx\n": "a column of items and one per level",
    "item,a,b\nx,1\n": "line 2 must have 3 fields",
    "item,a,b\nx,1,0\ny,1.5,0\n": "line 3 must have whole numbers",
    "item,a,b\nx,-1,0\n": "must not be negative",
    "item,a,b\nx,1,0\nx,2,0\n": "must be unique",
    "item,a,b\nx,1,0\n,2,0\n": "line 3 must have an item",
    'item,a,b\nx,1,0\n"",2,0\n': "line 3 must have an item",
    "level_1,suffix,item_id\n1,0,\n": "line 2 must have an item",
}


@pytest.mark.parametrize("text", BAD_CSV)
def test_a_csv_file_that_is_not_an_index_is_an_error(tmp_path, text):
    path = tmp_path / "index.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=BAD_CSV[text]):
        SemanticIDIndex.from_table(path)


def test_the_index_that_pandas_writes_is_not_taken_for_items_or_codes(tmp_path):
    index = SemanticIDIndex().fit(CODES, ITEMS["int"])
    csv, parquet = tmp_path / "index.csv", tmp_path / "index.parquet"
    index.to_table(csv)
    frame = pd.read_csv(csv)
    frame.to_csv(csv)
    frame.iloc[::-1].to_parquet(parquet)
    same(index, SemanticIDIndex.from_table(csv, item_type=int))
    found = SemanticIDIndex.from_table(parquet)
    assert np.array_equal(found.ids_of(ITEMS["int"]), index.ids_)
    frame.set_index("item_id").to_csv(csv)
    same(index, SemanticIDIndex.from_table(csv, item_type=int))
    frame.columns = ["item", "a", "b", "c"]
    frame.to_csv(csv)
    with pytest.raises(ValueError, match="which pandas writes for its index"):
        SemanticIDIndex.from_table(csv)


def test_columns_are_found_by_their_names(tmp_path):
    path = tmp_path / "index.csv"
    path.write_text("suffix,level_2,item_id,level_1\n0,7,x,3\n1,7,y,3\n")
    index = SemanticIDIndex.from_table(path)
    assert index.ids_of(["x", "y"]).tolist() == [[3, 7, 0], [3, 7, 1]]


def test_codes_without_a_suffix_are_read_as_codes_and_made_ids_by_fit(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("item_id,level_1,level_2\nx,1,0\ny,1,0\nz,1,1\n")
    with pytest.raises(ValueError, match="must have a column suffix"):
        SemanticIDIndex.from_table(path)
    codes = SemanticIDIndex.from_table(path, policy="none")
    index = SemanticIDIndex(policy="suffix").fit(codes.ids_, codes.item_ids_)
    assert index.ids_.tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0]]
    index.to_table(path)
    other = SemanticIDIndex.from_table(path)
    assert np.array_equal(other.ids_, index.ids_)
    assert other.item_ids_.tolist() == ["x", "y", "z"]


def test_ids_that_skip_suffixes_after_a_removal_are_read_back(tmp_path):
    index = SemanticIDIndex().fit(CODES, ITEMS["int"])
    index.remove(ITEMS["int"][:1])
    index.to_table(tmp_path / "index.csv")
    index.to_json(tmp_path / "index.json")
    other = SemanticIDIndex.from_table(tmp_path / "index.csv", item_type=int)
    with pytest.raises(ValueError, match="or allow_gaps=True if items were removed"):
        SemanticIDIndex.from_json(tmp_path / "index.json", item_type=int)
    third = SemanticIDIndex.from_json(
        tmp_path / "index.json", item_type=int, allow_gaps=True
    )
    for each in (other, third):
        assert np.array_equal(each.ids_, index.ids_)
        assert each.add([[0, 1]], [1]).tolist() == [[0, 1, 3]]


BAD_TABLES = {
    "item,a,b\n1.5,1,0\n": "Got '1.5' in row 0",
    "item,a,b\n1_0,1,0\n": "Got '1_0' in row 0",
    "item,a,b\n7,1,0\n,1,1\n": "line 3 must have an item",
    "item,a,b\n9223372036854775808,1,0\n": "in row 0",
    "1,2,0\n2,2,1\n": "must begin with a line of column names",
    "x,2,0\ny,2,1\n": "must begin with a line of column names",
    "item,a,a\n7,1,0\n": "columns of the same name",
    "item_id,level_1,level_3\n7,1,0\n": "level_1 to level_3",
    "item_id,level_1,suffix,price\n7,1,0,9\n": "neither items nor levels",
    "a,b,level_1,suffix\n7,1,0,9\n": "one column of items",
    'item,a,b\n7,"1,0\n': "line 2",
    "item,a,b\n7,1_0,0\n": "line 2 must have whole numbers",
    "item,a,b\n7,99999999999999999999,0\n": "line 2 must have whole numbers",
    "item,a,b\n7,9223372036854775808,0\n": "line 2 must have whole numbers",
    "item,a,b\n7,1,2\n": "count from 0",
}


@pytest.mark.parametrize("text", BAD_TABLES)
def test_an_ambiguous_table_is_an_error_that_names_the_ambiguity(tmp_path, text):
    path = tmp_path / "index.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=BAD_TABLES[text]) as caught:
        SemanticIDIndex.from_table(path, item_type=int)
    assert str(path) in str(caught.value)


def test_a_table_in_another_encoding_is_an_error(tmp_path):
    path = tmp_path / "index.csv"
    path.write_bytes("item,a,b\nü,1,0\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"index\.csv must be in UTF-8"):
        SemanticIDIndex.from_table(path)
    path.write_bytes("item,a,b\nü,1,0\n".encode("utf-8-sig"))
    assert SemanticIDIndex.from_table(path).item_ids_.tolist() == ["ü"]


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet_items_that_are_missing_or_fractions_are_errors(
    tmp_path, monkeypatch, library
):
    found = pytest.importorskip(library)
    monkeypatch.setattr(_table, "_parquet_library", lambda: (library, found))
    path = tmp_path / "index.parquet"
    for items, item_type in {
        (2**53 + 1, None): int,
        ("x", None): str,
        (1.5, 2.0): int,
        (1.5, 2.5): str,
        (None, None): str,
    }.items():
        frame = pl.DataFrame({"item": items, "a": [1, 2], "b": [0, 0]})
        frame.write_parquet(path)
        with pytest.raises(ValueError, match=r"index\.parquet .* in row"):
            SemanticIDIndex.from_table(path, item_type=item_type)
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"index\.parquet is not a Parquet file"):
        SemanticIDIndex.from_table(path)


NO_ITEMS = {
    "fractions": [1.5, 2.0],
    "truths": [True, False],
    "bytes": [b"x", b"y"],
    "lists": [[1, 2], [3]],
    "dates": [date(2026, 1, 1), date(2026, 1, 2)],
    "decimals": [Decimal("1.5"), Decimal("2.5")],
}


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
@pytest.mark.parametrize("kind", NO_ITEMS)
def test_parquet_items_that_are_neither_strings_nor_integers_are_errors(
    tmp_path, monkeypatch, library, kind
):
    found = pytest.importorskip(library)
    monkeypatch.setattr(_table, "_parquet_library", lambda: (library, found))
    path = tmp_path / "index.parquet"
    frame = pl.DataFrame({"item": NO_ITEMS[kind], "a": [1, 2], "b": [0, 0]})
    frame.write_parquet(path)
    for item_type in (None, int, str):
        with pytest.raises(ValueError, match=r"index\.parquet must hold .* in row 0"):
            SemanticIDIndex.from_table(path, item_type=item_type)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet_items_that_are_no_unicode_are_an_error(tmp_path, monkeypatch, library):
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    found = pytest.importorskip(library)
    monkeypatch.setattr(_table, "_parquet_library", lambda: (library, found))
    path = tmp_path / "index.parquet"
    ends = arrow.py_buffer(np.array([0, 1], dtype=np.int32).tobytes())
    items = arrow.Array.from_buffers(
        arrow.string(), 1, [None, ends, arrow.py_buffer(b"\xff")]
    )
    parquet.write_table(arrow.table({"item": items, "a": [1], "b": [0]}), path)
    with pytest.raises(ValueError, match=r"index\.parquet is not a Parquet file"):
        SemanticIDIndex.from_table(path)


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet_codes_are_exact_whatever_the_types_of_their_columns(
    tmp_path, monkeypatch, library
):
    found = pytest.importorskip(library)
    monkeypatch.setattr(_table, "_parquet_library", lambda: (library, found))
    path = tmp_path / "index.parquet"
    columns = {
        "level_1": pl.Series([2**53 + 1, 2**63 - 1], dtype=pl.Int64),
        "level_2": pl.Series([2**53 + 1, 7], dtype=pl.UInt64),
        "level_3": pl.Series([1.0, 2.0]),
        "suffix": pl.Series([0, 0], dtype=pl.Int8),
    }
    frame = pl.DataFrame({"item_id": [5, 6], **columns})
    frame.write_parquet(path)
    ids = [[2**53 + 1, 2**53 + 1, 1, 0], [2**63 - 1, 7, 2, 0]]
    assert SemanticIDIndex.from_table(path).ids_.tolist() == ids
    wrong = pl.Series([1, 2**63], dtype=pl.UInt64)
    frame.with_columns(level_2=wrong).write_parquet(path)
    with pytest.raises(ValueError, match=r"index\.parquet, column 'level_2' .*64 bits"):
        SemanticIDIndex.from_table(path)


@pytest.mark.parametrize("suffix", ["json", "csv", "parquet"])
def test_the_largest_codes_are_exchanged(tmp_path, suffix):
    index = SemanticIDIndex(policy="none").fit([[2**63 - 1, 10**18], [0, 1]])
    path = tmp_path / f"index.{suffix}"
    arguments = {"policy": "none", "item_type": int}
    if suffix == "json":
        index.to_json(path)
        same(index, SemanticIDIndex.from_json(path, **arguments))
    else:
        index.to_table(path)
        same(index, SemanticIDIndex.from_table(path, **arguments))
    assert np.array_equal(index.parse_tokens(index.tokens(index.ids_)), index.ids_)


def test_a_string_that_json_would_give_back_as_another_is_refused(tmp_path):
    path = tmp_path / "index.json"
    SemanticIDIndex().fit([[0, 1]], ["before"]).to_json(path)
    before = path.read_bytes()
    index = SemanticIDIndex().fit(
        [[0, 1], [0, 2]], ["fine \ude00\ud83d", "\ud83d\ude00"]
    )
    with pytest.raises(ValueError, match=r"Got '\\ud83d\\ude00', which JSON gives"):
        index.to_json(path)
    assert path.read_bytes() == before
    index.remove(["\ud83d\ude00"])
    index.to_json(path)
    same(index, SemanticIDIndex.from_json(path))


def test_what_could_not_be_read_is_not_written(tmp_path):
    empty = SemanticIDIndex(codebook_size=4).fit(np.empty((0, 3)), [])
    with pytest.raises(ValueError, match="at least one item to be written as JSON"):
        empty.to_json(tmp_path / "index.json")
    long = SemanticIDIndex().fit([[0, 1], [0, 1]], ["x" * 131_072, "x" * 131_073])
    with pytest.raises(ValueError, match=r"at most 131072 characters.* Got 131073"):
        long.to_table(tmp_path / "index.csv")
    wide = SemanticIDIndex(policy="none").fit(np.zeros((1, 4097)))
    with pytest.raises(ValueError, match=r"at most 4096 columns.* Got 4097 in 'ids'"):
        wide.save(tmp_path / "index")
    keys = SemanticIDIndex(policy="none", codebook_size=2**24).fit(np.zeros((1, 2000)))
    with pytest.raises(ValueError, match="Got 6000 in 'id_keys'"):
        keys.save(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []
    long.remove(["x" * 131_073])
    long.to_table(tmp_path / "index.csv")
    same(long, SemanticIDIndex.from_table(tmp_path / "index.csv"))
    largest = SemanticIDIndex(policy="none").fit(np.zeros((1, 4096)))
    largest.save(tmp_path / "index")
    same(largest, SemanticIDIndex.load(tmp_path / "index"))


def test_json_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "index.json"
    path.write_text('{"ü": ["<a_1>", "<b_0>"]}', encoding="utf-8-sig")
    assert SemanticIDIndex.from_json(path).item_ids_.tolist() == ["ü"]


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"x": ' * 100_000, "{}\ufeff", "\ufeff", "\0"]
)
def test_json_that_is_nested_or_no_json_is_an_error(tmp_path, text):
    path = tmp_path / "index.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"index\.json is not valid JSON"):
        SemanticIDIndex.from_json(path)


def test_a_mapped_index_is_the_same_and_can_be_changed(tmp_path):
    for kind, items in ITEMS.items():
        for policy in ("none", "suffix"):
            index = SemanticIDIndex(policy=policy).fit(CODES, items, X=CODES)
            index.remove(index.item_ids_[1:2])
            index.save(tmp_path / "index")
            before = (tmp_path / "index").read_bytes()
            mapped = SemanticIDIndex.load(tmp_path / "index", mmap_mode="r")
            same(index, mapped)
            new = None if kind == "row" else [{"int": 1, "str": "new"}[kind]]
            for each in (index, mapped):
                assert each.add([[0, 1]], new).shape == (1, each.ids_.shape[1])
                each.remove(each.item_ids_[:1])
            same(index, mapped)
            assert (tmp_path / "index").read_bytes() == before
            mapped.save(tmp_path / "index")
            same(SemanticIDIndex.load(tmp_path / "index"), mapped)
    with pytest.raises(ValueError, match="mmap_mode must be None or 'r'"):
        SemanticIDIndex.load(tmp_path / "index", mmap_mode="w")


def test_a_mapped_file_can_be_replaced_while_it_is_read(tmp_path):
    path = tmp_path / "index"
    SemanticIDIndex().fit(CODES, ITEMS["str"]).save(path)
    mapped = SemanticIDIndex.load(path, mmap_mode="r")
    SemanticIDIndex().fit(CODES[:2]).save(path)
    assert mapped.item_ids_.tolist() == ITEMS["str"]
    assert mapped.lookup(mapped.ids_).tolist() == ITEMS["str"]


def test_codes_take_a_byte_each_in_a_file(tmp_path):
    rng = np.random.default_rng(0)
    n_items = 20_000
    index = SemanticIDIndex(policy="none", codebook_size=256)
    index.fit(rng.integers(0, 256, (n_items, 4))).save(tmp_path / "index")
    # Four bytes of codes, four of the sorted key and two of the row, and the header.
    assert (tmp_path / "index").stat().st_size < 10 * n_items + 2000


def test_parquet_with_missing_codes_is_an_error(tmp_path):
    path = tmp_path / "index.parquet"
    pl.DataFrame({"item": ["x", "y"], "a": [1, None], "b": [0, 0]}).write_parquet(path)
    with pytest.raises(ValueError, match="column 'a' must be finite"):
        SemanticIDIndex.from_table(path)
    pl.DataFrame({"item": ["x", "y"]}).write_parquet(path)
    with pytest.raises(ValueError, match="a column of items and one per level"):
        SemanticIDIndex.from_table(path)


def test_an_index_with_the_largest_codes_can_be_mapped(tmp_path):
    codes = np.array([[2**62, 1], [2**63 - 1, 0]])
    SemanticIDIndex(policy="none").fit(codes).save(tmp_path / "index")
    for mmap_mode in (None, "r"):
        loaded = SemanticIDIndex.load(tmp_path / "index", mmap_mode=mmap_mode)
        assert np.array_equal(loaded.ids_, codes)
        assert [items.tolist() for items in loaded.lookup(codes)] == [[0], [1]]
        assert loaded.items_with_prefix([2**63 - 1]).tolist() == [1]
        assert loaded.allowed_next([2**63 - 1]).tolist() == [0]


def test_a_parquet_file_with_a_damaged_footer_is_refused(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    path = tmp_path / "ids.parquet"
    SemanticIDIndex().fit([[0, 1], [1, 1]], ["a", "b"]).to_table(path)
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[-8:-4], "little")
    content[-8 - length : -8] = b"\xff" * length
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"ids\.parquet is not a Parquet file"):
        SemanticIDIndex.from_table(path)


def test_a_loaded_index_does_not_hold_the_content_of_its_file(tmp_path):
    codes = np.random.default_rng(0).integers(0, 2000, size=(50_000, 4))
    SemanticIDIndex().fit(codes).save(tmp_path / "index")
    size = (tmp_path / "index").stat().st_size
    SemanticIDIndex.load(tmp_path / "index")  # imports what a load needs
    tracemalloc.start()
    try:
        loaded = SemanticIDIndex.load(tmp_path / "index")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(loaded) == 50_000
    assert held < 1.5 * size


def test_a_suffix_beyond_the_capacity_of_a_table_is_named(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("item_id,level_1,suffix\na,0,0\nb,0,5\n")
    with pytest.raises(ValueError, match=r"suffixes below capacity=4\. Got 5 in row 1"):
        SemanticIDIndex.from_table(path, capacity=4)


@pytest.mark.parametrize("name", ["index.csv", "index.parquet"])
def test_a_table_cannot_have_items_that_are_no_valid_text(tmp_path, name):
    pytest.importorskip("pyarrow")
    index = SemanticIDIndex().fit([[0, 1], [1, 1]], ["a", "b\ud800"])
    with pytest.raises(ValueError, match=r"Got 'b\\ud800'\. Write JSON"):
        index.to_table(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    index.to_json(tmp_path / "index.json")


def test_an_empty_string_is_an_item_of_parquet_and_json_but_not_of_csv(tmp_path):
    index = SemanticIDIndex().fit([[0, 1], [1, 1]], ["a", ""])
    with pytest.raises(ValueError, match=r"Got '' in row 1\. Write Parquet or JSON"):
        index.to_table(tmp_path / "index.csv")
    assert list(tmp_path.iterdir()) == []
    index.to_table(tmp_path / "index.parquet")
    same(index, SemanticIDIndex.from_table(tmp_path / "index.parquet"))
    index.to_json(tmp_path / "index.json")
    same(index, SemanticIDIndex.from_json(tmp_path / "index.json"))
    index.remove([""])
    index.to_table(tmp_path / "index.csv")
    same(index, SemanticIDIndex.from_table(tmp_path / "index.csv"))


def test_a_suffix_that_is_read_must_be_below_the_capacity(tmp_path):
    path = tmp_path / "ids.json"
    SemanticIDIndex().fit([[0, 0]] * 3, ["a", "b", "c"]).to_json(path)
    assert len(SemanticIDIndex.from_json(path, capacity=3)) == 3
    with pytest.raises(ValueError, match="below capacity=2"):
        SemanticIDIndex.from_json(path, capacity=2)


def test_a_loaded_index_that_reassigns_has_the_default_capacity(tmp_path):
    index = SemanticIDIndex(policy="reassign")
    index.fit([[0, 0]], ["a"], alternatives=[[[1, 1]]]).save(tmp_path / "index")
    loaded = SemanticIDIndex.load(tmp_path / "index")
    assert loaded.get_params() == index.get_params()
