"""The index against a naive one made of dictionaries."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from index_toys import NaiveIndex, ToyQuantizer

from sk_rqvae import SemanticIDIndex

MODEL = ToyQuantizer(n_layers=3, codebook_size=3).fit(np.zeros((1, 2)))
ROWS = st.lists(
    st.tuples(st.integers(-90, 90), st.integers(-90, 90)), min_size=0, max_size=8
)


def matrix(rows):
    return np.array(rows, dtype=float).reshape(-1, 2)


class IndexMachine(RuleBasedStateMachine):
    parameters: ClassVar = {"policy": "none"}

    @initialize(
        rows=ROWS,
        kind=st.sampled_from(["row", "int", "str"]),
        shift=st.sampled_from([0, 250, 2**20, 2**61]),
    )
    def fit(self, rows, kind, shift):
        self.kind = kind
        self.n_added = 0
        self.naive = NaiveIndex(**self.parameters, sizes=(3, 3, 3))
        # Codes from `shift` on belong to large codebooks, which need other keys.
        self.shift = 0 if self.naive.reassigns else shift
        self.index = SemanticIDIndex(**self.parameters)
        self.index.fit(*self._arguments(rows), **self._model(rows))

    @rule(rows=ROWS)
    def add(self, rows):
        before = self.index.ids_
        if self._full(rows):
            with pytest.raises(ValueError, match="an ID for every item"):
                self.index.add(*self._arguments(rows, keep=False), **self._model(rows))
            return
        new = self.index.add(*self._arguments(rows), **self._model(rows))
        assert np.array_equal(self.index.ids_, np.concatenate([before, new]))

    @precondition(lambda self: self.naive.items and self.kind != "row")
    @rule(rows=ROWS.filter(bool), data=st.data(), skip=st.booleans())
    def add_a_known_item(self, rows, data, skip):
        codes, items = self._arguments(rows, keep=False)
        items[-1] = known = data.draw(st.sampled_from(self.naive.items))
        if not skip:
            with pytest.raises(ValueError, match="item_ids must be new"):
                self.index.add(codes, items, **self._model(rows))
            return
        if self._full(rows[:-1]):
            return
        self.n_added += len(rows) - 1
        self.naive.add(codes[:-1].tolist(), items[:-1], self._distances(rows))
        ids = self.index.add(codes, items, **self._model(rows), on_duplicate="skip")
        assert np.array_equal(ids, self.index.ids_of(items))
        assert self.index.ids_of([known]).tolist() == ids[-1:].tolist()

    @precondition(lambda self: self.naive.items)
    @rule(data=st.data(), reuse=st.booleans())
    def remove(self, data, reuse):
        gone = data.draw(st.lists(st.sampled_from(self.naive.items), unique=True))
        self.naive.remove(gone, reuse=reuse)
        self.index.remove(gone, reuse=reuse)
        for item in gone:
            assert item not in self.index
            with pytest.raises(KeyError, match="no item"):
                self.index.remove([item])

    @precondition(lambda self: self.naive.items and self.kind != "row")
    @rule(data=st.data(), row=st.tuples(st.integers(-90, 90), st.integers(-90, 90)))
    def remove_an_item_and_add_it_again(self, data, row):
        item = data.draw(st.sampled_from(self.naive.items))
        if self._full([row]):
            return
        self.index.remove([item])
        self.naive.remove([item])
        codes = MODEL.transform(matrix([row])) + self.shift
        self.naive.add(codes.tolist(), [item], self._distances([row]))
        self.index.add(codes, [item], **self._model([row]))

    @precondition(lambda self: self.naive.items)
    @rule(data=st.data(), move=st.booleans())
    def update(self, data, move):
        items = data.draw(st.lists(st.sampled_from(self.naive.items), unique=True))
        rows = data.draw(
            st.lists(
                st.tuples(st.integers(-90, 90), st.integers(-90, 90)),
                min_size=len(items),
                max_size=len(items),
            )
        )
        if self._full(rows):
            return
        codes = MODEL.transform(matrix(rows)) + self.shift
        moved = self.naive.update(
            codes.tolist(), items, move=move, distances=self._distances(rows)
        )
        choice = "move" if move else "keep"
        report = self.index.update(codes, items, **self._model(rows), on_change=choice)
        assert report["moved"].tolist() == moved
        assert np.array_equal(report["ids"], self.index.ids_of(items))

    @rule(mmap_mode=st.sampled_from([None, "r"]))
    def save_and_load(self, mmap_mode):
        history = self.index.history()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self.index.save(path)
            self.index = SemanticIDIndex.load(path, mmap_mode=mmap_mode)
        assert self.index.history() == history

    @rule(rows=ROWS)
    def change_a_copy(self, rows):
        if self._full(rows):
            return
        other = copy.copy(self.index)
        other.add(*self._arguments(rows, keep=False), **self._model(rows))
        other.remove(other.item_ids_[:2])

    @rule(data=st.data())
    def ask(self, data):
        columns = self.index.ids_.shape[1]
        code = st.integers(0, 3).map(lambda code: code + self.shift)
        wish = st.lists(code, min_size=columns, max_size=columns)
        known = self.naive.ids + self.naive.retired
        if known:
            wish |= st.sampled_from(known).map(list)
        identifier = data.draw(wish)
        prefix = identifier[: data.draw(st.integers(0, columns))]
        assert self.index.items_with_prefix(prefix).tolist() == self.naive.under(prefix)
        assert self.index.allowed_next(prefix).tolist() == self.naive.next(prefix)
        expected = self.naive.at(identifier)
        (found,) = self.index.lookup([identifier], default=None)
        if not expected:
            assert found is None
            with pytest.raises(KeyError, match="no item has ID"):
                self.index.lookup([identifier])
        elif isinstance(found, np.ndarray):
            assert found.tolist() == expected
        else:
            assert [found] == expected

    @invariant()
    def ids_are_those_of_the_naive_index(self):
        assert list(map(tuple, self.index.ids_.tolist())) == self.naive.ids
        assert self.index.item_ids_.tolist() == self.naive.items
        assert len(self.index) == len(self.naive.items)
        if self.naive.items:
            found = self.index.ids_of(self.naive.items)
            assert np.array_equal(found, self.index.ids_)
            assert self.naive.items[0] in self.index

    @invariant()
    def the_summary_knows_what_the_model_gave(self):
        summary = self.index.summary()
        levels = len(self.naive.given[0]) if self.naive.given else 0
        moved = [
            given != identifier[:levels]
            for given, identifier in zip(self.naive.given, self.naive.ids, strict=True)
        ]
        assert summary["n_items"] == len(self.naive.items)
        assert summary["n_unique"] == len(set(self.naive.given))
        assert summary["n_moved"] == sum(moved)

    def _full(self, rows):
        return self.naive.reassigns and len(rows) > self.naive.room()

    def _arguments(self, rows, *, keep=True):
        codes = MODEL.transform(matrix(rows)) + self.shift
        numbers = range(self.n_added, self.n_added + len(rows))
        items = [f"item {n}\0" if self.kind == "str" else n for n in numbers]
        if keep:
            self.n_added += len(rows)
            self.naive.add(codes.tolist(), items, self._distances(rows))
        return codes, None if self.kind == "row" else items

    def _distances(self, rows):
        return lambda row, prefix: MODEL.next_code_distances(
            matrix(rows)[[row]], np.array([prefix], dtype=int).reshape(1, -1)
        )[0]

    def _model(self, rows):
        return {"X": matrix(rows), "model": MODEL} if self.naive.reassigns else {}


class SuffixMachine(IndexMachine):
    parameters: ClassVar = {"policy": "suffix"}


class ReassignMachine(IndexMachine):
    parameters: ClassVar = {"policy": "reassign"}


class CapacityMachine(IndexMachine):
    parameters: ClassVar = {"policy": "reassign", "capacity": 2}


class BoundedSuffixMachine(IndexMachine):
    parameters: ClassVar = {"policy": "suffix", "capacity": 2, "overflow": "reassign"}


BRIEF = settings(max_examples=25, stateful_step_count=12, deadline=None)
TestSharedIDsBehaveAsTheNaiveIndex = IndexMachine.TestCase
TestSharedIDsBehaveAsTheNaiveIndex.settings = BRIEF
TestSuffixesBehaveAsTheNaiveIndex = SuffixMachine.TestCase
TestSuffixesBehaveAsTheNaiveIndex.settings = BRIEF
TestReassignedIDsBehaveAsTheNaiveIndex = ReassignMachine.TestCase
TestReassignedIDsBehaveAsTheNaiveIndex.settings = BRIEF
TestSharedAndReassignedIDsBehaveAsTheNaiveIndex = CapacityMachine.TestCase
TestSharedAndReassignedIDsBehaveAsTheNaiveIndex.settings = BRIEF
TestBoundedSuffixesBehaveAsTheNaiveIndex = BoundedSuffixMachine.TestCase
TestBoundedSuffixesBehaveAsTheNaiveIndex.settings = BRIEF


@given(
    seed=st.integers(0, 2**32),
    batches=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    policy=st.sampled_from(["none", "suffix"]),
    size=st.sampled_from([8, 2**32]),
)
@settings(max_examples=25, deadline=None)
def test_queries_do_not_depend_on_the_division_of_items_into_calls(
    seed, batches, policy, size
):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 8, (sum(batches), 3)) * (size // 8)
    parts = np.split(codes, np.cumsum(batches)[:-1])
    grown = SemanticIDIndex(policy=policy, codebook_size=size).fit(parts[0])
    for part in parts[1:]:
        grown.add(part)
    whole = SemanticIDIndex(policy=policy, codebook_size=size).fit(codes)

    assert np.array_equal(grown.ids_, whole.ids_)
    for depth in range(whole.ids_.shape[1] + 1):
        for identifier in whole.ids_[:3]:
            prefix = identifier[:depth]
            assert np.array_equal(
                grown.items_with_prefix(prefix), whole.items_with_prefix(prefix)
            )
            assert np.array_equal(
                grown.allowed_next(prefix), whole.allowed_next(prefix)
            )
            assert np.array_equal(
                whole.allowed_next(prefix),
                np.unique(
                    whole.ids_[(whole.ids_[:, :depth] == prefix).all(axis=1), depth]
                )
                if depth < len(identifier)
                else [],
            )
    found, expected = grown.lookup(whole.ids_), whole.lookup(whole.ids_)
    assert all(map(np.array_equal, found, expected))
    if policy == "suffix":
        assert np.array_equal(expected, np.arange(len(codes)))
