"""The index against a naive one made of dictionaries."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

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
    policy = "none"

    @initialize(
        rows=ROWS,
        kind=st.sampled_from(["row", "int", "str"]),
        shift=st.sampled_from([0, 250, 2**20, 2**61]),
    )
    def fit(self, rows, kind, shift):
        self.kind = kind
        # Codes from `shift` on stand for large codebooks, which need other keys.
        self.shift = 0 if self.policy == "reassign" else shift
        self.naive = NaiveIndex(self.policy, sizes=(3, 3, 3))
        self.index = SemanticIDIndex(policy=self.policy)
        self.index.fit(*self._arguments(rows), **self._model(rows))

    @rule(rows=ROWS)
    def add(self, rows):
        before = self.index.ids_
        if self.policy == "reassign" and len(before) + len(rows) > 27:
            with pytest.raises(ValueError, match="an ID for every item"):
                self.index.add(*self._arguments(rows, keep=False), **self._model(rows))
            return
        new = self.index.add(*self._arguments(rows), **self._model(rows))
        assert np.array_equal(self.index.ids_, np.concatenate([before, new]))

    @precondition(lambda self: self.naive.items and self.kind != "row")
    @rule(rows=ROWS.filter(bool), data=st.data())
    def add_a_known_item(self, rows, data):
        codes, items = self._arguments(rows, keep=False)
        items[-1] = data.draw(st.sampled_from(self.naive.items))
        with pytest.raises(ValueError, match="item_ids must be new"):
            self.index.add(codes, items, **self._model(rows))

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self.index.save(path)
            self.index = SemanticIDIndex.load(path)

    @rule(rows=ROWS)
    def add_to_a_copy(self, rows):
        if self.policy == "reassign" and len(self.naive.ids) + len(rows) > 27:
            return
        other = copy.copy(self.index)
        other.add(*self._arguments(rows, keep=False), **self._model(rows))

    @rule(data=st.data())
    def ask(self, data):
        columns = self.index.ids_.shape[1]
        code = st.integers(0, 3).map(lambda code: code + self.shift)
        wish = st.lists(code, min_size=columns, max_size=columns)
        if self.naive.ids:
            wish |= st.sampled_from(self.naive.ids).map(list)
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
        elif self.policy == "none":
            assert found.tolist() == expected
        else:
            assert [found] == expected

    @invariant()
    def ids_are_those_of_the_naive_index(self):
        assert list(map(tuple, self.index.ids_.tolist())) == self.naive.ids
        assert self.index.item_ids_.tolist() == self.naive.items
        if self.naive.items:
            found = self.index.ids_of(self.naive.items)
            assert np.array_equal(found, self.index.ids_)

    def _arguments(self, rows, *, keep=True):
        codes = MODEL.transform(matrix(rows)) + self.shift
        first = len(self.naive.items)
        numbers = range(first, first + len(rows))
        items = [f"item {n}\0" if self.kind == "str" else n for n in numbers]
        if keep:
            self.naive.add(
                codes.tolist(),
                items,
                lambda row, prefix: MODEL.next_code_distances(
                    matrix(rows)[[row]], np.array([prefix], dtype=int).reshape(1, -1)
                )[0],
            )
        return codes, None if self.kind == "row" else items

    def _model(self, rows):
        return {"X": matrix(rows), "model": MODEL} if self.policy == "reassign" else {}


class SuffixMachine(IndexMachine):
    policy = "suffix"


class ReassignMachine(IndexMachine):
    policy = "reassign"


BRIEF = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestSharedIDsBehaveAsTheNaiveIndex = IndexMachine.TestCase
TestSharedIDsBehaveAsTheNaiveIndex.settings = BRIEF
TestSuffixesBehaveAsTheNaiveIndex = SuffixMachine.TestCase
TestSuffixesBehaveAsTheNaiveIndex.settings = BRIEF
TestReassignedIDsBehaveAsTheNaiveIndex = ReassignMachine.TestCase
TestReassignedIDsBehaveAsTheNaiveIndex.settings = BRIEF


@given(
    seed=st.integers(0, 2**32),
    batches=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    policy=st.sampled_from(["none", "suffix"]),
    size=st.sampled_from([8, 2**32]),
)
@settings(max_examples=25, deadline=None)
def test_queries_do_not_depend_on_how_many_items_came_together(
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
